"""The blobs of layers: what a media type says, the digest, and what comes out when it is decompressed."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from py_portable.images.layers.bounds import Limits, Refused

_MEDIA_TYPE = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+gzip|\+zstd)?"
    r"|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.gzip|\.zstd)?)"
)
PLAIN_TAR = "application/vnd.oci.image.layer.v1.tar"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_RAW = 1 << 16
"""Small: behind each member of a gzip stream the rest of what was read is copied."""
_PIECE = 1 << 18
_AHEAD = 4
_RAW_ZSTD = 1 << 11
"""Smaller still: what it unpacks to comes at once, 64 MiB at the most (4 bytes can be a block of 128 KiB)."""
_WINDOW_BYTES = 128 << 20
"""To which zstd itself keeps unless it is told otherwise."""


def is_layer(media_type: str) -> bool:
    """Whether the media type (without parameters) is one of a layer that can be unpacked.

    See media-types.md of the OCI image-spec and Docker's image manifest v2, schema 2.
    """
    return _MEDIA_TYPE.fullmatch(media_type) is not None


def verify(stream: BinaryIO, digest: str) -> None:
    """Read the blob to its end and go back to its start. Raises Refused where it is not what `digest` says."""
    if not _DIGEST.fullmatch(digest):
        raise Refused("its digest is neither sha256 nor sha512")
    hashed = hashlib.new(digest.partition(":")[0])
    while piece := stream.read(1 << 20):
        hashed.update(piece)
    found = hashed.hexdigest()
    if found != digest.partition(":")[2]:
        raise Refused(f"its blob is damaged or truncated: {stream.tell()} bytes with the digest {found}")
    stream.seek(0)


class Pieces:
    """The tar archive in a blob of `size` bytes, decompressed by a thread of its own.

    As engines do, it goes by the first bytes: media types that say otherwise exist. `spent` is how many bytes
    came out of earlier layers, `out` how many of this one. Raises Refused.
    """

    def __init__(self, stream: BinaryIO, size: int, spent: int, limits: Limits) -> None:
        self._ahead = _ahead(_decompressed(stream))
        self._size = size
        self._spent = spent
        self._limits = limits
        self.out = 0

    def __iter__(self) -> Iterator[bytes]:
        limits = self._limits
        for piece in self._ahead:
            self.out += len(piece)
            if self.out > max(limits.ratio_floor, limits.ratio * self._size):
                raise Refused(f"it unpacks to more than {limits.ratio} times its size: a zip bomb")
            if self._spent + self.out > limits.total_bytes:
                raise Refused(
                    f"the layers unpack to more than {limits.total_bytes} bytes, which is the limit"
                )
            yield piece

    def close(self) -> None:
        """End the thread."""
        self._ahead.close()


def _decompressed(stream: BinaryIO) -> Iterator[bytes]:
    magic = stream.read(4)
    stream.seek(0)
    if magic[:2] == b"\x1f\x8b":
        yield from _gunzip(stream)
    elif magic == b"\x28\xb5\x2f\xfd" or (magic[1:] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5):
        yield from _unzstd(stream)
    else:
        yield from iter(lambda: stream.read(_PIECE), b"")


def _gunzip(stream: BinaryIO) -> Iterator[bytes]:
    raw = stream.read(_RAW)
    while raw:
        member = zlib.decompressobj(31)
        while not member.eof:
            if not raw and not (raw := stream.read(_RAW)):
                raise Refused("its gzip data ends early")
            try:
                out = member.decompress(raw, _PIECE)
            except zlib.error:
                raise Refused("its gzip data is damaged")
            raw = member.unconsumed_tail
            if out:
                yield out
        raw = member.unused_data or stream.read(_RAW)


def _unzstd(stream: BinaryIO) -> Iterator[bytes]:
    # Most images need none: a bootstrapped one is made without it.
    import zstandard

    way = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    raw = stream.read(_RAW_ZSTD)
    while raw:
        frame = way.decompressobj()
        while not frame.eof:
            if not raw and not (raw := stream.read(_RAW_ZSTD)):
                raise Refused("its zstd data ends early")
            try:
                out = frame.decompress(raw)
            except zstandard.ZstdError:
                raise Refused("its zstd data is damaged, or asks for more than 128 MB of memory")
            raw = b""
            if out:
                yield out
        raw = frame.unused_data or stream.read(_RAW_ZSTD)


def _ahead(source: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The same pieces, the next few of them made while the last is used."""
    pool = ThreadPoolExecutor(1)
    try:
        coming = deque(pool.submit(next, source, None) for _ in range(_AHEAD))
        while (piece := coming.popleft().result()) is not None:
            coming.append(pool.submit(next, source, None))
            yield piece
    finally:
        pool.shutdown(cancel_futures=True)
