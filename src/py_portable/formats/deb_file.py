"""Reads a foreign .deb: its control file, its programs, and its ELF files. See deb(5)."""

from __future__ import annotations

import functools
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from py_portable.base.regular import open_regular
from py_portable.base.tarball import Bounds, RefusedError, members, opened
from py_portable.errors import ConfigError
from py_portable.formats.foreign_package import (
    MOST_ELF_BYTES,
    ForeignPackage,
    absolute,
    elf_of,
    is_program,
    target,
)
from py_portable.inspect.elf import ElfError
from py_portable.inspect.elf.floor import summarise
from py_portable.inspect.elf.reader import Elf
from py_portable.inspect.elf.view import MAGIC

DPKG = "/usr/bin/dpkg"
_AR = b"!<arch>\n"
_FIRST = b"debian-binary"
_HEADER = 60
_MEMBERS = 16
_CONTROL_BYTES = 1 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_PIECE = 1 << 20


def is_deb(path: Path) -> bool:
    """Whether the file begins as a Debian package does."""
    try:
        with open_regular(path) as stream:
            return stream.read(len(_AR) + len(_FIRST)) == _AR + _FIRST
    except OSError:
        return False


@functools.lru_cache(maxsize=16)
def look(path: Path, sha256: str) -> ForeignPackage:
    """The contents of the package at `path`, read once for each digest. Raises ConfigError if it is not a package."""
    control = _fields(path)
    name = control.get("Package", "")
    if not _NAME.fullmatch(name):
        raise ConfigError("its control file names no package", where=str(path))
    entries: dict[str, tarfile.TarInfo] = {}
    readings: list[tuple[str, Elf | ElfError]] = []
    with _archive(path, "data") as (tar, bounds):
        for member in members(tar, bounds):
            place = absolute(member.name, path)
            entries[place] = member
            if elf := elf_of(_elf_bytes(tar, member), member.name):
                readings.append((place, elf))
    elves = {place for place, _ in readings}
    links = {place: target(place, member.linkname) for place, member in entries.items() if member.issym()}
    return ForeignPackage(
        name,
        control.get("Version", ""),
        tuple(sorted(place for place, one in entries.items() if is_program(place, started=_is_started(one)))),
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
            if absolute(member.name, path) == "/control" and member.isreg() and member.size <= _CONTROL_BYTES:
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


def _is_started(member: tarfile.TarInfo) -> bool:
    return member.issym() or (not member.isdir() and bool(member.mode & 0o001))


def _elf_bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    stream = (
        tar.extractfile(member) if member.isreg() and len(MAGIC) <= member.size <= MOST_ELF_BYTES else None
    )
    if stream is None:
        return None
    head = stream.read(len(MAGIC))
    return head + stream.read() if head == MAGIC else None
