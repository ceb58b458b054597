"""What one cell may use of the machine: memory and processes of its own, by a control group where one is available.

Control groups of version 2 and of version 1 (cgroups(7)), also mixed as on machines that have both. No process of
the caller is moved and no controller is switched on for others: a group is made below the caller's own one (version
1), or below the nearest one above it that hands its controllers on (version 2: a group that has processes cannot).
That is so for root, and for a user whose session systemd has delegated. Where it is not, a cell goes without, and
the engine says so.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from py_portable.base.process import run
from py_portable.engines import ids, owner
from py_portable.engines.stage import PROOF_BYTES
from py_portable.errors import MachineError, PortableError

Aspect = Literal["memory", "processes"]
ASPECTS: tuple[Aspect, ...] = ("memory", "processes")
MEMORY_BYTES = PROOF_BYTES + (1 << 30)
"""What a cell writes into its root and /tmp is memory too (tmpfs), up to PROOF_BYTES; the rest is for programs."""
PROCESSES = 4096
"""Processes and threads of one cell: more than any start of a command needs, and far below what a machine has."""
PROCESSES_OF_A_UID = 8192
"""Where only RLIMIT_NPROC is available, which counts what a uid has in all cells of a machine (getrlimit(2))."""

_CONTROLLER: Mapping[Aspect, str] = {"memory": "memory", "processes": "pids"}
_PREFIX = "py-portable."
_REMOVE_SECONDS = 1.0


@dataclass(frozen=True)
class CgroupRoot:
    """A folder in which groups can be made that limit `aspects`. `own`: the group that the caller is in."""

    own: Path
    folder: Path
    version: Literal[1, 2]
    aspects: tuple[Aspect, ...]


@dataclass(frozen=True)
class Cgroup:
    """What one cell runs in. `fds`: what is written to join it; they have to reach cell-run."""

    folders: tuple[Path, ...] = ()
    fds: tuple[int, ...] = ()
    aspects: tuple[Aspect, ...] = ()

    def killed(self) -> bool:
        """Whether the kernel ended a process of it for want of memory."""
        texts = (
            _read(folder / name)
            for folder in self.folders
            for name in ("memory.events", "memory.oom_control")
        )
        return any(
            int(count) for text in texts for count in re.findall(r"^oom_kill (\d+)$", text, re.MULTILINE)
        )


class NoGroup(MachineError):
    """This machine gave a control group before, and does not now."""


def bounds(group: Cgroup, own_ids: bool) -> tuple[tuple[Aspect, ...], tuple[str, ...]]:
    """What is limited for a job in this group, and cell-run's words for it.

    Without a group processes are counted by uid; where a job has a user namespace of its own (`own_ids`), so are
    they in it since Linux 5.14: nobody else's count.
    """
    words = tuple(word for fd in group.fds for word in ("--join", str(fd)))
    if "processes" in group.aspects:
        return group.aspects, words
    aspects = (*group.aspects, *(("processes",) if own_ids and _counts_by_namespace() else ()))
    return aspects, (*words, "--processes", str(PROCESSES_OF_A_UID))


def _counts_by_namespace() -> bool:
    release = [int(number) for number in re.findall(r"\d+", os.uname().release)[:2]]
    return release >= [5, 14]


@contextlib.contextmanager
def group() -> Iterator[Cgroup]:
    """A group for one cell; it is gone afterwards. Without limits where none is available.

    Raises NoGroup.
    """
    with contextlib.ExitStack() as stack:
        made, fds = [], []
        for place in places()[:1]:
            threading.Thread(target=_wake, args=(place.own,), daemon=True).start()
        try:
            for place in places():
                folder = _make(place)
                stack.callback(_remove, folder)
                made.append(folder)
                fds.append(os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
                stack.callback(os.close, fds[-1])
        except OSError as problem:
            raise NoGroup(
                f"no control group can be made for a cell: {problem.strerror}",
                where=str(problem.filename or ""),
                hint="look at: py-portable doctor",
            ) from problem
        yield Cgroup(tuple(made), tuple(fds), tuple(aspect for place in places() for aspect in place.aspects))


@functools.cache
def places() -> tuple[CgroupRoot, ...]:
    """Where this process can make groups that it can start a process in: tried once. None of two limits the same."""
    found: list[CgroupRoot] = []
    for place in _candidates(_read(Path("/proc/self/mountinfo")), _read(Path("/proc/self/cgroup"))):
        wanted = tuple(
            aspect for aspect in place.aspects if all(aspect not in other.aspects for other in found)
        )
        if wanted and _works(narrowed := replace(place, aspects=wanted)):
            _sweep(place.folder)
            found.append(narrowed)
    return tuple(found)


def _candidates(mountinfo: str, cgroup: str) -> Iterator[CgroupRoot]:
    """The folders that come into question, the nearest first, as the caller's mounts and groups have them."""
    own: dict[str, str] = {}
    for controllers, path in re.findall(r"^\d+:([^:\n]*):(/.*)$", cgroup, re.MULTILINE):
        own |= dict.fromkeys(controllers.split(","), path)
    for words in re.findall(r"^\S+ \S+ \S+ (/\S*) (/\S*) .*- (\S+) \S+ (\S+)$", mountinfo, re.MULTILINE):
        root, point, kind, options = map(_unescaped, words)
        if kind == "cgroup":
            for aspect in ASPECTS:
                controller = _CONTROLLER[aspect]
                if controller in options.split(",") and (folder := _within(point, root, own.get(controller))):
                    yield CgroupRoot(folder, folder, 1, (aspect,))
        elif kind == "cgroup2" and (folder := _within(point, root, own.get(""))):
            for step in (folder, *folder.parents):
                handed_on = _read(step / "cgroup.subtree_control").split()
                if aspects := tuple(aspect for aspect in ASPECTS if _CONTROLLER[aspect] in handed_on):
                    yield CgroupRoot(folder, step, 2, aspects)
                if step == Path(point):
                    break


