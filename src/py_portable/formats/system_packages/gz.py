"""gzip as `gzip -9n` writes it: without a name or a time, and the same bytes with every Python. Pure."""

from __future__ import annotations

import zlib

WINDOW = 31
"""zlib's number for a gzip header and the largest window."""


def packed(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, WINDOW)
    return packer.compress(data) + packer.flush()
