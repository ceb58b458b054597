#!/usr/bin/env python3
"""Check that every wheel of a folder has a supported platform tag and keeps what the tag promises.

    whl-tags-checker.py DIR TAG... [--exact] [--names-only]

Needs Python 3.11 and `packaging`, nothing else. Written by scripts/make-tags-checker from the modules of
py_portable that are named below: change those, then run it again.
"""

from __future__ import annotations

import argparse
import io
import mmap
import os
import re
import stat
import struct
import sys
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from struct import Struct
from typing import IO, Literal, overload

# --- py_portable.errors

TAIL_LINES = 25


class PortableError(Exception):
    """Something went wrong that the user can understand and mend; never shown as a traceback.

    `what` is one sentence; `where` a file, `file:line:column` or step name; `tail` the last output of what
    failed; `log` the file with all of it; `hint` the next thing to do.
    """

    exit_code = 4

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        tail: str | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.tail = tail
        self.log = log

    def render(self) -> str:
        """The message as it is printed on stderr, several lines, no trailing newline."""
        lines = [f"Error: {self.where}: {self.what}" if self.where else f"Error: {self.what}"]
        if self.tail and self.tail.strip():
            lines += [f"  | {line}" for line in self.tail.rstrip().splitlines()[-TAIL_LINES:]]
        if self.log:
            lines.append(f"  log: {self.log}")
        if self.hint:
            lines += [
                f"  {'next' if i == 0 else '    '}: {line}" if i == 0 else f"        {line}"
                for i, line in enumerate(self.hint.splitlines())
            ]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()


class ConfigError(PortableError):
    """The config, the lock or the command line is wrong."""

    exit_code = 2


class MachineError(PortableError):
    """The machine lacks something that `py-portable doctor` can name."""

    exit_code = 3


# --- py_portable.base.printable

_COLOUR = re.compile(r"\x1b\[[0-9;]{0,40}m")
# What GitHub's runner reads as a command: "::name" where a line begins (blanks do not count), and "##[name]"
# anywhere in it. Azure's and TeamCity's are like the second one: "##vso[", "##teamcity[".
_FIRST = re.compile(r"^( *):(?=:)")
_ANYWHERE = re.compile(r"##(?=[A-Za-z]*\[)")


def line(text: str) -> str:
    """One line: what is not printable is escaped, and what a runner would take for a command is broken up."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return _FIRST.sub(r"\1: ", _ANYWHERE.sub("# #", shown))


def lines(text: str) -> list[str]:
    """Several lines, as the log of a build: colours are left out."""
    return [line(one) for one in _COLOUR.sub("", text).expandtabs().split("\n")]


# --- py_portable.inspect.elf.view

Buffer = bytes | mmap.mmap
Source = bytes | mmap.mmap | str | Path

MAGIC = b"\x7fELF"
# Limits far above what linkers write, so that a hostile file costs neither time nor memory.
MAX_STRING = 4096
MAX_LONG_STRING = 65536


class ElfError(PortableError):
    """A file that begins like an ELF file but cannot be one; `where` names it."""


class Layout:
    """The structures of one class (32 or 64 bit) and byte order."""

    def __init__(self, is64: bool, order: Literal["<", ">"]) -> None:
        self.is64 = is64
        self.order = order
        self.header = Struct(order + ("HHIQQQIHHHHHH" if is64 else "HHIIIIIHHHHHH"))
        self.segment = Struct(order + ("IIQQQQQQ" if is64 else "IIIIIIII"))
        self.dynamic = Struct(order + ("QQ" if is64 else "II"))
        self.verneed = Struct(order + "HHIII")
        self.vernaux = Struct(order + "IHHII")


_LAYOUTS = {(bits, data): Layout(bits == 2, "<" if data == 1 else ">") for bits in (1, 2) for data in (1, 2)}


class View:
    """A buffer with every read bounded, and its PT_LOAD segments as (address, offset, size)."""

    def __init__(self, data: Buffer, where: str, *, owned: bool) -> None:
        self.data = data
        self.size = len(data)
        self.where = where
        self.owned = owned
        if data[:4] != MAGIC:
            raise self.error("not an ELF file")
        if self.size < 16 or (data[4], data[5]) not in _LAYOUTS:
            raise self.error("no such ELF class or byte order")
        self.layout = _LAYOUTS[data[4], data[5]]
        self.loads: list[tuple[int, int, int]] = []
        self.tags: dict[int, int] = {}
        self.needed: list[int] = []

    def error(self, what: str) -> ElfError:
        return ElfError(f"broken ELF file: {what}", where=self.where)

    def unpack(self, struct: Struct, offset: int, what: str) -> tuple[int, ...]:
        if offset < 0 or offset + struct.size > self.size:
            raise self.error(f"{what} lies outside the file (offset {offset} of {self.size} bytes)")
        return struct.unpack_from(self.data, offset)

    def locate(self, address: int, what: str) -> tuple[int, int]:
        """The offset in the file of a mapped address, and the offset at which its segment ends."""
        # A later segment is mapped over an earlier one.
        for start, offset, size in reversed(self.loads):
            if start <= address < start + size:
                return offset + address - start, offset + size
        raise self.error(f"{what} is at address {address:#x}, which no segment holds")

    def text(self, offset: int, end: int, what: str, limit: int = MAX_STRING) -> str:
        """The zero-terminated string at `offset`; what is not UTF-8 comes out as backslash escapes."""
        if offset >= end:
            raise self.error(f"{what} lies outside its table")
        stop = self.data.find(b"\0", offset, min(end, offset + limit + 1))
        if stop < 0:
            raise self.error(f"{what} has no end, or is longer than {limit} bytes")
        return self.data[offset:stop].decode("utf-8", "backslashreplace")


def is_elf(path: str | Path) -> bool:
    """True where `path` is a regular file that begins with the ELF magic; symbolic links are followed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode) and os.pread(fd, 4, 0) == MAGIC
    except OSError:
        return False
    finally:
        os.close(fd)