def _unescaped(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)


def _within(point: str, root: str, path: str | None) -> Path | None:
    """Where a group is seen; None for one outside of what is mounted."""
    if path is None or ".." in PurePosixPath(path).parts:
        return None
    try:
        return Path(point) / PurePosixPath(path).relative_to(root)
    except ValueError:
        return None


def _works(place: CgroupRoot) -> bool:
    """Make a group, set its limits, join it from namespaces like those of a cell: kernels judge that differently."""
    try:
        folder = _make(place)
        try:
            with (folder / "cgroup.procs").open("w") as procs:
                # As stdin: dash knows no file descriptors of two digits.
                words = ["unshare", *ids.detect().flags, "--cgroup", "--", "sh", "-c", "echo 0 >&0"]
                return run(words, stdin=procs.fileno(), timeout=20).ok
        finally:
            _remove(folder)
    except (OSError, PortableError):
        return False


def _make(place: CgroupRoot) -> Path:
    """Raises OSError."""
    folder = place.folder / f"{_PREFIX}{owner.mine().replace('/', '_')}.{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        for aspect in place.aspects:
            for name, value, needed in _settings(place.version, aspect):
                if needed or (folder / name).exists():
                    (folder / name).write_text(str(value))
                    if needed and _read(folder / name).strip() != str(value):
                        raise OSError(0, "its limit is not enforced", str(folder / name))
    except OSError:
        _remove(folder)
        raise
    return folder


def _wake(own: Path) -> None:
    """Have the kernel wait now, while the engine starts, for what it would wait for when the cell joins its group.

    Moving a process waits until every processor has heard of it, 10 ms and more, but once for all moves that follow
    closely. This one moves the caller to where it is.
    """
    with contextlib.suppress(OSError):
        (own / "cgroup.procs").write_text("0")


def _settings(version: int, aspect: Aspect) -> tuple[tuple[str, int, bool], ...]:
    """File, value, and whether there is no limit without it: swap and its accounting may be switched off."""
    if aspect == "processes":
        return (("pids.max", PROCESSES, True),)
    if version == 1:
        return (
            ("memory.limit_in_bytes", MEMORY_BYTES, True),
            ("memory.memsw.limit_in_bytes", MEMORY_BYTES, False),
        )
    # All of a cell ends together: what is left of it would fail in ways that say nothing.
    return (("memory.max", MEMORY_BYTES, True), ("memory.swap.max", 0, False), ("memory.oom.group", 1, False))


def _remove(folder: Path) -> None:
    """What ended a moment ago may still be in it; one that stays is removed by a later run."""
    end = time.monotonic() + _REMOVE_SECONDS
    while True:
        try:
            folder.rmdir()
        except OSError:
            if folder.exists() and time.monotonic() < end:
                time.sleep(0.005)
                continue
        return


def _sweep(folder: Path) -> None:
    """Remove the groups of callers that were killed, and end what runs in them."""
    for left in folder.glob(f"{_PREFIX}*"):
        label = left.name.removeprefix(_PREFIX).rpartition(".")[0].replace("_", "/")
        if owner.is_dead(label):
            for pid in map(int, _read(left / "cgroup.procs").split()):
                if pid > 0:  # 0: in another namespace
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
            _remove(left)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
