"""The static helpers that run inside images: where they come from, and how they are compiled.

`cell-run` starts an app and records what came of it; `canary` and `build-canary` print what a cell and a build observe;
`own-ids` sets a build up, outside. All are C11 against the C library alone, so that they start in every root file
system, also in an empty one.

They come compiled, in one archive for each kind of machine that compiled.toml names; scripts/make-helpers writes both.
Packed they are no ELF files, so the kit's wheel is one for every system, and no mode that a checkout may lose counts.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import lzma
import os
import platform
import shutil
import sys
import tarfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from py_portable.base.process import require, run
from py_portable.errors import MachineError

NAMES = ("cell-run", "canary", "build-canary", "own-ids")
# Nothing here unwinds a stack: its tables are a sixth of what a compiler makes.
FLAGS = ("-std=c11", "-static", "-Os", "-s", "-Wall", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables")
FOLDER = Path(__file__).parent
"""Of the sources, of compiled.toml and of the archives MACHINE.tar.xz."""
TABLE = "compiled.toml"
_SECONDS = 300.0  # ziglang compiles its C library on first use
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compiled:
    """The helpers that come with the kit for one kind of machine."""

    archive: Path
    sha256: Mapping[str, str]
    """Of each helper, by its name: 64 hex digits."""

    @property
    def digest(self) -> str:
        """One sha256 over all of them, as hex digits."""
        lines = (f"{name} {self.sha256[name]}\n" for name in sorted(self.sha256))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def unpack(self, out: Path) -> None:
        """Into the folder `out`, each held against its digest. Raises MachineError where one is not what it was."""
        bodies = {}
        try:
            with tarfile.open(self.archive, "r:xz") as archive:
                for name in NAMES:
                    member = archive.extractfile(name)
                    bodies[name] = member.read() if member else b""
        except (OSError, KeyError, EOFError, tarfile.TarError, lzma.LZMAError) as problem:
            raise self._damaged(str(problem))
        for name, body in bodies.items():
            if hashlib.sha256(body).hexdigest() != self.sha256.get(name):
                raise self._damaged(f"{name} has a different sha256 than {TABLE} says")
        for name, body in bodies.items():
            (out / name).write_bytes(body)
            (out / name).chmod(0o755)

    def _damaged(self, how: str) -> MachineError:
        return MachineError(
            f"the compiled helpers of py-portable are damaged: {how}",
            where=str(self.archive),
            hint="install py-portable again; in a clone: git checkout -- src/py_portable/engines/static_helpers",
        )


def source(name: str) -> Path:
    """The C source of the helper `name`."""
    return FOLDER / f"{name}.c"


def sources_digest() -> str:
    """`sha256:…` over the names and bytes of all sources and the compiler's flags."""
    total = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(FOLDER.glob("*.[ch]")):
        body = path.read_bytes()
        total.update(f"\0{path.name}\0{len(body)}\0".encode() + body)
    return f"sha256:{total.hexdigest()}"


def table() -> Mapping[str, object]:
    """What scripts/make-helpers wrote down: `compiler`, `sources` (their digest), and `sha256` by machine and name."""
    return tomllib.loads((FOLDER / TABLE).read_text("utf-8"))


def stale() -> bool:
    """Whether a source was changed and scripts/make-helpers has not run since."""
    return table()["sources"] != sources_digest()


def compiled(machine: str | None = None) -> Compiled | None:
    """Those that come with the kit for that kind of machine (`x86_64`; by default this one).

    None where it has none of today's sources, as after a change of one.
    """
    by_machine = table()["sha256"]
    assert isinstance(by_machine, dict)
    machine = machine or platform.machine()
    if stale() or machine not in by_machine:
        return None
    return Compiled(FOLDER / f"{machine}.tar.xz", by_machine[machine])


def key() -> str:
    """What the helpers of this machine are kept under. It names the compiled ones by their own digest, and those that
    are to be compiled by that of their sources."""
    ready = compiled()
    digest = ready.digest if ready else sources_digest().removeprefix("sha256:")
    return f"native-{platform.machine()}-{digest}"


def put(out: Path) -> None:
    """The helpers of this machine into the folder `out`, mode 0755: the compiled ones, else by a compiler.

    Raises MachineError: they are damaged, or there are none and no compiler either.
    """
    out.mkdir(parents=True, exist_ok=True)
    ready = compiled()
    if ready:
        ready.unpack(out)
        return
    words = compiler()
    _log.warning("%s: %s compiles them", _none(), Path(words[0]).name)
    compile(out, words)


def _none() -> str:
    if stale():
        return "the compiled helpers do not belong to the C sources beside them"
    return f"py-portable has no compiled helpers for {platform.machine()}"


def compiler() -> tuple[str, ...]:
    """The words that start a C compiler for static musl programs. Raises MachineError where there is none."""
    found = shutil.which("musl-gcc")
    if found:
        return (found,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc", "-target", f"{os.uname().machine}-linux-musl")
    raise MachineError(
        f"{_none()}, and there is no compiler to make them",
        hint="apt-get install musl-tools gcc\nor: python -m pip install ziglang\n"
        "or, after a change of a C source: scripts/make-helpers",
    )


def compile(out: Path, words: Sequence[str | Path]) -> None:
    """Compile the helpers into `out`, mode 0755, with the compiler that `words` start. Raises MachineError."""
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        target = out / name
        require(
            run([*words, *FLAGS, "-o", target, source(name)], timeout=_SECONDS),
            what=f"compiling the helper {name}",
            error=MachineError,
            hint=f"check the compiler: {words[0]}",
        )
        target.chmod(0o755)