@overload
def open_view(source: Source, name: str | None = None) -> View: ...


@overload
def open_view(source: Source, name: str | None = None, *, probe: Literal[True]) -> View | None: ...


def open_view(source: Source, name: str | None = None, *, probe: bool = False) -> View | None:
    """A bounded view of a file (mapped) or of bytes. The caller closes it with `close_view`.

    Raises ElfError; with `probe`, a file without the ELF magic gives None instead.
    """
    if isinstance(source, (bytes, mmap.mmap)):
        return View(source, name or "<bytes>", owned=False)
    where = name or printable(os.fspath(source))
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as problem:
        raise ElfError(f"cannot be opened: {getattr(problem, 'strerror', problem)}", where=where) from problem
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ElfError("not a regular file", where=where)
        # Four bytes read first: most files of a tree are not ELF, and mapping costs more than reading.
        head = os.pread(fd, 4, 0)
        if head != MAGIC:
            return None if probe else View(head, where, owned=False)
        mapped = mmap.mmap(fd, status.st_size, prot=mmap.PROT_READ)
    except (OSError, ValueError) as problem:
        raise ElfError(f"cannot be read: {problem}", where=where) from problem
    finally:
        os.close(fd)
    try:
        return View(mapped, where, owned=True)
    except ElfError:
        mapped.close()
        raise


def close_view(view: View) -> None:
    """Unmap the file that `open_view` mapped; a buffer stays its owner's."""
    if view.owned and isinstance(view.data, mmap.mmap):
        view.data.close()


def printable(text: str) -> str:
    """`text` on one line of a terminal: control, bidirectional and undecodable characters as escapes."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


# --- py_portable.inspect.elf.reader

ElfType = Literal["static", "static-pie", "dynamic executable", "shared", "relocatable", "core", "other"]

# Limits far above what linkers write, so that a hostile file costs neither time nor memory.
MAX_SEGMENTS = 4096
MAX_DYNAMIC = 16384
MAX_NEEDED = 4096
MAX_VERSIONS = 4096

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_DEBUG, DT_RUNPATH, DT_RELR = 1, 5, 14, 15, 21, 29, 36
DT_VERNEED, DT_FLAGS_1 = 0x6FFFFFFE, 0x6FFFFFFB
DF_1_PIE = 0x08000000
VER_FLG_WEAK = 2

_ARCH_64 = {
    22: "s390x", 43: "sparc64", 62: "x86_64", 183: "aarch64", 190: "cuda", 243: "riscv64", 247: "bpf",
    258: "loongarch64", 0x9026: "alpha",
}  # fmt: skip
_ARCH_32 = {
    2: "sparc", 3: "i686", 20: "ppc", 22: "s390", 40: "arm", 62: "x32", 183: "aarch64_ilp32", 243: "riscv32",
}  # fmt: skip


@dataclass(frozen=True)
class NeededVersion:
    """A symbol version (`GLIBC_2.34`) that must be found in a library; a weak one may be missing."""

    library: str
    version: str
    weak: bool


@dataclass(frozen=True)
class Elf:
    """An ELF file's header and dynamic section. `machine` is the raw e_machine number."""

    bits: Literal[32, 64]
    endianness: Literal["little", "big"]
    machine: int
    arch: str
    type: ElfType
    interpreter: str | None = None
    soname: str | None = None
    needed: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    versions: tuple[NeededVersion, ...] = ()
    relr: bool = False

    @property
    def musl(self) -> bool:
        """True where it was linked against musl, whose library is `libc.so`, and `libc.musl-*` on Alpine."""
        loader = (self.interpreter or "").rpartition("/")[2]
        return loader.startswith("ld-musl") or any(
            name == "libc.so" or name.startswith("libc.musl") for name in self.needed
        )


def read(source: Source, *, name: str | None = None) -> Elf:
    """Read the ELF file at a path, or the one held by `bytes` (`name` is what errors then call it).

    Raises ElfError where it is not an ELF file, is cut short or contradicts itself.
    """
    view = open_view(source, name)
    try:
        return _read(view)
    finally:
        close_view(view)


