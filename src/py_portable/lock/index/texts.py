"""Small texts from sdists and wheels. Anybody may have made these, so sizes are limited and all errors are caught."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from py_portable.base import tarball, zips
from py_portable.errors import ConfigError

MAX_TEXT_BYTES = 4 << 20
SDIST_BOUNDS = tarball.Bounds(members=200_000, total_bytes=4 << 30, file_bytes=4 << 30)


def texts(archive: Path, pattern: str) -> dict[str, str]:
    """Name -> text of the members whose whole name matches. Those larger than MAX_TEXT_BYTES are left out.

    Raises ConfigError where it cannot be read as a tar or zip archive.
    """
    wanted = re.compile(pattern)
    try:
        found = _of_zip if archive.name.endswith((".zip", ".whl")) else _of_tar
        return {name: _text(stream) for name, stream in found(archive, wanted)}
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=archive.name) from None
    except (tarball.RefusedError, *zips.NO_ZIP) as problem:
        raise ConfigError(f"cannot be read as an archive: {problem}", where=archive.name) from None


def metadata_of(wheel: Path) -> str:
    """The text of a wheel's METADATA. Raises ConfigError where the file is not a wheel with metadata."""
    found = texts(wheel, r"[^/]+\.dist-info/METADATA")
    if len(found) != 1:
        raise ConfigError(f"holds {len(found)} METADATA files, a wheel has one", where=wheel.name)
    return next(iter(found.values()))


def _text(stream: IO[bytes]) -> str:
    return stream.read(MAX_TEXT_BYTES).decode("utf-8", "replace")


def _of_zip(path: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(zips.checked(path)) as archive:
        for info in archive.infolist():
            if wanted.fullmatch(info.filename) and info.file_size <= MAX_TEXT_BYTES:
                with archive.open(info) as stream:
                    yield info.filename, stream


def _of_tar(path: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarball.opened(path, SDIST_BOUNDS) as tar:
        for member in tarball.members(tar, SDIST_BOUNDS):
            name = member.name.removeprefix("./")
            if member.isfile() and member.size <= MAX_TEXT_BYTES and wanted.fullmatch(name):
                stream = tar.extractfile(member)
                assert stream is not None
                yield name, stream
