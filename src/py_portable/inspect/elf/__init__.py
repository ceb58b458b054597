"""Our own ELF reader, and the glibc floor that ELF files set. A leaf: standard library and errors only."""

from py_portable.inspect.elf.floor import (
    Defect,
    FloorReport,
    Setter,
    file_floor,
    glibc_floor,
    measure,
    tree_floor,
    wheel_floor,
)
from py_portable.inspect.elf.reader import Elf, NeededVersion, read
from py_portable.inspect.elf.symbols import symbols_needing
from py_portable.inspect.elf.view import ElfError, is_elf, printable

__all__ = [
    "Defect",
    "Elf",
    "ElfError",
    "FloorReport",
    "NeededVersion",
    "Setter",
    "file_floor",
    "glibc_floor",
    "is_elf",
    "measure",
    "printable",
    "read",
    "symbols_needing",
    "tree_floor",
    "wheel_floor",
]
