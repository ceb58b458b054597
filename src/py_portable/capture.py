"""What is kept of a command's output: bounded, however much there is; and which lines were in all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
