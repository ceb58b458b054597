"""Reads the headers of a .rpm, and says what has to be written where so that it is the same package with a lower
release.

The format is described in rpm's own documentation, "RPM V4 Package format".
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from py_portable.base.regular import open_regular
from py_portable.base.tarball import Bounds
from py_portable.errors import ConfigError

NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003
MAGIC = b"\xed\xab\xee\xdb"
"""Of the whole file."""
UNREADABLE = (OSError, ValueError, KeyError, IndexError, struct.error)
"""What damaged headers make this module raise."""
_LEAD = 96
_HEADER_MAGIC = b"\x8e\xad\xe8\x01"
_INTRO, _ENTRY = struct.Struct(">4s4xII"), struct.Struct(">IIII")
_STRING = 6
_TEXTS = (6, 8, 9)
"""Of one text, of a list of texts, and of a text in several languages, whose first is the one without."""
_NUMBERS = {2: "B", 3: "H", 4: "I", 5: "Q"}
_DIGESTS: Mapping[int, str] = {269: "sha1", 273: "sha256"}
"""Tags of the signature header: digests of the other header, as texts."""
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Patch:
    """`text` takes the place of as many bytes at the position `at` of the file."""

    at: int
    text: str


@dataclass(frozen=True)
class RpmHeader:
    """`at`: its position in the file; `entries`: of each tag its type, the position of its value in `data`, and how
    many values there are."""

    at: int
    data: bytes
    entries: Mapping[int, tuple[int, int, int]]

    @property
    def end(self) -> int:
        return self.at + len(self.data)

    def text(self, tag: int) -> str:
        """The one text, or the first one. Raises KeyError, ValueError."""
        return self.texts(tag)[0]

    def texts(self, tag: int) -> list[str]:
        """Raises KeyError where there is no such tag, ValueError."""
        kind, start, count = self.entries[tag]
        if kind not in _TEXTS:
            raise ValueError(f"tag {tag} is no text")
        _bounded(tag, count)
        found = []
        for _ in range(count):
            end = self.data.index(b"\0", start)
            found.append(self.data[start:end].decode("utf-8", "surrogateescape"))
            start = end + 1
        return found

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Raises KeyError where there is no such tag, ValueError."""
        kind, start, count = self.entries[tag]
        if kind not in _NUMBERS:
            raise ValueError(f"tag {tag} is no number")
        _bounded(tag, count)
        size = struct.calcsize(_NUMBERS[kind])
        if start + size * count > len(self.data):
            raise ValueError("it is cut")
        return struct.unpack_from(f">{count}{_NUMBERS[kind]}", self.data, start)


def _bounded(tag: int, count: int) -> None:
    if count > Bounds().members:
        raise ValueError(f"tag {tag} has {count} values; the limit is {Bounds().members}")


def headers(stream: BinaryIO) -> tuple[RpmHeader, RpmHeader]:
    """The header with signatures and digests, and the one that describes the package; the files come behind it.

    Raises UNREADABLE.
    """
    signature = _header(stream, _LEAD)
    return signature, _header(stream, signature.end + -signature.end % 8)


def older(path: Path) -> tuple[Patch, ...]:
    """A release that begins with 0, and the digests that fit it; () if it begins so already.

    Raises ConfigError for what is no package.
    """
    try:
        with open_regular(path) as stream:
            signature, main = headers(stream)
        release = main.text(RELEASE)
        lower = f"0{release[1:]}"
        if not release or lower == release:
            return ()
        at = main.entries[RELEASE][1]
        data = main.data[:at] + lower.encode() + main.data[at + len(lower) :]
        digests = [
            Patch(signature.at + signature.entries[tag][1], hashlib.new(name, data).hexdigest())
            for tag, name in _DIGESTS.items()
            if tag in signature.entries and signature.entries[tag][0] == _STRING
        ]
        return (Patch(main.at + at, lower), *digests)
    except UNREADABLE as problem:
        raise ConfigError(f"it cannot be read as an RPM package: {problem}", where=str(path)) from problem


def _header(stream: BinaryIO, at: int) -> RpmHeader:
    stream.seek(at)
    intro = stream.read(_INTRO.size)
    magic, entries, size = _INTRO.unpack(intro)
    rest = entries * _ENTRY.size + size
    if magic != _HEADER_MAGIC or rest > _MOST_BYTES:
        raise ValueError("a header is missing")
    data = intro + stream.read(rest)
    if len(data) != _INTRO.size + rest:
        raise ValueError("it is cut")
    start = _INTRO.size + entries * _ENTRY.size
    index = _ENTRY.iter_unpack(data[_INTRO.size : start])
    return RpmHeader(at, data, {tag: (kind, start + offset, count) for tag, kind, offset, count in index})
