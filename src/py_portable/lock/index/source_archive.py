"""A source folder as an archive like an sdist: the same bytes on every machine, so that a digest can pin it."""

from __future__ import annotations

import os
import struct
import tarfile
import zlib
from pathlib import Path
from typing import IO

_BLOCK = 65535
"""The most that one stored block of DEFLATE holds (RFC 1951, 3.2.4)."""


class _Stored:
    """A gzip stream without compression, because versions of zlib compress differently."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._held = b""
        self._crc = 0
        self._size = 0
        stream.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")

    def write(self, data: bytes) -> int:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._held += data
        while len(self._held) > _BLOCK:
            self._block(self._held[:_BLOCK], last=False)
            self._held = self._held[_BLOCK:]
        return len(data)

    def finish(self) -> None:
        self._block(self._held, last=True)
        self._stream.write(struct.pack("<LL", self._crc, self._size & 0xFFFFFFFF))

    def _block(self, data: bytes, *, last: bool) -> None:
        self._stream.write(struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF) + data)


def pack(folder: Path, top: str, into: Path) -> None:
    """Make the .tar.gz `into` of all that is in `folder`, below the one folder `top`. Links stay links."""
    with into.open("wb") as raw:
        stored = _Stored(raw)
        with tarfile.open(fileobj=stored, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for path in _below(folder):
                _add(tar, path, f"{top}/{path.relative_to(folder).as_posix()}")
        stored.finish()


def _below(folder: Path) -> list[Path]:
    """Files and links, sorted. Empty folders are left out, as version control does."""
    found = []
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        folders[:] = [name for name in folders if name not in links]
        found += [Path(place) / name for name in (*names, *links)]
    return sorted(path for path in found if path.is_symlink() or path.is_file())


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    member = tarfile.TarInfo(name)
    if path.is_symlink():
        member.type, member.linkname = tarfile.SYMTYPE, os.fspath(path.readlink())
        tar.addfile(member)
        return
    with path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        member.size = status.st_size
        member.mode = 0o755 if status.st_mode & 0o100 else 0o644
        tar.addfile(member, stream)
