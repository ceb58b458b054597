"""Bounded reading: a file or bytes, its PT_LOAD segments, and strings; nothing read is trusted.

Sources: the System V ABI (chapters 4 and 5), elf(5).
"""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from struct import Struct
from typing import Literal, overload

from py_portable.errors import PortableError

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
