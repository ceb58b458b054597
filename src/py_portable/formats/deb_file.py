"""Reads a foreign .deb: its control file, its programs, and its ELF files. See deb(5)."""

from __future__ import annotations

import functools
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from py_portable.base.regular import open_regular
from py_portable.base.tarball import Bounds, RefusedError, members, opened
from py_portable.errors import ConfigError
from py_portable.inspect.elf import ElfError, read
from py_portable.inspect.elf.floor import summarise
from py_portable.inspect.elf.reader import Elf
from py_portable.inspect.elf.view import MAGIC

PROGRAMS = PurePosixPath("/usr/bin")
_AR = b"!<arch>\n"
_FIRST = b"debian-binary"
_HEADER = 60
_MEMBERS = 16
_CONTROL_BYTES = 1 << 20
_ELF_BYTES = 512 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_PIECE = 1 << 20


@dataclass(frozen=True)
class Deb:
    """`programs`: absolute paths of the files in /usr/bin that can be started, links too; `elves`: of all ELF files
    and of links
    to them. `floor`: the newest glibc that one of them asks for."""

    name: str
    version: str
    programs: tuple[str, ...]
    files: frozenset[str]
    elves: frozenset[str]
    floor: str | None


def is_deb(path: Path) -> bool:
    """Whether the file begins as a Debian package does."""
    try:
        with open_regular(path) as stream:
            return stream.read(len(_AR) + len(_FIRST)) == _AR + _FIRST
    except OSError:
        return False


@functools.lru_cache(maxsize=16)
def look(path: Path, sha256: str) -> Deb:
    """The contents of the package at `path`, read once for each digest. Raises ConfigError if it is not a package."""
    control = _fields(path)
    name = control.get("Package", "")
    if not _NAME.fullmatch(name):
        raise ConfigError("its control file names no package", where=str(path))
    entries: dict[str, tarfile.TarInfo] = {}
    readings: list[tuple[str, Elf | ElfError]] = []
    with _archive(path, "data") as (tar, bounds):
        for member in members(tar, bounds):
            place = _absolute(member.name)
            entries[place] = member
            if elf := _elf(tar, member):
                readings.append((place, elf))
    elves = {place for place, _ in readings}
    links = {place: _target(place, member) for place, member in entries.items() if member.issym()}
    return Deb(
        name,
        control.get("Version", ""),
        tuple(sorted(place for place, member in entries.items() if _is_program(place, member))),
        frozenset(place for place, member in entries.items() if not member.isdir()),
        frozenset(elves | {place for place, target in links.items() if target in elves}),
        summarise(readings).floor,
    )


@functools.lru_cache(maxsize=64)
def depends(path: Path, sha256: str) -> tuple[str, ...]:
    """The packages that have to be installed before it, by name, sorted; of alternatives the first. Read once for each
    digest. Raises ConfigError if it is not a package."""
    control = _fields(path)
    groups = ",".join(control.get(field, "") for field in ("Pre-Depends", "Depends")).split(",")
    found = (_NAME.match(group.strip()) for group in groups)
    return tuple(sorted({match[0] for match in found if match}))


def elves(path: Path) -> Iterator[bytes]:
    """The bytes of its ELF files, one after the other; nothing if the file is not a package."""
    try:
        with _archive(path, "data") as (tar, bounds):
            for member in members(tar, bounds):
                if data := _elf_bytes(tar, member):
                    yield data
    except (ConfigError, OSError):
        return


def _fields(path: Path) -> dict[str, str]:
    """The fields of the control file that have one line."""
    with _archive(path, "control") as (tar, bounds):
        for member in members(tar, bounds):
            if _absolute(member.name) == "/control" and member.isreg() and member.size <= _CONTROL_BYTES:
                stream = tar.extractfile(member)
                text = stream.read().decode("utf-8", "replace") if stream else ""
                lines = (line.partition(":") for line in text.splitlines() if line[:1].strip())
                return {name: value.strip() for name, _, value in lines}
    raise ConfigError("it holds no control file", where=str(path))


@contextmanager
def _archive(path: Path, which: str) -> Iterator[tuple[tarfile.TarFile, Bounds]]:
    """`control` or `data` of the package, to be read once from start to end. Raises ConfigError, OSError."""
    bounds = Bounds()
    with tempfile.TemporaryDirectory(prefix="py-portable-deb-") as folder:
        inner = Path(folder) / f"{which}.tar"
        with open_regular(path) as stream:
            _take(stream, which, inner, path)
        try:
            with opened(inner, bounds) as tar:
                yield tar, bounds
        except RefusedError as problem:
            raise ConfigError(
                f"it cannot be read as a Debian package: {problem}", where=str(path)
            ) from problem


def _take(stream: IO[bytes], which: str, into: Path, path: Path) -> None:
    """Write the member `which`.tar[.*] of an ar archive (ar(5)) into a file of its own."""
    stream.seek(len(_AR))
    for _ in range(_MEMBERS):
        header = stream.read(_HEADER)
        name, size = header[:16].decode("ascii", "replace").rstrip(" /"), header[48:58].strip()
        if len(header) < _HEADER or not size.isdigit():
            break
        left = int(size)
        if name.partition(".")[0] != which:
            stream.seek(left + left % 2, 1)
            continue
        with into.open("wb") as out:
            while left and (piece := stream.read(min(left, _PIECE))):
                out.write(piece)
                left -= len(piece)
        if left:
            break
        return
    raise ConfigError(f"it is damaged or not a Debian package: {which}.tar is missing", where=str(path))


def _absolute(name: str) -> str:
    return "/" + "/".join(part for part in name.split("/") if part not in ("", "."))


def _target(place: str, member: tarfile.TarInfo) -> str:
    """The target of a link, computed from names only."""
    steps: list[str] = []
    for step in (PurePosixPath(place).parent / member.linkname).parts[1:]:
        steps = steps[:-1] if step == ".." else [*steps, step]
    return "/" + "/".join(steps)


def _is_program(place: str, member: tarfile.TarInfo) -> bool:
    started = member.issym() or (not member.isdir() and bool(member.mode & 0o001))
    return PurePosixPath(place).parent == PROGRAMS and started


def _elf(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Elf | ElfError | None:
    try:
        data = _elf_bytes(tar, member)
        return read(data, name=member.name) if data else None
    except ElfError as problem:
        return problem


def _elf_bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    stream = tar.extractfile(member) if member.isreg() and len(MAGIC) <= member.size <= _ELF_BYTES else None
    if stream is None:
        return None
    head = stream.read(len(MAGIC))
    return head + stream.read() if head == MAGIC else None
