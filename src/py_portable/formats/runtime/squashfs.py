"""A writer of SquashFS 4.0 images: what Linux mounts and squashfs-tools unpack, without a program of this machine.

The same items give the same bytes. Everything belongs to root, and there are no extended attributes, no devices and no
holes. A file that is shorter than a block shares a block with others ("fragment"); a longer one has blocks of its own.
So the bytes of each file stand in one piece, and the runtime unpacks blocks in the order in which they lie in the file.
Of files with the same bytes, as when several wheels bring a library, these are there once.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import zstandard

from py_portable.base.regular import sha256_of
from py_portable.errors import StepError
from py_portable.formats.runtime.packer import COMMON_TIME, Item, side_by_side

SUPERBLOCK = struct.Struct("<5I6H8Q")
MAGIC = 0x73717368
PADDED_TO = 4096
"""An image is mounted by a loop device in pages."""
_METADATA, _ABSENT, _NOWHERE = 8192, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_NO_XATTRS = 0x200
_RAW_BLOCK, _RAW_METADATA = 1 << 24, 1 << 15
_DIRECTORY, _FILE, _LINK, _LONG_DIRECTORY, _LONG_FILE = 1, 2, 3, 8, 9
ZSTD_LEVEL = 18
"""Of a block of 1 MiB 19 makes nothing better, and takes a quarter longer."""
_ROOT = Item(b"", stat.S_IFDIR | 0o755)


@dataclass(frozen=True)
class Compressor:
    number: int
    """As the superblock has it."""
    compress: Callable[[bytes], bytes]


def _zstd(data: bytes) -> bytes:
    way = zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, source_size=len(data))
    return zstandard.ZstdCompressor(compression_params=way).compress(data)


def _gzip(data: bytes) -> bytes:
    return zlib.compress(data, 9)


COMPRESSORS = {"gzip": Compressor(1, _gzip), "zstd": Compressor(6, _zstd)}


@dataclass(frozen=True)
class Block:
    """Of the data, in the order in which they lie in the image."""

    packed: int
    plain: int


@dataclass(frozen=True)
class ImageLayout:
    blocks: tuple[Block, ...]
    """They begin behind the superblock; the tables follow them."""
    bytes: int
    """Of the image, padded."""


@dataclass
class _Placed:
    """Where the bytes of a file lie: in `sizes` blocks from `start`, or in a fragment."""

    start: int = 0
    sizes: tuple[int, ...] = ()
    fragment: int = _ABSENT
    offset: int = 0


@dataclass(frozen=True)
class _Piece:
    """Of the data, not yet compressed: all bytes of `files` that are in one fragment, or one block of one file."""

    data: bytes
    files: tuple[tuple[bytes, int], ...]
    """Path, and offset of a fragment's part."""
    is_fragment: bool


def write(items: Sequence[Item], out: BinaryIO, *, compressor: str, block_bytes: int) -> ImageLayout:
    """Write the image of all `items`, folders and links among them, at the beginning of `out`.

    `block_bytes`: a power of two between 4 KiB and 1 MiB. Data has the order of the items. Raises StepError.
    """
    way = COMPRESSORS[compressor]
    out.write(bytes(SUPERBLOCK.size))
    at, blocks, fragments = SUPERBLOCK.size, list[Block](), list[bytes]()
    placed: dict[bytes, _Placed] = defaultdict(_Placed)
    twins = _twins(items)

    def compressed(piece: _Piece) -> tuple[_Piece, bytes]:
        return piece, way.compress(piece.data)

    for piece, packed in side_by_side(
        compressed, _pieces([one for one in items if one.path not in twins], block_bytes)
    ):
        raw = len(packed) >= len(piece.data)
        body = piece.data if raw else packed
        size = len(body) | (_RAW_BLOCK if raw else 0)
        for path, offset in piece.files:
            if piece.is_fragment:
                placed[path] = _Placed(fragment=len(fragments), offset=offset)
            else:
                before = placed[path]
                placed[path] = _Placed(before.start or at, (*before.sizes, size))
        if piece.is_fragment:
            fragments.append(struct.pack("<QII", at, size, 0))
        blocks.append(Block(len(body), len(piece.data)))
        out.write(body)
        at += len(body)
    placed |= {path: placed[first] for path, first in twins.items()}
    end = _finish(items, placed, fragments, out, at, way, block_bytes)
    return ImageLayout(tuple(blocks), end)


