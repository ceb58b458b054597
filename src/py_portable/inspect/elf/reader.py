"""What an ELF file says about itself, read from its program headers the way the dynamic loader reads them.

Section headers are never looked at: a stripped file has none, and the loader does not use them. Sources: the
System V ABI (chapters 4 and 5), the LSB's chapter on symbol versions, and glibc's loader.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from py_portable.inspect.elf.view import MAX_LONG_STRING, MAX_STRING, Source, View, close_view, open_view

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
