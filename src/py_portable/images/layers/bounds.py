"""How much a layer may be, and what is said of one that is more, or that plays a trick."""

from __future__ import annotations

from dataclasses import dataclass

_SHOWN = 200


@dataclass(frozen=True)
class Limits:
    """Bounds of what is unpacked. The defaults are some ten times what a manylinux image of 2 GB needs."""

    layers: int = 256
    """Engines stop at 128."""
    total_bytes: int = 32 << 30
    """Of all layers together: what is decompressed, and as much again for the files, holes counted."""
    file_bytes: int = 8 << 30
    """Of one file, holes counted."""
    ratio: int = 100
    """Decompressed bytes of a layer for each byte of its blob; gzip can do 1000, file systems are below 10."""
    ratio_floor: int = 512 << 20
    """Decompressed bytes of a layer below which its ratio is not looked at."""
    entries: int = 2_000_000
    """Headers in all layers together."""
    header_bytes: int = 1 << 20
    """Of one extended header, long name or map of a sparse file."""
    path_bytes: int = 4095
    """Of a name, as it stands in the layer and as it comes out in the root; the kernel takes no more."""
    depth: int = 128
    """Folders above one another."""


class Refused(Exception):
    """A layer is damaged, hostile or more than its limits; `path` is the entry's name where there is one."""

    def __init__(self, reason: str, path: bytes | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


def shown(name: bytes) -> str:
    """A name of an archive as one short line that a terminal can be given."""
    text = name.decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}[…]{text[-_SHOWN // 2 :]}"
