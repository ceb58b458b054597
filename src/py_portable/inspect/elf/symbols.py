"""Which symbols make an ELF file need a version: slower than reading it, so only done to explain an error."""

from __future__ import annotations

import sys
from array import array
from struct import Struct

from py_portable.inspect.elf.reader import DT_STRTAB, needed_versions, read_segments
from py_portable.inspect.elf.view import MAX_LONG_STRING, Source, View, close_view, open_view

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
