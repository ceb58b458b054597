"""A reader of tar archives that are not trusted: ustar, PAX and GNU, as layers of images use them.

The formats are in pax(1) of POSIX and the manual of GNU tar. Where readers differ it takes what Go's does,
which all engines use, or refuses: an archive that two readers understand differently is a trick. Python's own
`tarfile` reads and unpacks several times slower, and guesses where this refuses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from py_portable.images.layers import fields, sparse
from py_portable.images.layers.bounds import Limits, Refused

Kind = Literal["file", "folder", "symlink", "link", "fifo", "device"]

BLOCK = 512
_ZEROS = bytes(BLOCK)
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 80x 155s 12x")
_KINDS: dict[bytes, Kind] = {
    b"\0": "file",
    b"0": "file",
    b"7": "file",
    b"S": "file",
    b"1": "link",
    b"2": "symlink",
    b"3": "device",
    b"4": "device",
    b"5": "folder",
    b"6": "fifo",
}
_XATTR = b"SCHILY.xattr."


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `size` is what the file will have, `holes` its runs of data where it is sparse."""

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    target: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    holes: sparse.Map | None = None


class _Header(NamedTuple):
    name: bytes
    mode: bytes
    uid: bytes
    gid: bytes
    size: bytes
    mtime: bytes
    checksum: bytes
    kind: bytes
    target: bytes
    magic: bytes
    prefix: bytes

    @property
    def full_name(self) -> bytes:
        # GNU's own format has other things where ustar has a prefix.
        front = fields.text(self.prefix) if self.magic == b"ustar\x0000" else b""
        return front + b"/" + fields.text(self.name) if front else fields.text(self.name)


@dataclass(slots=True)
class _Extended:
    """What stands before a header and belongs to it."""

    ordered: list[tuple[bytes, bytes]]
    name: bytes | None = None
    target: bytes | None = None

    @property
    def empty(self) -> bool:
        return not self.ordered and self.name is None and self.target is None


