"""Tar archives of others, opened with every size bounded: how much comes out, how much for each byte that went in,
how many members, and how much a single header may ask for.

What an archive is compressed with, its first bytes say. What a header declares is not believed: bytes are counted as
they come out.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import zstandard

from py_portable.base.regular import open_regular

GZIP, XZ, ZSTD, BZIP2 = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"BZh"
WINDOW_BYTES = 128 << 20
"""Of the window that zstd may ask for: what `tar --zstd` unpacks without options."""
MEMORY_BYTES = 256 << 20
"""Of memory that xz may ask for; `xz -9` needs 65 MiB to unpack."""
HEADER_BYTES = 1 << 20
"""Of one long name or set of attributes: tarfile reads it whole into memory, however long it says it is."""
_PIECE = 1 << 20
_IN_MEMORY = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
# What damaged and hostile archives make the standard library raise.
_UNREADABLE = (
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OverflowError,
    ValueError,
    LookupError,
    RecursionError,
    zstandard.ZstdError,
)


@dataclass(frozen=True)
class Bounds:
    """Of one archive. A large real app has 39,000 files in 1 GB, a full python-build-standalone archive 12,000 in
    1 GB; what a build hands on may hold several of such apps, their interpreter and their wheels."""

    members: int = 500_000
    total_bytes: int = 16 << 30
    """Of all that comes out, headers and padding too."""
    file_bytes: int = 8 << 30
    """Of one file."""
    ratio: int = 200
    """Bytes that come out for each that went in; real trees are below 10."""
    ratio_floor: int = 256 << 20
    """Bytes that may come out whatever went in: small archives of repetitive text have high ratios."""
    name_chars: int = 4096
    """Of a name, and of what a link leads to: PATH_MAX of Linux."""


class RefusedError(tarfile.TarError):
    """Names the member and why it is not unpacked."""


class _Header(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _IN_MEMORY and not 0 <= found.size <= HEADER_BYTES:
            raise RefusedError(f"a header of {found.size} bytes; the limit is {HEADER_BYTES}")
        return found


@contextlib.contextmanager
def opened(archive: Path, bounds: Bounds) -> Iterator[tarfile.TarFile]:
    """The archive, to be read once from its start to its end.

    Raises RefusedError for whatever is no archive, damaged, or past the bounds; OSError where the file cannot be
    read or is not a regular one.
    """
    with open_regular(archive) as raw:
        head = raw.read(6)
        raw.seek(0)
        size = os.fstat(raw.fileno()).st_size
        with _readable(archive.name), contextlib.ExitStack() as stack:
            packed = _decompressed(raw, head)
            if packed is None:
                yield stack.enter_context(tarfile.open(fileobj=raw, mode="r:", tarinfo=_Header))
                return
            plain = stack.enter_context(packed)
            counted: Any = _Counted(
                plain, min(bounds.total_bytes, max(bounds.ratio_floor, bounds.ratio * size))
            )
            yield stack.enter_context(
                tarfile.open(fileobj=counted, mode="r|", bufsize=_PIECE, tarinfo=_Header)
            )


@contextlib.contextmanager
def unpacked(raw: IO[bytes], name: str, bounds: Bounds) -> Iterator[IO[bytes]]:
    """What is compressed from where `raw` stands to its end; no more of it comes out than the bounds allow.

    Raises RefusedError for what is damaged, past the bounds, or compressed in another way than the tars are.
    """
    start = raw.tell()
    size = os.fstat(raw.fileno()).st_size - start
    head = raw.read(6)
    raw.seek(start)
    with _readable(name), contextlib.ExitStack() as stack:
        packed = _decompressed(raw, head)
        if packed is None:
            raise RefusedError(f"{name} is compressed in a way that is not read here")
        plain = stack.enter_context(packed)
        counted: Any = _Counted(plain, min(bounds.total_bytes, max(bounds.ratio_floor, bounds.ratio * size)))
        yield counted


def checked(member: tarfile.TarInfo, bounds: Bounds) -> tarfile.TarInfo:
    """The member, where what its header says is sane. Raises RefusedError."""
    shown = repr(member.name[:200])
    if member.issparse():
        raise RefusedError(f"{shown} is a sparse file, which is not accepted here")
    if not 0 <= member.size <= bounds.file_bytes:
        raise RefusedError(f"{shown} has {member.size} bytes; the limit is {bounds.file_bytes}")
    if max(len(member.name), len(member.linkname)) > bounds.name_chars:
        raise RefusedError(f"{shown} has a longer name than the {bounds.name_chars} characters of a path")
    return member


def members(tar: tarfile.TarFile, bounds: Bounds) -> Iterator[tarfile.TarInfo]:
    """Each member, as long as all together are within the bounds. Raises what `opened` raises."""
    total = 0
    seen: Any = tar
    for count, member in enumerate(tar, 1):
        total += max(0, member.size)
        if count > bounds.members or total > bounds.total_bytes:
            raise RefusedError(
                f"{member.name[:200]!r} goes beyond the limit of {bounds.members} members or {bounds.total_bytes} bytes"
            )
        yield checked(member, bounds)
        # tarfile keeps every header that it has seen.
        seen.members = []


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except RefusedError:
        raise
    except _UNREADABLE as problem:
        raise RefusedError(f"{name} cannot be read as an archive: {problem}") from None
    except OSError as problem:
        # Decompressors tell of bad data by one without a number, the system never does.
        if problem.errno is not None:
            raise
        raise RefusedError(f"{name} cannot be read as an archive: {problem}") from None


def _decompressed(raw: IO[bytes], head: bytes) -> Any:
    """None where it is not compressed."""
    if head.startswith(GZIP):
        return gzip.GzipFile(fileobj=raw)
    if head.startswith(BZIP2):
        return bz2.BZ2File(raw)
    if head.startswith(XZ):
        return io.BufferedReader(_Xz(raw), _PIECE)
    if not head.startswith(ZSTD):
        return None
    unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
    return unpacker.stream_reader(raw, read_across_frames=True, closefd=False)


class _Xz(io.RawIOBase):
    """lzma.LZMAFile gives a file whatever memory its header asks for: 4 GiB."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._way = self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data:
            rest = self._raw.read(_PIECE) if self._way.needs_input or self._way.eof else b""
            if self._way.eof:
                rest = (self._way.unused_data + rest).lstrip(b"\0")
                if not rest:
                    return 0
                self._way = self._new()
            elif self._way.needs_input and not rest:
                raise EOFError("it ends in the middle of its compressed data")
            data = self._way.decompress(rest, len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Counted:
    """What comes out of a decompressor, up to a number of bytes."""

    def __init__(self, plain: IO[bytes], most: int) -> None:
        self._plain = plain
        self._most = most
        self._seen = 0

    def read(self, size: int) -> bytes:
        data = self._plain.read(size)
        self._seen += len(data)
        if self._seen > self._most:
            raise RefusedError(f"it unpacks to more than {self._most} bytes, which is too much for its size")
        return data
