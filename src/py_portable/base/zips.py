"""Wheels and other zip files of others: looked at before anything unpacks them, so that none is a bomb.

Only the directory at their end is read. What it declares bounds what comes out: readers stop at a member's declared
size (zipfile, and with it pip and installer), and one that declares too little fails at its checksum.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from py_portable.base.regular import open_regular
from py_portable.base.tarball import RefusedError

NO_ZIP = (
    zipfile.BadZipFile,
    EOFError,
    ValueError,
    OverflowError,
    LookupError,
    RuntimeError,
    struct.error,
    MemoryError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
)
"""What damaged and hostile files make the standard library raise."""


@dataclass(frozen=True)
class ZipBounds:
    """Of one file. The largest wheels there are unpack to some 4 GB and have some 20,000 members."""

    members: int = 200_000
    total_bytes: int = 12 << 30
    file_bytes: int = 8 << 30
    ratio: int = 100
    """Declared bytes for each byte of the file; deflate can do 1032, real wheels are below 10."""
    ratio_floor: int = 256 << 20
    """Declared bytes that are always allowed: a small wheel may hold a table of zeros."""


def checked(path: Path, bounds: ZipBounds | None = None) -> Path:
    """The path, where it is a zip within the bounds. Raises RefusedError, OSError."""
    limits = bounds or ZipBounds()
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            found = archive.infolist()
            size = path.stat().st_size
    except NO_ZIP as problem:
        raise RefusedError(f"{path.name} cannot be read as a zip: {problem}") from None
    if len(found) > limits.members:
        raise RefusedError(f"{path.name} has {len(found)} members; the limit is {limits.members}")
    for member in found:
        if member.file_size > limits.file_bytes:
            raise RefusedError(
                f"{path.name}: {member.filename[:200]!r} has {member.file_size} bytes; "
                f"the limit is {limits.file_bytes}"
            )
    total = sum(member.file_size for member in found)
    most = min(limits.total_bytes, max(limits.ratio_floor, limits.ratio * size))
    if total > most:
        raise RefusedError(
            f"{path.name} has {size} bytes and unpacks to {total}; the limit for its size is {most}. It "
            "looks like a zip bomb"
        )
    return path