def _twins(items: Sequence[Item]) -> Mapping[bytes, bytes]:
    """Of each file whose bytes an earlier one has, the path of that one."""
    by_size: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        if item.source is not None and item.size:
            by_size[item.size].append(item)
    found, first = dict[bytes, bytes](), dict[str, bytes]()
    for item in (one for group in by_size.values() if len(group) > 1 for one in group):
        assert item.source is not None
        before = first.setdefault(sha256_of(item.source), item.path)
        if before != item.path:
            found[item.path] = before
    return found


def _pieces(items: Sequence[Item], block_bytes: int) -> Iterator[_Piece]:
    held, files = bytearray(), list[tuple[bytes, int]]()
    for item in items:
        if item.source is None or item.size == 0:
            continue
        if item.size < block_bytes:
            if len(held) + item.size > block_bytes:
                yield _Piece(bytes(held), tuple(files), is_fragment=True)
                held, files = bytearray(), []
            data = item.source.read_bytes()
            _check(item, len(data))
            files.append((item.path, len(held)))
            held += data
            continue
        read = 0
        with item.source.open("rb") as stream:
            while data := stream.read(block_bytes):
                read += len(data)
                yield _Piece(data, ((item.path, 0),), is_fragment=False)
        _check(item, read)
    if held:
        yield _Piece(bytes(held), tuple(files), is_fragment=True)


def _check(item: Item, read: int) -> None:
    if read != item.size:
        raise StepError("it was changed while it was packed", where=str(item.source))


class _Table:
    """Metadata in blocks of 8 KiB, each of them compressed."""

    def __init__(self, way: Compressor) -> None:
        self._way, self._held = way, bytearray()
        self.body = bytearray()
        self.starts: list[int] = []
        """Of each block that is done."""

    def add(self, data: bytes) -> tuple[int, int]:
        """Where it is: the start of its block in the table, and its offset in what that unpacks to."""
        place = (len(self.body), len(self._held))
        self._held += data
        while len(self._held) >= _METADATA:
            self._flush(_METADATA)
        return place

    def end(self) -> bytes:
        if self._held:
            self._flush(len(self._held))
        return bytes(self.body)

    def _flush(self, size: int) -> None:
        plain = bytes(self._held[:size])
        del self._held[:size]
        packed = self._way.compress(plain)
        self.starts.append(len(self.body))
        if len(packed) < len(plain):
            self.body += struct.pack("<H", len(packed)) + packed
        else:
            self.body += struct.pack("<H", len(plain) | _RAW_METADATA) + plain


def _finish(
    items: Sequence[Item],
    placed: Mapping[bytes, _Placed],
    fragments: Sequence[bytes],
    out: BinaryIO,
    at: int,
    way: Compressor,
    block_bytes: int,
) -> int:
    """The tables, and the superblock; returns the size of the image."""
    inodes, directories = _Table(way), _Table(way)
    block, offset = _tree(items, placed, inodes, directories)
    inode_start = at
    tables = inodes.end()
    directory_start = at + len(tables)
    tables += directories.end()
    fragment_start, tables = _pointed(fragments, way, at, tables)
    id_start, tables = _pointed([bytes(4)], way, at, tables)
    used = at + len(tables)
    out.write(tables + bytes(-used % PADDED_TO))
    out.seek(0)
    out.write(
        SUPERBLOCK.pack(
            *(MAGIC, len(items) + 1, COMMON_TIME, block_bytes, len(fragments)),
            *(way.number, block_bytes.bit_length() - 1, _NO_XATTRS, 1, 4, 0),
            *(block << 16 | offset, used, id_start, _NOWHERE, inode_start, directory_start),
            *(fragment_start, _NOWHERE),
        )
    )
    return used + -used % PADDED_TO


def _pointed(entries: Sequence[bytes], way: Compressor, at: int, tables: bytes) -> tuple[int, bytes]:
    """A table that is found by a list of its blocks: where that list begins, and all tables with it."""
    table = _Table(way)
    for entry in entries:
        table.add(entry)
    body, first = table.end(), at + len(tables)
    pointers = b"".join(struct.pack("<Q", first + start) for start in table.starts)
    return first + len(body), tables + body + pointers