def read_if_elf(path: str | Path, *, name: str) -> Elf | None:
    """`read`, but None for a file that is not an ELF file; one that cannot be looked at still is an ElfError."""
    view = open_view(path, name, probe=True)
    if view is None:
        return None
    try:
        return _read(view)
    finally:
        close_view(view)


def _read(view: View) -> Elf:
    layout = view.layout
    kind, machine, *_ = header = view.unpack(layout.header, 16, "the file header")
    bits: Literal[32, 64] = 64 if layout.is64 else 32
    order: Literal["little", "big"] = "little" if layout.order == "<" else "big"
    arch = arch_name(machine, bits, order)
    if kind not in (2, 3):
        names: dict[int, ElfType] = {1: "relocatable", 4: "core"}
        return Elf(bits, order, machine, arch, names.get(kind, "other"))
    interpreter = read_segments(view, header)
    tags = view.tags
    strings = view.locate(tags[DT_STRTAB], "the string table") if DT_STRTAB in tags else None

    def string(offset: int, what: str, limit: int = MAX_STRING) -> str:
        if strings is None:
            raise view.error(f"{what} needs a string table and there is none")
        return view.text(strings[0] + offset, strings[1], what, limit)

    def optional(tag: int, what: str, limit: int = MAX_STRING) -> str | None:
        return string(tags[tag], what, limit) if tag in tags else None

    soname = optional(DT_SONAME, "the soname")
    return Elf(
        bits,
        order,
        machine,
        arch,
        _type(kind, interpreter, soname, tags),
        interpreter,
        soname,
        tuple([string(offset, "the name of a needed library") for offset in view.needed]),
        optional(DT_RPATH, "the RPATH", MAX_LONG_STRING),
        optional(DT_RUNPATH, "the RUNPATH", MAX_LONG_STRING),
        tuple(
            NeededVersion(string(library, "a library's name"), string(version, "a version's name"), weak)
            for library, version, weak, _ in needed_versions(view)
        ),
        DT_RELR in tags,
    )


def arch_name(machine: int, bits: int, order: str) -> str:
    """The architecture as wheel tags and uname spell it, `machine-N` for one that is not known here."""
    if machine == 21:
        return "ppc64le" if order == "little" else "ppc64"
    if machine == 8:
        return ("mips64" if bits == 64 else "mips") + ("el" if order == "little" else "")
    return (_ARCH_64 if bits == 64 else _ARCH_32).get(machine, f"machine-{machine}")


def _type(kind: int, interpreter: str | None, soname: str | None, tags: dict[int, int]) -> ElfType:
    if kind == 2:
        return "dynamic executable" if interpreter or DT_NEEDED in tags else "static"
    # libc.so.6 has an interpreter and is a library all the same; linkers before 2016 set no DF_1_PIE, but
    # DT_DEBUG stands in executables only.
    executable = tags.get(DT_FLAGS_1, 0) & DF_1_PIE or (soname is None and (DT_DEBUG in tags or interpreter))
    if not executable:
        return "shared"
    return "dynamic executable" if interpreter or DT_NEEDED in tags else "static-pie"


def read_segments(view: View, header: tuple[int, ...]) -> str | None:
    """Fill the view's segments and dynamic tags from its file header; returns the interpreter."""
    offset, entry_size, count = header[4], header[8], header[9]
    struct = view.layout.segment
    if not count:
        raise view.error("an executable or library without program headers")
    if entry_size != struct.size or count > MAX_SEGMENTS:
        raise view.error(f"{count} program headers of {entry_size} bytes")
    if offset + count * entry_size > view.size:
        raise view.error("the program headers lie outside the file")
    interpreter = None
    dynamic = None
    for entry in struct.iter_unpack(view.data[offset : offset + count * entry_size]):
        kind = entry[0]
        start, address, length = (entry[2], entry[3], entry[5]) if view.layout.is64 else (
            entry[1], entry[2], entry[4])  # fmt: skip
        if kind == PT_LOAD:
            if start + length > view.size:
                raise view.error(f"cut short: a segment ends at {start + length} of {view.size} bytes")
            view.loads.append((address, start, length))
        elif kind == PT_DYNAMIC:
            dynamic = (address, length)
        elif kind == PT_INTERP:
            if start + length > view.size:
                raise view.error("the interpreter's name lies outside the file")
            interpreter = view.text(start, start + length, "the interpreter's name")
    # A file of debug symbols keeps the segment of the program it belongs to, without its bytes.
    if dynamic and dynamic[1]:
        _read_dynamic(view, *dynamic)
    return interpreter


def _read_dynamic(view: View, address: int, length: int) -> None:
    struct = view.layout.dynamic
    offset, end = view.locate(address, "the dynamic section")
    length = min(length, end - offset, MAX_DYNAMIC * struct.size)
    length -= length % struct.size
    for tag, value in struct.iter_unpack(view.data[offset : offset + length]):
        if not tag:
            return
        view.tags[tag] = value
        if tag == DT_NEEDED:
            if len(view.needed) >= MAX_NEEDED:
                raise view.error(f"more than {MAX_NEEDED} needed libraries")
            view.needed.append(value)
    raise view.error("the dynamic section has no end")


