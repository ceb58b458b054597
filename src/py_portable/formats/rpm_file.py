"""Reads a foreign .rpm: its header, its programs, and its ELF files."""

from __future__ import annotations

import functools
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from py_portable.base import cpio
from py_portable.base.regular import open_regular
from py_portable.base.tarball import Bounds, RefusedError, unpacked
from py_portable.errors import ConfigError
from py_portable.formats.foreign_package import (
    MOST_ELF_BYTES,
    ForeignPackage,
    absolute,
    elf_of,
    is_program,
    target,
)
from py_portable.formats.system_packages.rpm_header import (
    EPOCH,
    MAGIC,
    NAME,
    RELEASE,
    UNREADABLE,
    VERSION,
    RpmHeader,
    headers,
)
from py_portable.inspect.elf.floor import summarise
from py_portable.inspect.elf.view import MAGIC as ELF_MAGIC

_OLD_NAMES, _FOLDERS, _NAMES, _OF_FOLDER = 1027, 1118, 1117, 1116
_MODES, _LINKS, _FLAGS = 1030, 1036, 1037
_SOURCE = 1106
_GHOST = 1 << 6
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,199}")


@dataclass(frozen=True)
class _File:
    """`link`: what it leads to, where it is a symbolic link."""

    place: str
    mode: int
    link: str


def is_rpm(path: Path) -> bool:
    """Whether the file begins as an RPM package does."""
    try:
        with open_regular(path) as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


@functools.lru_cache(maxsize=16)
def look(path: Path, sha256: str) -> ForeignPackage:
    """The contents of the package at `path`, read once for each digest. Raises ConfigError if it is not a package."""
    header = _header(path)
    try:
        name = header.text(NAME)
        epoch = f"{header.numbers(EPOCH)[0]}:" if EPOCH in header.entries else ""
        version = f"{epoch}{header.text(VERSION)}-{header.text(RELEASE)}"
        files = list(_files(header, path))
    except UNREADABLE as problem:
        raise ConfigError(f"it cannot be read as an RPM package: {problem}", where=str(path)) from problem
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name[:200]!r} cannot be the name of a package", where=str(path))
    if _SOURCE in header.entries:
        raise ConfigError(
            "it is a package of sources, and nothing of it can be started",
            where=str(path),
            hint="prove the package that is built from it",
        )
    found = [(place, elf) for place, data in _elves(path) if (elf := elf_of(data, place))]
    elves = {place for place, _ in found}
    links = {one.place: target(one.place, one.link) for one in files if stat.S_ISLNK(one.mode)}
    return ForeignPackage(
        name,
        version,
        tuple(sorted(one.place for one in files if is_program(one.place, started=_is_started(one)))),
        frozenset(one.place for one in files if not stat.S_ISDIR(one.mode)),
        frozenset(elves | {place for place, leads_to in links.items() if leads_to in elves}),
        summarise(found).floor,
    )


def elves(path: Path) -> Iterator[bytes]:
    """The bytes of its ELF files, one after the other; nothing if the file is not a package."""
    try:
        yield from (data for _, data in _elves(path))
    except (ConfigError, OSError):
        return


def _header(path: Path) -> RpmHeader:
    try:
        with open_regular(path) as stream:
            return headers(stream)[1]
    except UNREADABLE as problem:
        raise ConfigError(f"it cannot be read as an RPM package: {problem}", where=str(path)) from problem


def _files(header: RpmHeader, path: Path) -> Iterator[_File]:
    """What it installs: nothing that only belongs to it when something else makes it. Raises UNREADABLE."""
    names = _paths(header)
    if not names:
        return
    links = header.texts(_LINKS) if _LINKS in header.entries else [""] * len(names)
    flags = header.numbers(_FLAGS) if _FLAGS in header.entries else [0] * len(names)
    for name, mode, link, flag in zip(names, header.numbers(_MODES), links, flags, strict=True):
        if not name.startswith("/"):
            raise ValueError(f"the path {name[:200]!r} is not absolute")
        if not flag & _GHOST:
            yield _File(absolute(name, path), mode, link)


def _paths(header: RpmHeader) -> list[str]:
    if _NAMES not in header.entries:
        return header.texts(_OLD_NAMES) if _OLD_NAMES in header.entries else []
    folders, names, of = header.texts(_FOLDERS), header.texts(_NAMES), header.numbers(_OF_FOLDER)
    if any("/" in name for name in names):
        raise ValueError("the name of a file has a '/'")
    return [folders[number] + name for name, number in zip(names, of, strict=True)]


def _is_started(one: _File) -> bool:
    return stat.S_ISLNK(one.mode) or (stat.S_ISREG(one.mode) and bool(one.mode & 0o001))


def _elves(path: Path) -> Iterator[tuple[str, bytes]]:
    """Its ELF files with their places. Raises ConfigError, OSError."""
    bounds = Bounds()
    with open_regular(path) as stream:
        try:
            stream.seek(headers(stream)[1].end)
            with unpacked(stream, "what it installs", bounds) as plain:
                for one in cpio.entries(plain, bounds, head=len(ELF_MAGIC), most=MOST_ELF_BYTES):
                    if one.head == ELF_MAGIC:
                        yield absolute(one.name, path), one.head + one.rest()
        except (RefusedError, *UNREADABLE) as problem:
            raise ConfigError(f"it cannot be read as an RPM package: {problem}", where=str(path)) from problem
