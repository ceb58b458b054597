"""Small texts out of sdists and wheels, which may be anybody's: bounded, and never a traceback."""

from __future__ import annotations

import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from py_portable.errors import ConfigError

MAX_TEXT_BYTES = 4 << 20
MAX_ARCHIVE_BYTES = 8 << 30
"""The most that is unpacked while a text is looked for."""

# RuntimeError: an encrypted member; NotImplementedError: an unknown compression; ValueError: a broken header.
_UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    struct.error,
)


def texts(archive: Path, pattern: str) -> dict[str, str]:
    """Name -> text, of the members whose whole name matches. Larger ones than MAX_TEXT_BYTES are passed over.

    Raises ConfigError where it cannot be read as a tar or zip archive.
    """
    wanted = re.compile(pattern)
    try:
        members = _of_zip if archive.name.endswith((".zip", ".whl")) else _of_tar
        return {name: _text(stream) for name, stream in members(archive, wanted)}
    except _UNREADABLE as problem:
        raise ConfigError(f"cannot be read as an archive: {problem}", where=archive.name) from None


def _text(stream: IO[bytes]) -> str:
    return stream.read(MAX_TEXT_BYTES).decode("utf-8", "replace")


def _of_zip(path: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if wanted.fullmatch(info.filename) and info.file_size <= MAX_TEXT_BYTES:
                with archive.open(info) as stream:
                    yield info.filename, stream


def _of_tar(path: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path) as tar:
        for member in tar:
            if tar.offset > MAX_ARCHIVE_BYTES:
                raise ValueError(f"it holds more than the {MAX_ARCHIVE_BYTES} bytes that are allowed")
            name = member.name.removeprefix("./")
            if member.isfile() and member.size <= MAX_TEXT_BYTES and wanted.fullmatch(name):
                stream = tar.extractfile(member)
                assert stream is not None
                yield name, stream
