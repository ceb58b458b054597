"""Programs of the kit in C that come compiled: an archive for each kind of machine beside their sources, and a table
with their digests. scripts/make-helpers writes both.

Packed they are no ELF files, so the kit's wheel is one for every system, and no mode that a checkout may lose counts.
"""

from __future__ import annotations

import hashlib
import importlib.util
import lzma
import os
import platform
import shutil
import sys
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable.errors import MachineError

TABLE = "compiled.toml"


@dataclass(frozen=True)
class Compiled:
    """What comes compiled for one kind of machine."""

    archive: Path
    sha256: Mapping[str, str]
    """Of each file, by its name: 64 hex digits."""

    @property
    def digest(self) -> str:
        """One sha256 over all of them, as hex digits."""
        lines = (f"{name} {self.sha256[name]}\n" for name in sorted(self.sha256))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def bodies(self) -> Mapping[str, bytes]:
        """Each held against its digest. Raises MachineError where one is not what it was."""
        bodies = {}
        try:
            with tarfile.open(self.archive, "r:xz") as archive:
                for name in self.sha256:
                    member = archive.extractfile(name)
                    bodies[name] = member.read() if member else b""
        except (OSError, KeyError, EOFError, tarfile.TarError, lzma.LZMAError) as problem:
            raise self._damaged(str(problem))
        for name, body in bodies.items():
            if hashlib.sha256(body).hexdigest() != self.sha256[name]:
                raise self._damaged(f"{name} has a different sha256 than {TABLE} says")
        return bodies

    def unpack(self, out: Path) -> None:
        """Into the folder `out`, mode 0755. Raises MachineError where one is not what it was."""
        for name, body in self.bodies().items():
            (out / name).write_bytes(body)
            (out / name).chmod(0o755)

    def _damaged(self, how: str) -> MachineError:
        folder = "/".join(("src", *self.archive.parent.parts[-3:]))
        return MachineError(
            f"the compiled helpers of py-portable are damaged: {how}",
            where=str(self.archive),
            hint=f"install py-portable again; in a clone: git checkout -- {folder}",
        )


@dataclass(frozen=True)
class Prebuilt:
    """The programs of one folder of C sources."""

    folder: Path
    flags: tuple[str, ...]
    """Of the compiler, and whatever else decides the bytes."""

    def sources_digest(self) -> str:
        """`sha256:…` over the names and bytes of all sources and the flags."""
        total = hashlib.sha256(" ".join(self.flags).encode())
        for path in sorted(self.folder.rglob("*.[ch]")):
            body = path.read_bytes()
            total.update(f"\0{path.name}\0{len(body)}\0".encode() + body)
        return f"sha256:{total.hexdigest()}"

    def table(self) -> Mapping[str, object]:
        """What scripts/make-helpers wrote down: `compiler`, `sources` (their digest), and `sha256` by machine and
        name."""
        return tomllib.loads((self.folder / TABLE).read_text("utf-8"))

    def stale(self) -> bool:
        """Whether a source was changed and scripts/make-helpers has not run since."""
        return self.table()["sources"] != self.sources_digest()

    def archive(self, machine: str) -> Compiled | None:
        """What the folder has for that kind of machine, whatever sources it was made of."""
        by_machine = self.table()["sha256"]
        assert isinstance(by_machine, dict)
        return (
            Compiled(self.folder / f"{machine}.tar.xz", by_machine[machine])
            if machine in by_machine
            else None
        )

    def compiled(self, machine: str | None = None) -> Compiled | None:
        """Those that come with the kit for that kind of machine (`x86_64`; by default this one).

        None where it has none of today's sources, as after a change of one.
        """
        return None if self.stale() else self.archive(machine or platform.machine())

    def lacking(self) -> str:
        """Why there are none."""
        if self.stale():
            return "the compiled helpers do not belong to the C sources beside them"
        return f"py-portable has no compiled helpers for {platform.machine()}"


def compiler(reason: str) -> tuple[str, ...]:
    """The words that start a C compiler for static musl programs. Raises MachineError, with `reason`, where there is
    none."""
    found = shutil.which("musl-gcc")
    if found:
        return (found,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc", "-target", f"{os.uname().machine}-linux-musl")
    raise MachineError(
        f"{reason}, and there is no compiler to make them",
        hint="apt-get install musl-tools gcc\nor: python -m pip install ziglang\n"
        "or, after a change of a source: scripts/make-helpers",
    )
