"""Cpio archives of others, as in RPM packages ("newc", see cpio(5)), read with every size bounded."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from py_portable.base.tarball import Bounds, RefusedError

_MAGIC, _WITH_SUMS, _STRIPPED = b"070701", b"070702", b"07070X"
_HEADER = 110
_END = b"TRAILER!!!"
_PIECE = 1 << 20


@dataclass(frozen=True)
class CpioFile:
    """`head`: its first bytes; the rest can be read, before the next entry, with `rest`."""

    name: str
    mode: int
    size: int
    head: bytes
    _left: list[int]
    _stream: IO[bytes]

    def rest(self) -> bytes:
        """What comes behind `head`; only once."""
        left, self._left[0] = self._left[0], 0
        return _exactly(self._stream, left)


def entries(stream: IO[bytes], bounds: Bounds, *, head: int, most: int) -> Iterator[CpioFile]:
    """Its regular files of at most `most` bytes, each with the first `head` of them. Raises RefusedError, and what
    reading the stream raises."""
    for _ in range(bounds.members):
        fields = _exactly(stream, _HEADER)
        if fields[:6] == _STRIPPED:
            raise RefusedError("it has a file of more than 4 GiB, which is not read here")
        if fields[:6] not in (_MAGIC, _WITH_SUMS):
            raise RefusedError("it is damaged: the header of a file is missing")
        try:
            mode, size, length = (int(fields[6 + 8 * at : 14 + 8 * at], 16) for at in (1, 6, 11))
        except ValueError:
            raise RefusedError("it is damaged: the header of a file is no number") from None
        if not 0 < length <= bounds.name_chars + 1:
            raise RefusedError(f"the name of a file has {length} bytes; the limit is {bounds.name_chars}")
        name = _exactly(stream, length + -(_HEADER + length) % 4)[: length - 1]
        if name == _END:
            return
        left = [size]
        if stat.S_ISREG(mode) and size <= most:
            first = _exactly(stream, min(head, size))
            left[0] -= len(first)
            yield CpioFile(name.decode("utf-8", "surrogateescape"), mode, size, first, left, stream)
        _skip(stream, left[0] + -size % 4)
    raise RefusedError(f"it has more than {bounds.members} files")


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := stream.read(size - len(data))):
        data += piece
    if len(data) != size:
        raise RefusedError("it ends in the middle of a file")
    return data


def _skip(stream: IO[bytes], size: int) -> None:
    while size:
        size -= len(_exactly(stream, min(size, _PIECE)))
