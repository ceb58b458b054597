"""Unpacks an sdist with care, since anybody may have made it."""

from __future__ import annotations

import zipfile
from pathlib import Path

from py_portable.base import untar
from py_portable.base.tarball import RefusedError
from py_portable.base.zips import NO_ZIP, checked
from py_portable.errors import StepError
from py_portable.lock.index.texts import SDIST_BOUNDS


def unpack(sdist: Path, folder: Path) -> None:
    """Raises StepError for one that is too large or would leave the folder."""
    try:
        if sdist.name.endswith(".zip"):
            checked(sdist)
            with zipfile.ZipFile(sdist) as archive:
                archive.extractall(folder)
        else:
            untar.unpack(sdist, folder, bounds=SDIST_BOUNDS, modes="mine")
    except (RefusedError, OSError, *NO_ZIP) as problem:
        raise StepError(f"{sdist.name} cannot be unpacked: {problem}") from None


def unpack_as(sdist: Path, room: Path, folder: Path) -> None:
    """Unpack into the new folder `room`, and move the one folder that every sdist has to `folder`. Raises StepError."""
    unpack(sdist, room)
    inner = [path for path in room.iterdir() if path.is_dir() and not path.is_symlink()]
    if len(inner) != 1:
        raise StepError(f"{sdist.name} has {len(inner)} folders, but an sdist has one")
    inner[0].rename(folder)