class Reader:
    """Reads an archive that comes in pieces of any size. Everything raises Refused."""

    def __init__(self, pieces: Iterator[bytes], limits: Limits) -> None:
        self._pieces = pieces
        self._limits = limits
        self._piece = memoryview(b"")
        self._left = 0
        self._padding = 0
        self.headers = 0

    def entries(self) -> Iterator[Member]:
        """Each member in turn; the data of one is gone when the next is asked for."""
        before = _Extended([])
        while (block := self._block()) is not None:
            if block == _ZEROS:
                if (self._block() or _ZEROS) != _ZEROS:
                    raise Refused("the archive has an empty header in its middle")
                break
            self.headers += 1
            entry = self._member(block, before)
            if entry is not None:
                yield entry
                for _ in self.data():
                    pass
                self._take(self._padding)
                before = _Extended([])
        if not before.empty:
            raise Refused("the archive ends after an extended header")

    def data(self) -> Iterator[memoryview]:
        """What is stored of the current file, in pieces."""
        while self._left:
            while not self._piece:
                self._next("its data")
            piece = self._piece[: self._left]
            self._piece = self._piece[len(piece) :]
            self._left -= len(piece)
            yield piece

    def _member(self, block: bytes, before: _Extended) -> Member | None:
        header = _Header(*_HEADER.unpack(block))
        told, total = fields.number(header.checksum), fields.checksum(block)
        # Some old programs summed up bytes above 127 as negative numbers.
        if told != total and told != total - 256 * sum(byte > 127 for byte in block[:148] + block[156:]):
            raise Refused("the archive is damaged: a header's checksum is wrong")
        stored = fields.number(header.size)
        if header.kind in b"xgLK":
            self._extended(header.kind, self._meta(stored), before)
            return None
        # The last of a key counts; an empty one gives the header's own value back.
        records = {key: value for key, value in dict(before.ordered).items() if value}
        name = records.get(b"path", header.full_name if before.name is None else before.name)
        target = records.get(
            b"linkpath", fields.text(header.target) if before.target is None else before.target
        )
        try:
            if (before.name is not None and b"path" in records) or (
                before.target is not None and b"linkpath" in records
            ):
                raise Refused("it has two long names")
            return self._entry(block, header, name, target, stored, before.ordered, records)
        except Refused as problem:
            problem.path = problem.path or name
            raise

    def _entry(
        self,
        block: bytes,
        header: _Header,
        name: bytes,
        target: bytes,
        stored: int,
        ordered: list[tuple[bytes, bytes]],
        records: dict[bytes, bytes],
    ) -> Member:
        kind = _KINDS.get(header.kind)
        if kind is None:
            raise Refused(f"its type {header.kind!r} is not known")
        if header.kind == b"\0" and name.endswith(b"/"):
            kind = "folder"
        if b"size" in records:
            stored = sparse.decimal(records[b"size"], "size")
        # Only files have data, whatever the size of others says (a hard link's is that of the file).
        self._left = stored if kind == "file" else 0
        if self._left < 0:
            raise Refused("its size is negative")
        self._padding = -self._left % BLOCK
        size, holes = self._left, None
        if header.kind == b"S" or sparse.is_pax(records):
            if kind != "file":
                raise Refused("it is sparse, but not a file")
            name = records.get(b"GNU.sparse.name", name)
            size, holes = self._sparse(block, ordered, records)
        if b"\0" in name or b"\0" in target:
            raise Refused("its name holds a zero byte")
        return Member(
            name,
            kind,
            fields.number(header.mode) & 0o7777,
            fields.owner(records.get(b"uid"), header.uid),
            fields.owner(records.get(b"gid"), header.gid),
            size,
            fields.time(records[b"mtime"])
            if b"mtime" in records
            else fields.bounded(fields.number(header.mtime)) * 10**9,
            target,
            tuple((k[len(_XATTR) :], v) for k, v in records.items() if k.startswith(_XATTR)),
            holes,
        )

    def _sparse(
        self, block: bytes, ordered: list[tuple[bytes, bytes]], records: dict[bytes, bytes]
    ) -> tuple[int, sparse.Map]:
        limit = self._limits.header_bytes
        if block[156:157] == b"S":
            found, size = sparse.old(block, fields.number, lambda: self._take(BLOCK), limit)
        else:
            found, size, read = sparse.pax(ordered, records, self._take, limit)
            self._left -= read
            if self._left < 0:
                raise Refused("its map of holes is longer than its data")
        return size, sparse.checked(found, self._left, size)

    def _extended(self, kind: bytes, data: bytes, before: _Extended) -> None:
        if kind == b"L":
            before.name = fields.text(data)
        elif kind == b"K":
            before.target = fields.text(data)
        elif kind == b"x":
            before.ordered = fields.pax_records(data)
        else:
            # Go's reader applies none of a global header, others all of it: only what changes nothing may pass.
            for key, _ in fields.pax_records(data):
                if key in (b"path", b"linkpath", b"size", b"uid", b"gid") or key.startswith(
                    (_XATTR, b"GNU.sparse.")
                ):
                    raise Refused(f"a global header sets {key.decode('ascii', 'replace')}")

    def _meta(self, size: int) -> bytes:
        if not 0 <= size <= self._limits.header_bytes:
            raise Refused(f"an extended header has {size} bytes; the limit is {self._limits.header_bytes}")
        data = self._take(size)
        self._take(-size % BLOCK)
        return data

    def _block(self) -> bytes | None:
        """The next 512 bytes; None at the end of the archive."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return None
            self._piece = memoryview(piece)
        return self._take(BLOCK)

    def _take(self, size: int) -> bytes:
        if len(self._piece) >= size:
            data = bytes(self._piece[:size])
            self._piece = self._piece[size:]
            return data
        parts = []
        while size:
            if not self._piece:
                self._next("a header")
            parts.append(bytes(self._piece[:size]))
            self._piece = self._piece[len(parts[-1]) :]
            size -= len(parts[-1])
        return b"".join(parts)

    def _next(self, where: str) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise Refused(f"the archive ends in the middle of {where}")
        self._piece = memoryview(piece)
