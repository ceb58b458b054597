"""Compresses the files in a .deb that holds them as they are. See deb(5)."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import zstandard

from py_portable.errors import StepError
from py_portable.formats.system_packages import xz

Compression = Literal["zstd", "xz", "none"]
ZSTD_LEVEL = 15
ZSTD_WINDOW_LOG = 26
"""64 MiB: dpkg takes up to 27."""
ZSTD = ".".join(map(str, zstandard.ZSTD_VERSION))
_MAGIC = b"!<arch>\n"
_HEADER, _SIZE_AT = 60, 48
_DATA = b"data.tar"
_SUFFIX = {"zstd": b".zst", "xz": b".xz"}
_PIECE = 1 << 20


@dataclass(frozen=True)
class _Member:
    header: bytes
    at: int
    size: int

    @property
    def name(self) -> bytes:
        return self.header[:16].rstrip(b" /")


def compress(plain: Path, out: Path, way: Compression) -> None:
    """Write `out`: the package `plain` with its data.tar compressed. The same bytes give the same bytes."""
    with plain.open("rb") as stream, out.open("xb+") as to:
        to.write(_MAGIC)
        for member in _members(stream):
            stream.seek(member.at)
            if member.name == _DATA and way != "none":
                _write(to, member, _DATA + _SUFFIX[way], _compressed(stream, member.size, way))
            else:
                _write(to, member, member.name, _pieces(stream, member.size, _PIECE))


def _members(stream: BinaryIO) -> list[_Member]:
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise StepError("what nfpm wrote is no Debian package")
    found = []
    while header := stream.read(_HEADER):
        size = int(header[_SIZE_AT : _SIZE_AT + 10])
        found.append(_Member(header, stream.tell(), size))
        stream.seek(size + size % 2, io.SEEK_CUR)
    if not any(member.name == _DATA for member in found):
        raise StepError(f"what nfpm wrote has no {_DATA.decode()}")
    return found


def _write(to: BinaryIO, member: _Member, name: bytes, pieces: Iterable[bytes]) -> None:
    start = to.tell()
    to.write(bytes(_HEADER))
    for piece in pieces:
        to.write(piece)
    size = to.tell() - start - _HEADER
    if size % 2:
        to.write(b"\n")
    end = to.tell()
    to.seek(start)
    to.write(name.ljust(16) + member.header[16:_SIZE_AT] + b"%-10d`\n" % size)
    to.seek(end)


def _compressed(stream: BinaryIO, size: int, way: Compression) -> Iterator[bytes]:
    if way == "xz":
        return xz.compress(_pieces(stream, size, xz.BLOCK_BYTES))
    settings = zstandard.ZstdCompressionParameters.from_level(
        # What comes out of several threads is the same for any number of them.
        ZSTD_LEVEL,
        window_log=ZSTD_WINDOW_LOG,
        threads=2,
        write_checksum=True,
    )
    packer = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    pieces = _pieces(stream, size, _PIECE)
    return itertools.chain(map(packer.compress, pieces), (packer.flush() for _ in range(1)))


def _pieces(stream: BinaryIO, size: int, most: int) -> Iterator[bytes]:
    for start in range(0, size, most):
        piece = stream.read(min(most, size - start))
        if len(piece) != min(most, size - start):
            raise StepError("what nfpm wrote is shorter than it says")
        yield piece