def needed_versions(view: View) -> list[tuple[int, int, bool, int]]:
    """The version needs: offsets of the library's and of the version's name, weak, and the version's index.

    The chains are followed to their ends as glibc follows them, whatever DT_VERNEEDNUM says; they only lead
    forward, so they end.
    """
    found: list[tuple[int, int, bool, int]] = []
    if DT_VERNEED not in view.tags:
        return found
    need, end = view.locate(view.tags[DT_VERNEED], "the version needs")
    layout = view.layout
    records = 0
    while True:
        version, _, library, aux, following = view.unpack(layout.verneed, need, "a version need")
        if version != 1 or need >= end:
            raise view.error("the version needs are not of version 1 or leave their segment")
        aux += need
        while True:
            _, flags, index, name, step = view.unpack(layout.vernaux, aux, "a needed version")
            records += 1
            if records > MAX_VERSIONS:
                raise view.error(f"more than {MAX_VERSIONS} needed versions")
            found.append((library, name, bool(flags & VER_FLG_WEAK), index & 0x7FFF))
            if not step:
                break
            aux += step
        if not following:
            return found
        need += following


# --- py_portable.inspect.elf.symbols

DT_HASH, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_REL, DT_RELSZ, DT_JMPREL, DT_PLTRELSZ, DT_PLTREL = (
    4, 6, 7, 8, 17, 18, 23, 2, 20)  # fmt: skip
DT_GNU_HASH, DT_VERSYM = 0x6FFFFEF5, 0x6FFFFFF0
MAX_SYMBOLS = 1 << 22
MAX_REPORTED = 1000


def symbols_needing(source: Source, version: str, *, name: str | None = None) -> tuple[str, ...]:
    """The names of the symbols that bind to `version` ("GLIBC_2.34"), sorted, at most 1000 of them.

    Empty for a version no symbol is bound to, such as the marker GLIBC_ABI_DT_RELR. Raises ElfError.
    """
    view = open_view(source, name)
    try:
        header = view.unpack(view.layout.header, 16, "the file header")
        if header[0] not in (2, 3):
            return ()
        read_segments(view, header)
        return _symbols(view, header[1], version)
    finally:
        close_view(view)


