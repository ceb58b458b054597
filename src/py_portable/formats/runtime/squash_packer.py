"""A folder as an AppImage of type 2: a runtime, and behind it the folder as SquashFS (squashfs.h)."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from py_portable.errors import StepError
from py_portable.formats.runtime import packer, squashfs

BLOCK_BYTES = 1 << 20
"""Our runtime reads each block once, so the largest is best."""
MOUNTED_BLOCK_BYTES = 128 << 10
"""A runtime that mounts the image unpacks a whole block for each page that it reads."""
CHUNK_BYTES = 4 << 20
"""The least that one thread unpacks."""
TYPE_2 = b"AI\x02"
_TYPE_AT = 8
_NO_BITS = 8
"""The kind of a section that takes no room in the file."""
_DIGEST = struct.Struct(f"<I{packer.DIGEST_BYTES}s")
_ZSTD_TABLE = bytes.fromhex("0000000400000000 1000000400000000 2000000501000000")
"""Of zstd's decoder: how its default table for lengths of literals begins."""


def pack(folder: Path, out: Path, *, name: str, program: str, runtime: bytes) -> str:
    """Write the AppImage `out`, mode 0755, with our `runtime`, which starts `program` (a path in `folder`); returns its
    key as hex digits.

    `name` is what messages and the cache call it. Raises StepError where the folder holds what cannot be packed.
    """
    packer.check(folder, name, program)
    items = packer.listed(folder)
    with tempfile.TemporaryFile(dir=out.parent) as image:
        layout = squashfs.write(items, image, compressor="zstd", block_bytes=BLOCK_BYTES)
        sizes = tuple(_cut(layout.blocks))
        digests, described = _digests(image, sizes)
        head = packer.sealed(
            _carrying(runtime, digests),
            described,
            index_bytes=len(digests),
            chunk_bytes=sum(sizes),
            tree_bytes=sum(item.size for item in items),
            name=name,
            program=program,
            format=packer.APPIMAGE,
            digests_at=len(runtime),
        )
        _write(out, head, image)
    return packer.key_of(head)


def attach(folder: Path, out: Path, *, runtime: bytes) -> None:
    """The same with a runtime of others, which finds the image by the size of its own ELF file, and starts `AppRun`.

    Compressed by zstd where the runtime reads that, else by gzip. Raises StepError where it is no such runtime.
    """
    if runtime[_TYPE_AT : _TYPE_AT + len(TYPE_2)] != TYPE_2 or _elf_bytes(runtime) != len(runtime):
        raise StepError("the runtime is no ELF file of an AppImage of type 2")
    way = "zstd" if reads_zstd(runtime) else "gzip"
    with tempfile.TemporaryFile(dir=out.parent) as image:
        squashfs.write(packer.listed(folder), image, compressor=way, block_bytes=MOUNTED_BLOCK_BYTES)
        _write(out, runtime, image)


def reads_zstd(runtime: bytes) -> bool:
    return _ZSTD_TABLE in runtime


def _write(out: Path, head: bytes, image: BinaryIO) -> None:
    image.seek(0)
    with out.open("xb") as stream:
        stream.write(head)
        shutil.copyfileobj(image, stream, 1 << 20)
    out.chmod(0o755)


def _cut(blocks: Sequence[squashfs.Block]) -> Iterator[int]:
    """Of whole blocks: the packed bytes of each chunk."""
    packed = plain = 0
    for block in blocks:
        packed += block.packed
        plain += block.plain
        if plain >= CHUNK_BYTES:
            yield packed
            packed = plain = 0
    if packed:
        yield packed


def _digests(image: BinaryIO, sizes: Sequence[int]) -> tuple[bytes, bytes]:
    """The table with the digest of each chunk; and the superblock with the tables, for which the key stands."""
    image.seek(0)
    superblock = image.read(squashfs.SUPERBLOCK.size)
    table = b"".join(_DIGEST.pack(size, packer.digest(image.read(size))) for size in sizes)
    return table, superblock + image.read()


def _carrying(runtime: bytes, table: bytes) -> bytes:
    """The runtime as an AppImage has it, with the table in it.

    Its section headers go to its end, since readers take what is behind them for the image, which begins with a page.
    """
    (at,) = struct.unpack_from("<Q", runtime, 40)
    size, count = struct.unpack_from("<HH", runtime, 58)
    headers = runtime[at : at + size * count]
    body = bytearray(runtime + table)
    body += bytes(-(len(body) + len(headers)) % squashfs.PADDED_TO)
    struct.pack_into("<Q", body, 40, len(body))
    body[_TYPE_AT : _TYPE_AT + len(TYPE_2)] = TYPE_2
    return bytes(body + headers)


def _elf_bytes(runtime: bytes) -> int:
    """As AppImage's own tools count: up to the end of the section headers, or of the last section."""
    if runtime[:4] != b"\x7fELF" or runtime[4:6] != b"\2\1" or len(runtime) < 64:
        return -1
    (at,) = struct.unpack_from("<Q", runtime, 40)
    size, count = struct.unpack_from("<HH", runtime, 58)
    if size != 64 or at + size * count > len(runtime):
        return -1
    end = int(at + size * count)
    for number in range(count):
        kind, _, _, start, length = struct.unpack_from("<IQQQQ", runtime, at + size * number + 4)
        end = max(end, start + length if kind != _NO_BITS else 0)
    return end
