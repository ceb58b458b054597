"""Ids of its own for a build of real root: root inside is nobody on the machine.

A user namespace maps the ids 0 to 65535 of the build to a range that nobody has, and what the build sees is shown to
it by ID-mapped mounts with the inverse map (mount_setattr(2)): files have their real owners inside, and what is
written belongs to the caller on the disk, without an owner being changed before or afterwards. So packages can be
installed under it as well, and an image's `before` run. mmdebstrap, which makes a root from nothing and has to mount
in it, runs outside of every engine, in a namespace of the same range without such mounts. An ordinary user's builds
are in a namespace of that user's range anyway; whose root a container's is, is its daemon's business.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from py_portable.base.process import run
from py_portable.engines import ids
from py_portable.engines.engine import Job
from py_portable.engines.static_helpers import lent
from py_portable.errors import PortableError

PROGRAM = "own-ids"
GIVEN_BY = ("bubblewrap", "chroot")
"""The engines that set everything up themselves, here."""
COUNT = ids.FULL_RANGE
LOWEST = 0x7000_0000
"""Above all that systemd gives to containers, below the sign bit that old programs cannot read."""
ORDINARY = "an ordinary user started it, so root inside the build is that user"
_HIGHEST = 0xFFFF_FFFE
_refused: dict[tuple[str, Path], str] = {}
_answers: dict[int, str] = {}


@dataclass(frozen=True)
class Choice:
    """`first`: the id outside that root inside is, None where the ids stay what they are and `reason` says why."""

    program: Path
    first: int | None = None
    reason: str = ""

    @property
    def told(self) -> tuple[str, str]:
        """FIRST and COUNT for the helper."""
        return (str(self.first or 0), str(COUNT if self.first is not None else 0))

    def start(self, root: str, folder: str) -> tuple[str, ...]:
        """The words before a program that is to run under these ids, `root` its root ("-": it stays)."""
        return (str(self.program), "start", *self.told, root, folder)


def choose(job: Job, engine: str, helpers: Path) -> Choice:
    """The ids of a job on an engine, found out by trying."""
    program = helpers / PROGRAM
    job = job.canary_of or job
    if engine not in GIVEN_BY:
        return Choice(program, reason="another program decided which user root inside the build is")
    if job.profile == "proof":
        return Choice(program, reason="a cell becomes an ordinary user")
    if lent.is_distrusted(helpers):
        return Choice(program, reason="its helper was compiled on another machine")
    if ids.detect().kind != "real":
        return Choice(program, reason=ORDINARY)
    first = first_free()
    if reason := _refused.get((engine, helpers)) or _outside(Path("/proc/self/uid_map").read_text(), first):
        return Choice(program, reason=reason)
    for path in (job.root, *job.layers, *(bind.source for bind in job.binds if bind.writable)):
        if path.exists() and (reason := _cannot(program, path.absolute(), first)):
            return Choice(program, reason=reason)
    return Choice(program, first)


def of_program(helpers: Path | None) -> Choice:
    """The ids of a program of this machine that real root starts, without an engine and without mounts."""
    if ids.detect().kind != "real":
        return Choice(Path(PROGRAM), reason=ORDINARY)
    if helpers is None:
        return Choice(Path(PROGRAM), reason="there are no static helpers for this machine")
    program = helpers / PROGRAM
    first = first_free()
    reason = _outside(Path("/proc/self/uid_map").read_text(), first) or _no_namespace(program, first)
    return Choice(program, None if reason else first, reason)


def refuse(engine: str, helpers: Path, reason: str) -> None:
    """From now on no build of this engine gets ids of its own: a start with them failed."""
    _refused[engine, helpers] = reason


@functools.cache
def first_free() -> int:
    """Where the range begins: above everything that the machine gives to somebody."""
    texts = [ids.text_of(name) for name in ("/etc/subuid", "/etc/subgid")]
    return max(LOWEST, ids.free_range(*texts))


def _outside(uid_map: str, first: int) -> str:
    """Why the range is not available where these ids are mapped; "" where it is."""
    lines = [[int(word) for word in line.split()] for line in uid_map.splitlines() if len(line.split()) == 3]
    if first + COUNT <= _HIGHEST and any(
        inside <= first and first + COUNT <= inside + count for inside, _, count in lines
    ):
        return ""
    return f"the user ids from {first} on are not available here; this is so in a container with its own user ids"


def _cannot(program: Path, path: Path, first: int) -> str:
    """Why what lies there cannot be shown with other owners; asked once for each file system."""
    device = path.stat().st_dev
    if device not in _answers:
        _answers[device] = _asked(program, path, first)
    return _answers[device]


def _asked(program: Path, path: Path, first: int) -> str:
    return _failure([str(program), "can", str(first), str(COUNT), str(path)])


@functools.cache
def _no_namespace(program: Path, first: int) -> str:
    return _failure([*Choice(program, first).start("-", "/"), "true"])


def _failure(argv: list[str]) -> str:
    """Why it failed; "" where it did not."""
    try:
        outcome = run(argv, timeout=20)
    except PortableError as problem:
        return problem.what
    said = outcome.stderr.text.strip().splitlines()
    return "" if outcome.ok else said[-1] if said else f"{PROGRAM} ended with {outcome.status}"