def _symbols(view: View, machine: int, version: str) -> tuple[str, ...]:
    tags = view.tags
    if not {DT_STRTAB, DT_SYMTAB, DT_VERSYM} <= tags.keys():
        return ()
    strings, strings_end = view.locate(tags[DT_STRTAB], "the string table")
    wanted = {
        index
        for _, label, _, index in needed_versions(view)
        if view.text(strings + label, strings_end, "a version's name") == version
    }
    if not wanted:
        return ()
    symbols, symbols_end = view.locate(tags[DT_SYMTAB], "the symbol table")
    versions, versions_end = view.locate(tags[DT_VERSYM], "the symbols' versions")
    entry = Struct(view.layout.order + ("I20x" if view.layout.is64 else "I12x"))
    room = min((symbols_end - symbols) // entry.size, (versions_end - versions) // 2)
    count = min(_count(view, machine), MAX_SYMBOLS, room)
    indexes = array("H", view.data[versions : versions + 2 * count])
    if (view.layout.order == "<") != (sys.byteorder == "little"):
        indexes.byteswap()
    names = set()
    for number, index in enumerate(indexes):
        if index & 0x7FFF in wanted:
            (label,) = entry.unpack_from(view.data, symbols + number * entry.size)
            names.add(view.text(strings + label, strings_end, "a symbol's name", MAX_LONG_STRING))
            if len(names) >= MAX_REPORTED:
                break
    return tuple(sorted(names))


def _count(view: View, machine: int) -> int:
    """How many dynamic symbols there are; the format does not say it outright.

    DT_HASH holds the number. DT_GNU_HASH leaves out undefined symbols (and ld writes an empty one where
    nothing is defined), but those stand before the defined ones or are named by a relocation.
    """
    if DT_HASH in view.tags:
        offset, _ = view.locate(view.tags[DT_HASH], "the hash table")
        # Alpha and 64-bit S/390 have 8-byte entries.
        wide = view.layout.is64 and machine in (22, 0x9026)
        return view.unpack(Struct(view.layout.order + ("QQ" if wide else "II")), offset, "the hash table")[1]
    return max(_count_gnu_hash(view), _count_relocated(view))


def _count_gnu_hash(view: View) -> int:
    if DT_GNU_HASH not in view.tags:
        return 0
    offset, end = view.locate(view.tags[DT_GNU_HASH], "the GNU hash table")
    order = view.layout.order
    buckets, first, bloom, _ = view.unpack(Struct(order + "4I"), offset, "the GNU hash table")
    start = offset + 16 + bloom * (8 if view.layout.is64 else 4)
    chains = start + 4 * buckets
    if chains > end or buckets > MAX_SYMBOLS:
        raise view.error("the GNU hash table leaves its segment")
    last = max((number for (number,) in Struct(order + "I").iter_unpack(view.data[start:chains])), default=0)
    if last < first:
        return first
    word = Struct(order + "I")
    for number in range(last, min(last + MAX_SYMBOLS, first + (end - chains) // 4)):
        if word.unpack_from(view.data, chains + 4 * (number - first))[0] & 1:
            return number + 1
    raise view.error("the GNU hash table has no end")


def _count_relocated(view: View) -> int:
    tags = view.tags
    tables = (
        (tags.get(DT_RELA), tags.get(DT_RELASZ, 0), True),
        (tags.get(DT_REL), tags.get(DT_RELSZ, 0), False),
        (tags.get(DT_JMPREL), tags.get(DT_PLTRELSZ, 0), tags.get(DT_PLTREL) == DT_RELA),
    )
    highest = 0
    for address, length, addend in tables:
        if not address or not length:
            continue
        offset, end = view.locate(address, "the relocations")
        if view.layout.is64:
            entry, shift = Struct(view.layout.order + ("8xQ8x" if addend else "8xQ")), 32
        else:
            entry, shift = Struct(view.layout.order + ("4xI4x" if addend else "4xI")), 8
        length = min(length, end - offset, MAX_SYMBOLS * entry.size)
        block = view.data[offset : offset + length - length % entry.size]
        highest = max(highest, max((info for (info,) in entry.iter_unpack(block)), default=0) >> shift)
    return highest + 1


# --- py_portable.inspect.elf.members

MAX_MEMBERS = 200_000
MAX_MEMBER = 4 << 30
MAX_TOTAL = 8 << 30
# A larger member is unpacked to an unnamed temporary file instead of into memory.
MAX_IN_MEMORY = 64 << 20
# A smaller zip is read at once: zipfile itself reads a few bytes at a time, and spends most of its time so.
SMALL_ZIP = 1 << 20
# What a damaged or hostile zip makes the standard library raise.
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, OverflowError, RuntimeError, LookupError,
    struct.error, MemoryError,
)  # fmt: skip


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip at `path`. Raises ElfError where it is none, or has more than 200,000 members."""
    where = printable(path.name)
    if not path.is_file():
        raise ElfError("is not a regular file", where=where)
    try:
        small = path.stat().st_size <= SMALL_ZIP
        archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()) if small else path)
    except ZIP_ERRORS as problem:
        raise ElfError(f"cannot be read as a zip: {reason(problem)}", where=where) from problem
    with archive:
        if len(archive.infolist()) > MAX_MEMBERS:
            raise ElfError(f"more than {MAX_MEMBERS} members", where=where)
        yield archive


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Open a member for reading. Raises ElfError where it is encrypted or compressed in an unusual way.

    Only deflate lets the standard library bound what one call decompresses, and installers need no other.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ElfError("compressed by neither deflate nor store", where=printable(member.filename))
    return archive.open(member)


def elf_members(path: Path) -> Iterator[tuple[str, Buffer | ElfError]]:
    """Every member of a zip that begins like an ELF file: its printable name, and its bytes or why not.

    Members that cannot be looked at come out too, as an ElfError: nothing is left out in silence. Raises
    ElfError where the whole is not a zip.
    """
    with open_zip(path) as archive:
        yield from elves(archive)


def elves(archive: zipfile.ZipFile) -> Iterator[tuple[str, Buffer | ElfError]]:
    """`elf_members` of an archive that is open already."""
    total = 0
    for member in archive.infolist():
        # Judged by the stated size: reading never yields more than that.
        if member.file_size < len(MAGIC) or member.filename.endswith("/"):
            continue
        name = printable(member.filename)
        data: Buffer | ElfError
        try:
            with open_member(archive, member) as stream:
                if stream.read(len(MAGIC)) != MAGIC:
                    continue
                total += member.file_size
                if member.file_size > MAX_MEMBER:
                    raise ElfError(f"larger than {MAX_MEMBER >> 30} GiB", where=name)
                if total > MAX_TOTAL:
                    yield name, ElfError(f"more than {MAX_TOTAL >> 30} GiB of ELF files", where=name)
                    return
                stream.seek(0)
                data = stream.read() if member.file_size <= MAX_IN_MEMORY else _spill(stream)
        except ElfError as problem:
            data = problem
        except ZIP_ERRORS as problem:
            data = ElfError(f"cannot be unpacked: {reason(problem)}", where=name)
        yield name, data


def _spill(stream: IO[bytes]) -> mmap.mmap:
    # Rarely needed, and a tenth of the tag checker's start-up time.
    import tempfile

    with tempfile.TemporaryFile() as file:
        while chunk := stream.read(1 << 20):
            file.write(chunk)
        file.flush()
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def reason(problem: BaseException) -> str:
    """An exception of the standard library as one printable line."""
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return printable(" ".join(text.split()) or type(problem).__name__)


# --- py_portable.inspect.elf.floor

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


# --- py_portable.inspect.wheel_tags

LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}

_LIBC_TAG = re.compile(r"(manylinux|musllinux)_([0-9]{1,4})_([0-9]{1,4})_([a-z0-9_]+)")
_LEGACY_TAG = re.compile(r"(manylinux1|manylinux2010|manylinux2014)_([a-z0-9_]+)")
_LINUX_TAG = re.compile(r"linux_([a-z0-9_]+)")
_OTHER_TAG = re.compile(
    r"any|win32|win_[a-z0-9]+|(macosx|ios|android|emscripten|pyodide|freebsd|graalpy)_[a-z0-9_]+"
)


@dataclass(frozen=True)
class Platform:
    """A platform tag taken apart. `libc` is None for a tag that promises none, `linux_*` among them."""

    tag: str
    libc: Literal["glibc", "musl"] | None
    version: tuple[int, int]
    arch: str | None


@lru_cache(maxsize=4096)
def platform(tag: str) -> Platform:
    """Take a platform tag apart; manylinux1, 2010 and 2014 come out as glibc 2.5, 2.12 and 2.17."""
    if match := _LIBC_TAG.fullmatch(tag):
        return Platform(
            tag, "glibc" if match[1] == "manylinux" else "musl", (int(match[2]), int(match[3])), match[4]
        )
    if match := _LEGACY_TAG.fullmatch(tag):
        return Platform(tag, "glibc", LEGACY[match[1]], match[2])
    match = _LINUX_TAG.fullmatch(tag)
    return Platform(tag, None, (0, 0), match[1] if match else None)


def expand(tags: Iterable[str]) -> tuple[str, ...]:
    """The single tags of compressed sets (`manylinux1_i686.manylinux_2_5_i686`), lower case, once each."""
    return tuple(dict.fromkeys(part for tag in tags for part in tag.strip().lower().split(".")))


def is_known(tag: str) -> bool:
    """False for a platform tag no installer knows, such as `manylinux_2_28` without its architecture."""
    known = platform(tag)
    return known.libc is not None or known.arch is not None or _OTHER_TAG.fullmatch(tag) is not None


def admits(allowed: str, tag: str) -> bool:
    """True where a system described by `allowed` runs what `tag` promises: equal, or an older libc."""
    if allowed == tag:
        return True
    ours, theirs = platform(allowed), platform(tag)
    return (
        ours.libc is not None
        and (ours.libc, ours.arch, ours.version[0]) == (theirs.libc, theirs.arch, theirs.version[0])
        and theirs.version <= ours.version
    )


def supported(tags: Iterable[str], allowed: Iterable[str], *, exact: bool = False) -> bool:
    """True where at least one of a wheel's single tags is admitted; `exact` is plain set membership."""
    wanted = tuple(allowed)
    return any(tag in wanted if exact else any(admits(one, tag) for one in wanted) for tag in tags)


# --- py_portable.inspect.wheel

MAX_WHEEL_FILE = 1 << 16
MAX_TAGS = 512
SHOWN = 3
MAX_SHOWN_NAME = 200
# e_machine says less than a tag: every 32-bit ARM is "arm", every 32-bit x86 "i686".
_ELF_ARCHES = {
    "armv5l": "arm", "armv6l": "arm", "armv7l": "arm", "armv8l": "arm", "i386": "i686", "i486": "i686",
    "i586": "i686", "ppc64el": "ppc64le",
}  # fmt: skip


def broken_promises(path: Path, tags: frozenset[str]) -> list[str]:
    """Every way in which a wheel is not what its file name's tags (`cp313-cp313-linux_x86_64`) say.

    Each is one printable line that names the member and, for a glibc that is too new, the symbols. That a
    wheel cannot be read is such a way too.
    """
    try:
        with open_zip(path) as archive:
            platforms = [platform(tag) for tag in sorted({tag.split("-")[2] for tag in tags})]
            return [*_tags_inside(archive, tags), *_elf_promises(archive, platforms)]
    except ElfError as problem:
        return [problem.what]


def _tags_inside(archive: zipfile.ZipFile, tags: frozenset[str]) -> Iterator[str]:
    members = [
        member
        for member in archive.infolist()
        if member.filename.count("/") == 1 and member.filename.endswith(".dist-info/WHEEL")
    ]
    if len(members) != 1:
        yield f"has {len(members) or 'no'} *.dist-info/WHEEL files, expected one"
        return
    name = printable(members[0].filename)
    try:
        if members[0].file_size > MAX_WHEEL_FILE:
            raise ElfError(f"larger than {MAX_WHEEL_FILE} bytes", where=name)
        with open_member(archive, members[0]) as stream:
            text = stream.read().decode("utf-8")
    except ElfError as problem:
        yield f"{name}: {problem.what}"
        return
    except ZIP_ERRORS as problem:
        yield f"{name}: cannot be read: {reason(problem)}"
        return
    inside = frozenset(tag for line in text.splitlines() for tag in _tag_line(line))
    for title, odd in (
        ("says {}, which the file name does not", inside - tags),
        ("does not say {}, which the file name does", tags - inside),
    ):
        if odd:
            yield f"{name}: {title.format(printable(_some(sorted(odd))))}"


def _tag_line(line: str) -> Iterator[str]:
    key, _, value = line.partition(":")
    if key.strip().lower() == "tag":
        # A compressed set is one line in the file name and several here; some builders write it compressed.
        parts = value.strip().lower().split("-")
        if len(parts) == 3:
            yield from expand_tag(*parts)
        else:
            yield value.strip()


def expand_tag(python: str, abi: str, plat: str) -> Iterator[str]:
    """The single tags of a compressed one: `py2.py3-none-any` gives `py2-none-any` and `py3-none-any`.

    One that would give more than 512 comes back as it is, and so agrees with nothing.
    """
    pythons, abis, platforms = python.split("."), abi.split("."), plat.split(".")
    if len(pythons) * len(abis) * len(platforms) > MAX_TAGS:
        yield f"{python}-{abi}-{plat}"
        return
    for one in pythons:
        for two in abis:
            for three in platforms:
                yield f"{one}-{two}-{three}"


def _elf_promises(archive: zipfile.ZipFile, platforms: Sequence[Platform]) -> Iterator[str]:
    any_tag = any(one.tag == "any" for one in platforms)
    promises = [one for one in platforms if one.libc]
    if not any_tag and not promises:
        return
    for name, data in elves(archive):
        try:
            if isinstance(data, ElfError):
                raise data
            if any_tag:
                # Read all the same: a file that is only named like one is no lie.
                yield f"{name}: is a {read(data, name=name).arch} ELF file, but the tag any promises none"
                continue
            yield from _file_promises(name, data, promises)
        except ElfError as problem:
            yield f"{name}: {problem.what}"


def _file_promises(name: str, data: Buffer, promises: Sequence[Platform]) -> Iterator[str]:
    elf = read(data, name=name)
    if elf.type in ("relocatable", "core", "other"):
        return
    mine = [one for one in promises if _ELF_ARCHES.get(one.arch or "", one.arch) == elf.arch]
    if not mine:
        yield f"{name}: is made for {elf.arch}, but the wheel promises {_listed(promises)}"
        return
    glibc = [one for one in mine if one.libc == "glibc"]
    musl = [one for one in mine if one.libc == "musl"]
    if glibc and elf.musl:
        yield f"{name}: is linked against musl, but the wheel promises {_listed(glibc)}"
    if musl and ("libc.so.6" in elf.needed or any(True for _ in glibc_needs(elf))):
        yield f"{name}: is linked against glibc, but the wheel promises {_listed(musl)}"
    if not glibc:
        return
    strictest = min(glibc, key=lambda one: one.version)
    # The newest version and its symbols are what there is to correct; the others seldom help, and each costs a
    # walk over all symbols.
    newest = max(
        ((number, need) for need, number in glibc_needs(elf) if number and not need.weak),
        key=lambda pair: pair[0],
        default=None,
    )
    if newest and newest[0] > strictest.version:
        what = _need(data, newest[1])
        yield f"{name}: {what}, but {strictest.tag} promises glibc {dotted(strictest.version)}"
    for kind, need in glibc_defects(elf)[:SHOWN]:
        why = (
            "belongs to one particular build of glibc"
            if kind == "private"
            else "is a version that this check does not know"
        )
        yield f"{name}: {_need(data, need)}, which {why}"


def _need(data: Buffer, need: NeededVersion) -> str:
    symbols = [printable(symbol[:MAX_SHOWN_NAME]) for symbol in symbols_needing(data, need.version)]
    return f"needs {printable(need.version)} of {printable(need.library)}" + (
        f" (for {_some(symbols)})" if symbols else ""
    )


def _some(words: Sequence[str]) -> str:
    more = len(words) - SHOWN
    return ", ".join(words[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _listed(promises: Sequence[Platform]) -> str:
    return ", ".join(one.tag for one in promises)


# --- py_portable.inspect.wheel_check

@dataclass(frozen=True)
class BadWheel:
    """A bad wheel: its file name (printable), whether the name itself is malformed, and why it is bad."""

    wheel: str
    malformed: bool
    details: tuple[str, ...]

    def render(self) -> str:
        """The lines that are printed about it; the first is the same for every bad wheel."""
        if self.malformed:
            return "\n".join(f"Error: malformed wheel name: {self.wheel}: {why}" for why in self.details)
        first = f"Error: wheel package without supported platform tags was found: {self.wheel}."
        return "\n".join([first, *(f"  {why}" for why in self.details)])


@dataclass(frozen=True)
class Checked:
    """How many wheels were looked at, whether only their names were, and what is wrong with which."""

    wheels: int
    names_only: bool
    findings: tuple[BadWheel, ...]

    @property
    def exit_status(self) -> int:
        """0 all good, 1 a bad wheel, 2 a file name that is not a wheel's."""
        if any(finding.malformed for finding in self.findings):
            return ConfigError.exit_code
        return 1 if self.findings else 0

    def render(self) -> str:
        """What is printed on stdout: nothing that the log of a CI would obey, whatever files are called."""
        if self.findings:
            return "\n".join(lines("\n".join(finding.render() for finding in self.findings)))
        have = "wheel has" if self.wheels == 1 else "wheels have"
        unseen = " (not looked inside)" if self.names_only else ""
        return f"Success: {self.wheels} {have} supported platform tags{unseen}"


def check(
    directory: Path, allowed: Sequence[str], exact: bool = False, *, names_only: bool = False
) -> list[BadWheel]:
    """The bad wheels of a folder. See `check_folder`, which also counts the good ones."""
    return list(check_folder(directory, allowed, exact, names_only=names_only).findings)


def check_folder(
    directory: Path, allowed: Sequence[str], exact: bool = False, *, names_only: bool = False
) -> Checked:
    """Check every `*.whl` of a folder (not of the folders below it) against the allowed platform tags.

    A wheel is good when one of its tags is allowed (without `exact`: or is for an older libc of the same kind
    and architecture) and, without `names_only`, when its inside agrees with its name. Raises ConfigError for
    a missing folder, no wheels or an impossible tag, MachineError where `packaging` is missing.
    """
    tags = allowed_tags(allowed)
    try:
        wheels = sorted(path for path in directory.iterdir() if path.name.lower().endswith(".whl"))
    except OSError as problem:
        raise ConfigError(
            f"not a readable folder: {problem.strerror}", where=printable(str(directory))
        ) from problem
    if not wheels:
        raise ConfigError("no wheels in this folder", where=printable(str(directory)))
    found = (_check_wheel(path, tags, exact, names_only) for path in wheels)
    return Checked(len(wheels), names_only, tuple(finding for finding in found if finding))


def allowed_tags(allowed: Sequence[str]) -> tuple[str, ...]:
    """The single tags of what the user allows. Raises ConfigError for none, or for one no wheel can carry."""
    tags = expand(allowed)
    if not tags:
        raise ConfigError("no platform tag given")
    for tag in tags:
        if not is_known(tag):
            raise ConfigError(
                f"not a platform tag: {printable(tag) or repr(tag)}",
                hint="such as manylinux_2_28_x86_64, manylinux2014_aarch64, musllinux_1_2_x86_64 or any",
            )
    return tags


def _check_wheel(path: Path, allowed: tuple[str, ...], exact: bool, names_only: bool) -> BadWheel | None:
    name = printable(path.name)
    try:
        tags = name_tags(path.name)
    except ValueError as problem:
        return BadWheel(name, True, (printable(" ".join(str(problem).split())),))
    details = []
    platforms = sorted({tag.split("-")[2] for tag in tags})
    if not supported(platforms, allowed, exact=exact):
        details.append(
            f"has {', '.join(platforms)}; allowed: {', '.join(allowed)}{' (exactly)' if exact else ''}"
        )
    if not names_only:
        details += broken_promises(path, tags)
    return BadWheel(name, False, tuple(details)) if details else None


def name_tags(name: str) -> frozenset[str]:
    """The single tags of a wheel's file name, such as `py3-none-any`. Raises ValueError where malformed."""
    # `packaging` lets a line feed through after the version.
    if any(letter.isspace() or not letter.isprintable() for letter in name):
        raise ValueError("white space or control characters")
    # Imported here: it is half of the start-up time, and may be missing where only the script was copied.
    try:
        from packaging.utils import parse_wheel_filename
    except ImportError as problem:
        raise MachineError(
            "the Python library `packaging` is missing", hint=f"{sys.executable} -m pip install packaging"
        ) from problem
    return frozenset(str(tag) for tag in parse_wheel_filename(name)[3])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 0 good, 1 a bad wheel, 2 wrong use, 3 no `packaging`."""
    parser = argparse.ArgumentParser(
        description="Check that each wheel of a folder has a supported platform tag and keeps its promise.",
        epilog="An allowed manylinux or musllinux tag admits older ones of its architecture; pure wheels "
        "need the tag `any`. Exit status: 0 all good, 1 a bad wheel, 2 wrong use or a malformed name.",
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="folder that holds the wheels")
    parser.add_argument("tags", metavar="TAG", nargs="+", help="platform tag that is supported")
    parser.add_argument(
        "--exact", action="store_true", help="admit these tags only, not older ones nor aliases"
    )
    parser.add_argument("--names-only", action="store_true", help="do not look into the wheels")
    options = parser.parse_intermixed_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks must not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        checked = check_folder(options.directory, options.tags, options.exact, names_only=options.names_only)
    except PortableError as problem:
        print(problem.render(), file=sys.stderr)
        return problem.exit_code
    print(checked.render())
    return checked.exit_status


if __name__ == "__main__":
    sys.exit(main())
