"""What the fields of a tar header and the records of an extended one say. Every one raises Refused for nonsense."""

from __future__ import annotations

import re

from py_portable.images.layers import sparse
from py_portable.images.layers.bounds import Refused

_TIME = re.compile(rb"(-?)(\d{1,15})(?:\.(\d*))?")
_LATEST = 1 << 34
"""Seconds; ext4 ends there, in the year 2514 or so."""
_LAST_ID = (1 << 32) - 2
"""The one above means 'leave it' to chown(2)."""


def number(field: bytes) -> int:
    """A number of a header: octal digits, or base 256 where the first bit is set. Raises Refused."""
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise Refused("the archive is damaged: a header holds something that is not a number")


def pax_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The `LENGTH KEY=VALUE` lines of an extended header, in order. Raises Refused."""
    found = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        digits = data[at : max(space, at)]
        end = at + int(digits) if digits.isdigit() else 0
        if not space + 1 < end <= len(data) or data[end - 1] != 0x0A:
            raise Refused("the archive is damaged: an extended header is not a list of records")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise Refused("the archive is damaged: an extended header is not a list of records")
        found.append((key, value))
        at = end
    return found


def checksum(block: bytes) -> int:
    """The checksum of a header; its own field counts as eight blanks."""
    return sum(block) - sum(block[148:156]) + 8 * 0x20


def text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def owner(record: bytes | None, field: bytes) -> int:
    found = number(field) if record is None else sparse.decimal(record, "owner")
    if not 0 <= found <= _LAST_ID:
        raise Refused(f"its owner {found} is not an id")
    return found


def time(text: bytes) -> int:
    match = _TIME.fullmatch(text)
    if not match:
        raise Refused("its time is not a number")
    if match[1] or bounded(int(match[2])) != int(match[2]):
        return 0
    return int(match[2]) * 10**9 + int((match[3] or b"")[:9].ljust(9, b"0"))


def bounded(seconds: int) -> int:
    """A time that every file system can keep; engines take the epoch for the others too."""
    return seconds if 0 <= seconds < _LATEST else 0