def _tree(
    items: Sequence[Item], placed: Mapping[bytes, _Placed], inodes: _Table, directories: _Table
) -> tuple[int, int]:
    """Write all inodes and lists of names; returns where the inode of the root is."""
    children: dict[bytes, list[Item]] = {_ROOT.path: []}
    for item in items:
        if stat.S_ISDIR(item.mode):
            children[item.path] = []
    for item in sorted(items, key=lambda one: one.path.rpartition(b"/")[2]):
        children[item.path.rpartition(b"/")[0]].append(item)
    folders = {item.path: item for item in (_ROOT, *items) if stat.S_ISDIR(item.mode)}
    # A folder comes behind all that it holds, whose places its list of names needs.
    order = sorted(children, reverse=True)
    numbers: dict[bytes, int] = {}
    for path in order:
        for item in (*(one for one in children[path] if one.path not in folders), folders[path]):
            numbers[item.path] = len(numbers) + 1
    places: dict[bytes, tuple[int, int]] = {}
    for path in order:
        for item in children[path]:
            if item.path not in folders:
                body = _link(item) if stat.S_ISLNK(item.mode) else _file(item, placed)
                places[item.path] = inodes.add(_inode(body, item, numbers))
        names = _names(children[path], places, numbers)
        where = directories.add(names)
        parent = numbers[path.rpartition(b"/")[0]] if path else len(numbers) + 1
        links = 2 + sum(one.path in folders for one in children[path])
        folder = _folder(len(names) + 3, where, parent, links)
        places[path] = inodes.add(_inode(folder, folders[path], numbers))
    return places[_ROOT.path]


def _inode(kind_and_body: tuple[int, bytes], item: Item, numbers: Mapping[bytes, int]) -> bytes:
    kind, body = kind_and_body
    return struct.pack("<4H2I", kind, stat.S_IMODE(item.mode), 0, 0, item.time, numbers[item.path]) + body


def _file(item: Item, placed: Mapping[bytes, _Placed]) -> tuple[int, bytes]:
    where = placed[item.path] if item.size else _Placed()
    sizes = struct.pack(f"<{len(where.sizes)}I", *where.sizes)
    if max(item.size, where.start) < 1 << 32:
        return _FILE, struct.pack("<4I", where.start, where.fragment, where.offset, item.size) + sizes
    head = struct.pack("<3Q4I", where.start, item.size, 0, 1, where.fragment, where.offset, _ABSENT)
    return _LONG_FILE, head + sizes


def _link(item: Item) -> tuple[int, bytes]:
    return _LINK, struct.pack("<2I", 1, len(item.target)) + item.target


def _folder(size: int, where: tuple[int, int], parent: int, links: int) -> tuple[int, bytes]:
    start, offset = where
    if size < 1 << 16:
        return _DIRECTORY, struct.pack("<2I2HI", start, links, size, offset, parent)
    return _LONG_DIRECTORY, struct.pack("<4I2HI", links, size, start, parent, 0, offset, _ABSENT)


def _names(
    children: Sequence[Item], places: Mapping[bytes, tuple[int, int]], numbers: Mapping[bytes, int]
) -> bytes:
    """In runs whose inodes lie in one block, and have numbers that are near."""
    kinds = {stat.S_IFDIR: _DIRECTORY, stat.S_IFREG: _FILE, stat.S_IFLNK: _LINK}
    listed, run = bytearray(), list[bytes]()
    block = base = 0
    for item in children:
        start, offset = places[item.path]
        number, name = numbers[item.path], item.path.rpartition(b"/")[2]
        if run and (start != block or len(run) == 256 or not -32768 <= number - base < 32768):
            listed += struct.pack("<3I", len(run) - 1, block, base) + b"".join(run)
            run.clear()
        if not run:
            block, base = start, number
        kind = kinds[stat.S_IFMT(item.mode)]
        run.append(struct.pack("<HhHH", offset, number - base, kind, len(name) - 1) + name)
    if run:
        listed += struct.pack("<3I", len(run) - 1, block, base) + b"".join(run)
    return bytes(listed)
