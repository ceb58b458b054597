"""What is kept of a command's output: bounded, however much there is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Captured:
    """The first and last bytes of a stream, and how many there were."""

    head: bytes
    tail: bytes
    total: int

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

    def __init__(self, limit: int) -> None:
        self.half = max(limit // 2, 1)
        self.head = bytearray()
        self.tail = bytearray()
        self.total = 0

    def feed(self, chunk: bytes) -> None:
        self.total += len(chunk)
        room = self.half - len(self.head)
        if room > 0:
            self.head += chunk[:room]
            chunk = chunk[room:]
        self.tail += chunk
        if len(self.tail) > 4 * self.half:
            del self.tail[: -self.half]

    def done(self) -> Captured:
        return Captured(bytes(self.head), bytes(self.tail[-self.half :]), self.total)
