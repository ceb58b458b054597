"""Compresses as one .xz stream of several blocks, side by side: as `xz -T` does. See the .xz file format, 1.1."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Iterable, Iterator

from py_portable.formats.runtime.packer import side_by_side

BLOCK_BYTES = 16 << 20
PRESET = 2
"""Half the time of the usual 6, and still smaller than what zstd makes."""
_CHECK = lzma.CHECK_CRC32
_HEADER = 12
_FOOTER = struct.Struct("<II2s2s")


def compress(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of the stream. The same pieces always give the same bytes with one version of liblzma."""
    header = lzma.compress(b"", lzma.FORMAT_XZ, _CHECK)[:_HEADER]
    yield header
    records = []
    for block, record in side_by_side(_block, filter(None, pieces)):
        yield block
        records.append(record)
    index = b"\0" + _number(len(records)) + b"".join(records)
    index += bytes(-len(index) % 4)
    index += struct.pack("<I", zlib.crc32(index))
    yield index
    end = struct.pack("<I", len(index) // 4 - 1) + header[6:8]
    yield struct.pack("<I", zlib.crc32(end)) + end + b"YZ"


def _block(piece: bytes) -> tuple[bytes, bytes]:
    """The one block of a stream, and its record in the index."""
    stream = lzma.compress(piece, lzma.FORMAT_XZ, _CHECK, PRESET)
    size = (_FOOTER.unpack(stream[-_FOOTER.size :])[1] + 1) * 4
    index = stream[-_FOOTER.size - size : -_FOOTER.size]
    # An indicator, the number of records, which is 1; behind the record padding and a CRC32.
    first = _end_of_number(index, 2)
    return stream[_HEADER : -_FOOTER.size - size], index[2 : _end_of_number(index, first)]


def _end_of_number(data: bytes, start: int) -> int:
    while data[start] & 0x80:
        start += 1
    return start + 1


def _number(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])
