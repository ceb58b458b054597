"""The measured floor: the oldest glibc on which the loader finds every version that ELF files need."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from py_portable.inspect.elf.members import elf_members
from py_portable.inspect.elf.reader import Elf, NeededVersion, read, read_if_elf
from py_portable.inspect.elf.view import ElfError, is_elf, printable

Version = tuple[int, ...]

# Versions that bind no symbol and only say that the loader must know something.
ABI_MARKERS: Mapping[str, Version] = {"GLIBC_ABI_DT_RELR": (2, 36)}
_NUMBERED = re.compile(r"GLIBC_([0-9]{1,4}(?:\.[0-9]{1,4}){1,3})")
_OWN_LIBRARIES = re.compile(
    r"(ld-linux.*|ld64|ld|libc|libm|libmvec|libpthread|libdl|librt|libutil|libresolv|libanl|libnsl|libcrypt"
    r"|libnss_.*|libthread_db|libBrokenLocale|libSegFault|libpcprofile|libmemusage|libc_malloc_debug)\.so(\..*)?"
)


@dataclass(frozen=True)
class Setter:
    """The need that sets a floor: the file (relative to what was measured), the library and the version."""

    file: str
    library: str
    version: str


@dataclass(frozen=True)
class Defect:
    """Something in a file that no floor can describe.

    `private`: needs GLIBC_PRIVATE, which belongs to exactly one glibc build; `unknown-version`: needs a
    GLIBC_* version this program has no number for; `broken`: cannot be read.
    """

    kind: Literal["private", "unknown-version", "broken"]
    file: str
    detail: str


@dataclass(frozen=True)
class FloorReport:
    """What all ELF files of something ask of a system. `floor` ("2.31") is None where no file needs glibc.

    `archs` maps an architecture to the files made for it (objects that are not linked yet are left out),
    `musl` lists the files linked against musl.
    """

    floor: str | None
    set_by: Setter | None
    weak_floor: str | None
    elf_files: int
    archs: Mapping[str, tuple[str, ...]]
    musl: tuple[str, ...]
    defects: tuple[Defect, ...]


def version_floor(version: str) -> Version | None:
    """(2, 34) for "GLIBC_2.34", None for every version that says no number of glibc's."""
    if version in ABI_MARKERS:
        return ABI_MARKERS[version]
    match = _NUMBERED.fullmatch(version)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def glibc_needs(elf: Elf) -> Iterator[tuple[NeededVersion, Version | None]]:
    """Every need of a GLIBC_* version with its number; None for GLIBC_PRIVATE and unknown names."""
    for need in elf.versions:
        if need.version.startswith("GLIBC_"):
            yield need, version_floor(need.version)
    # Some linkers write packed relocations without the marker: an older loader skips them in silence, and the
    # program crashes. A static-pie relocates itself.
    if elf.relr and elf.type in ("shared", "dynamic executable") and not elf.musl and not _is_glibc(elf):
        yield NeededVersion("libc.so.6", "DT_RELR", False), ABI_MARKERS["GLIBC_ABI_DT_RELR"]


def glibc_floor(elf: Elf, *, weak: bool = False) -> Version | None:
    """The newest glibc version the file cannot start without (with `weak`, also those it can); None: none."""
    numbers = (number for need, number in glibc_needs(elf) if number and (weak or not need.weak))
    return max(numbers, default=None)


def _is_glibc(elf: Elf) -> bool:
    return elf.soname is not None and _OWN_LIBRARIES.fullmatch(elf.soname) is not None


def glibc_defects(elf: Elf) -> list[tuple[Literal["private", "unknown-version"], NeededVersion]]:
    """Needs that no glibc number fulfils. glibc's own libraries may use their own private versions."""
    found: list[tuple[Literal["private", "unknown-version"], NeededVersion]] = []
    for need, number in glibc_needs(elf):
        if number is None and not need.weak:
            if need.version != "GLIBC_PRIVATE":
                found.append(("unknown-version", need))
            elif not _is_glibc(elf):
                found.append(("private", need))
    return found


def dotted(version: Version | None) -> str | None:
    """(2, 31) as "2.31"."""
    return ".".join(map(str, version)) if version else None


def file_floor(path: Path) -> FloorReport:
    """The floor of one ELF file, whatever it carries inside. Raises ElfError where it cannot be read."""
    return summarise([(path.name, read(path))])


def tree_floor(folder: Path) -> FloorReport:
    """The floor over all ELF files below `folder`; symbolic links inside it are not followed."""

    def readings() -> Iterator[tuple[str, Elf | ElfError]]:
        for path, name in walk(folder):
            try:
                elf = read_if_elf(path, name=printable(name))
            except ElfError as problem:
                yield printable(name), problem
            else:
                if elf:
                    yield printable(name), elf

    return summarise(readings())


def wheel_floor(path: Path) -> FloorReport:
    """The floor over the ELF files inside a wheel or another zip. Raises ElfError where it is not a zip."""

    def readings() -> Iterator[tuple[str, Elf | ElfError]]:
        for name, data in elf_members(path):
            try:
                yield name, data if isinstance(data, ElfError) else read(data, name=name)
            except ElfError as problem:
                yield name, problem

    return summarise(readings())


def measure(path: Path) -> FloorReport:
    """The floor of an ELF file, a folder or a wheel; a file of another kind holds no ELF and has none."""
    if path.is_dir():
        return tree_floor(path)
    if path.suffix == ".whl":
        return wheel_floor(path)
    return file_floor(path) if is_elf(path) else summarise([])


def walk(folder: Path) -> Iterator[tuple[str, str]]:
    """Every regular file below `folder` as (path, path relative to it), in a fixed order.

    Raises ElfError where a folder cannot be listed: a file nobody looked at must not count as measured.
    """
    root = os.fspath(folder)
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            with os.scandir(os.path.join(root, inside)) as listing:  # noqa: PTH118
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as problem:
            raise ElfError(
                f"cannot be listed: {problem.strerror}", where=printable(root + "/" + inside)
            ) from problem
        folders = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(inside + entry.name + "/")
            elif entry.is_file(follow_symlinks=False):
                yield entry.path, inside + entry.name
        pending += reversed(folders)


def summarise(readings: Iterable[tuple[str, Elf | ElfError]]) -> FloorReport:
    """The report over (file name, what was read) pairs."""
    floor: Version | None = None
    weak_floor: Version | None = None
    setter: Setter | None = None
    count = 0
    archs: dict[str, list[str]] = {}
    musl: list[str] = []
    defects: list[Defect] = []
    for file, elf in readings:
        count += 1
        if isinstance(elf, ElfError):
            defects.append(Defect("broken", file, elf.what))
            continue
        if elf.type != "relocatable":
            archs.setdefault(elf.arch, []).append(file)
        if elf.musl:
            musl.append(file)
        for need, number in glibc_needs(elf):
            if number and need.weak:
                weak_floor = max(weak_floor or number, number)
            elif number and (floor is None or number > floor):
                floor, setter = number, Setter(file, need.library, need.version)
        defects += [
            Defect(kind, file, f"needs {need.version} of {need.library}") for kind, need in glibc_defects(elf)
        ]
    return FloorReport(
        dotted(floor),
        setter,
        dotted(weak_floor) if weak_floor and (floor is None or weak_floor > floor) else None,
        count,
        {arch: tuple(files) for arch, files in sorted(archs.items())},
        tuple(musl),
        tuple(defects),
    )
