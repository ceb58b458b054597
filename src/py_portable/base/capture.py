"""What is kept of a command's output: bounded, however much there is; and which lines were in all of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Self


class Lines:
    """Looks for lines in a stream: whole ones, in this order, others may stand around them.

    A line ends with a line feed, and with a carriage return before it; with nothing else, whatever a terminal or
    Unicode makes of other characters. What the stream ends with is a line, too.
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = [line.encode("utf-8", "surrogateescape") for line in wanted]
        self._texts = tuple(wanted)
        self._found = 0
        self._most = max(map(len, self._wanted), default=0) + len(b"\r\n")
        self._part = b""

    def feed(self, chunk: bytes) -> None:
        if self._found == len(self._wanted):
            return
        first, *rest = chunk.split(b"\n")
        # Of a line that is longer than all that are wanted no more is kept than shows that it is.
        self._part = (self._part + first[: self._most])[: self._most]
        for line in rest:
            self._line(self._part)
            self._part = line[: self._most]

    def _line(self, line: bytes) -> None:
        if self._found < len(self._wanted) and line.removesuffix(b"\r") == self._wanted[self._found]:
            self._found += 1

    def lost(self) -> str | None:
        """At the stream's end: the first line that was not there."""
        if self._part:
            self._line(self._part)
            self._part = b""
        return self._texts[self._found] if self._found < len(self._wanted) else None


@dataclass(frozen=True)
class Captured:
    """The first and last bytes of a stream, and how many there were. `lost`: the first of the lines that `Lines` looked
    for and that was in none of it, kept or not."""

    head: bytes
    tail: bytes
    total: int
    lost: str | None = None

    @property
    def cut(self) -> bool:
        """Whether some of it is not here."""
        return self.total > len(self.head) + len(self.tail)

    @property
    def data(self) -> bytes:
        """All of it where it fits, else head, a mark and tail."""
        if self.total <= len(self.head):
            return self.head
        missing = self.total - len(self.head) - len(self.tail)
        if missing <= 0:
            return self.head + self.tail[len(self.head) + len(self.tail) - self.total :]
        return self.head + f"\n[... {missing} bytes left out ...]\n".encode() + self.tail

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")


class Window:
    """Takes a stream in chunks and keeps its first and last bytes, half of `limit` each."""

    def __init__(self, limit: int, wanted: Sequence[str] = ()) -> None:
        self.lines = Lines(wanted)
        self.half = max(limit // 2, 1)
        self.head = bytearray()
        self.tail = bytearray()
        self.total = 0

    def feed(self, chunk: bytes) -> None:
        self.total += len(chunk)
        self.lines.feed(chunk)
        room = self.half - len(self.head)
        if room > 0:
            self.head += chunk[:room]
            chunk = chunk[room:]
        self.tail += chunk
        if len(self.tail) > 4 * self.half:
            del self.tail[: -self.half]

    def done(self) -> Captured:
        return Captured(bytes(self.head), bytes(self.tail[-self.half :]), self.total, self.lines.lost())


LOG_HEAD_BYTES = 16 << 20
LOG_TAIL_BYTES = 16 << 20
"""Of what one command writes into its log these are kept; the largest honest build, a CPython, writes 1 MB."""
_COPY = 1 << 20


class BoundedLog:
    """A log file that a command's output is appended to: its first and last bytes, and a mark where others were.

    All of it is on the disk at any time, in at most head + twice tail, so that a reader sees the newest lines.
    """

    def __init__(self, path: Path, head: int = LOG_HEAD_BYTES, tail: int = LOG_TAIL_BYTES) -> None:
        """What the file holds already stays. Raises OSError where it cannot be written."""
        self._path = path
        self._stream = path.open("ab", buffering=0)
        self._size = self._stream.seek(0, os.SEEK_END)
        self._from = self._size + head
        self._tail = tail
        self._left_out = 0
        self._mark = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._stream.write(rest) :]
        self._size += len(chunk)
        if self._size > self._from + 2 * self._tail:
            self._shorten()

    def _shorten(self) -> None:
        """Move the tail forward, over what came before it."""
        with self._path.open("r+b", buffering=0) as stream:
            end = stream.seek(0, os.SEEK_END)
            keep = end - self._tail
            self._left_out += keep - self._from - self._mark
            mark = f"\n[... {self._left_out} bytes left out ...]\n".encode()
            self._mark = len(mark)
            at = self._from + _put(stream, self._from, mark)
            while piece := _read(stream, keep, end):
                keep += len(piece)
                at += _put(stream, at, piece)
            stream.truncate(at)
        self._size = at


def _read(stream: FileIO, at: int, end: int) -> bytes:
    stream.seek(at)
    return stream.read(min(_COPY, end - at)) or b""


def _put(stream: FileIO, at: int, data: bytes) -> int:
    stream.seek(at)
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]
    return len(data)
