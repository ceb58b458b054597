"""The needs of the ELF files that a cell sees, to check whether a loader's error message can be true."""

from __future__ import annotations

import functools
import mmap
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from py_portable.engines.engine import Bind
from py_portable.formats import Start
from py_portable.formats.package_install import kind_of
from py_portable.inspect.elf import Elf, ElfError, is_elf, read
from py_portable.inspect.elf.floor import walk
from py_portable.inspect.elf.members import elf_members
from py_portable.inspect.elf.view import Buffer

_LIBRARY = re.compile(r"([\w.+-]{1,255}) not found")
_SYMBOL = re.compile(r"undefined symbol (\w{1,1000})")


def asked_for(start: Start, detail: str) -> bool:
    """Whether an ELF file of the start needs the library, version or symbol that is missing according to `detail`.

    A program that is a single ELF file may contain other files in packed form, which cannot be read: it is believed.
    """
    shown = tuple(dict.fromkeys(bind.source for bind in (*start.binds, *_of_install(start))))
    if start.is_elf and len(shown) == 1 and shown[0].is_file():
        return True
    symbol = _SYMBOL.match(detail)
    if symbol:
        return _has_symbol(shown, symbol[1])
    library = _LIBRARY.match(detail)
    return library is not None and library[1] in _needs(shown)


def _of_install(start: Start) -> tuple[Bind, ...]:
    return start.install.binds if start.install else ()


@functools.lru_cache(maxsize=64)
def _needs(shown: tuple[Path, ...]) -> frozenset[str]:
    """The names of needed libraries and symbol versions. They are read only after a failure, once for each
    artifact."""
    found: set[str] = set()
    for data in _elves(shown):
        with suppress(ElfError):
            elf: Elf = read(data)
            found |= {*elf.needed, *(one.version for one in elf.versions)}
    return frozenset(found)


@functools.lru_cache(maxsize=64)
def _has_symbol(shown: tuple[Path, ...], name: str) -> bool:
    """Whether the name is in a string table of one of these files."""
    word = f"\0{name}\0".encode()
    return any(_bytes_hold(data, word) for data in _elves(shown))


def _bytes_hold(data: Path | Buffer, word: bytes) -> bool:
    if not isinstance(data, Path):
        return data.find(word) >= 0
    with (
        suppress(OSError, ValueError),
        data.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as mapped,
    ):
        return mapped.find(word) >= 0
    return False


def _elves(shown: tuple[Path, ...]) -> Iterator[Path | Buffer]:
    """The ELF files, also those in packages, wheels and programs that are zip files. A file that cannot be read proves
    nothing."""
    for top in shown:
        with suppress(ElfError):
            for path in (Path(os.fsdecode(name)) for name, _ in walk(top)) if top.is_dir() else (top,):
                if kind := kind_of(path):
                    yield from kind.elves(path)
                elif is_elf(path):
                    yield path
                elif zipfile.is_zipfile(path):
                    yield from (data for _, data in elf_members(path) if not isinstance(data, ElfError))
