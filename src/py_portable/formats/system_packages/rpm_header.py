"""What has to be written where in a .rpm so that it is the same package with a lower release.

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
from py_portable.errors import ConfigError

_LEAD = 96
_MAGIC = b"\x8e\xad\xe8\x01"
_INTRO, _ENTRY = struct.Struct(">4s4xII"), struct.Struct(">IIII")
_RELEASE, _STRING = 1002, 6
_DIGESTS: Mapping[int, str] = {269: "sha1", 273: "sha256"}
"""Tags of the signature header: digests of the other header, as texts."""
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Patch:
    """`text` takes the place of as many bytes at the position `at` of the file."""

    at: int
    text: str


@dataclass(frozen=True)
class _Header:
    """`at`: its position in the file; `strings`: the position in it of each tag that is one text."""

    at: int
    data: bytes
    strings: Mapping[int, int]

    def text(self, tag: int) -> str:
        start = self.strings[tag]
        return self.data[start : self.data.index(b"\0", start)].decode("ascii")


def older(path: Path) -> tuple[Patch, ...]:
    """A release that begins with 0, and the digests that fit it; () if it begins so already.

    Raises ConfigError for what is no package.
    """
    try:
        with open_regular(path) as stream:
            signature = _header(stream, _LEAD)
            end = signature.at + len(signature.data)
            main = _header(stream, end + -end % 8)
        release = main.text(_RELEASE)
        lower = f"0{release[1:]}"
        if not release or lower == release:
            return ()
        at = main.strings[_RELEASE]
        data = main.data[:at] + lower.encode() + main.data[at + len(lower) :]
        digests = [
            Patch(signature.at + signature.strings[tag], hashlib.new(name, data).hexdigest())
            for tag, name in _DIGESTS.items()
            if tag in signature.strings
        ]
        return (Patch(main.at + at, lower), *digests)
    except (OSError, ValueError, KeyError, struct.error) as problem:
        raise ConfigError(f"it cannot be read as an RPM package: {problem}", where=str(path)) from problem


def _header(stream: BinaryIO, at: int) -> _Header:
    stream.seek(at)
    intro = stream.read(_INTRO.size)
    magic, entries, size = _INTRO.unpack(intro)
    rest = entries * _ENTRY.size + size
    if magic != _MAGIC or rest > _MOST_BYTES:
        raise ValueError("a header is missing")
    data = intro + stream.read(rest)
    if len(data) != _INTRO.size + rest:
        raise ValueError("it is cut")
    start = _INTRO.size + entries * _ENTRY.size
    index = _ENTRY.iter_unpack(data[_INTRO.size : start])
    return _Header(at, data, {tag: start + offset for tag, kind, offset, _ in index if kind == _STRING})
