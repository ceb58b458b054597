"""An sdist, unpacked with care: it may be anybody's."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from py_portable.errors import StepError
from py_portable.untar import extract

MAX_BYTES = 4 << 30


def unpack(sdist: Path, folder: Path) -> None:
    """Raises StepError for one that is too large or would leave the folder."""
    try:
        if sdist.name.endswith(".zip"):
            with zipfile.ZipFile(sdist) as archive:
                _bounded(sum(member.file_size for member in archive.infolist()), sdist)
                archive.extractall(folder)
        else:
            with tarfile.open(sdist) as tar:
                _bounded(sum(member.size for member in tar), sdist)
                extract(tar, folder, mine=True)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as problem:
        raise StepError(f"{sdist.name} cannot be unpacked: {problem}") from None


def _bounded(size: int, sdist: Path) -> None:
    if size > MAX_BYTES:
        raise StepError(f"{sdist.name} holds {size} bytes, more than the {MAX_BYTES} that are allowed")
