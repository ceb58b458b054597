"""A fresh tree laid over one that may be there: every file arrives whole, by a rename, whoever else does the same.

What lies there already and is the same stays untouched, so that somebody who reads it is not disturbed.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import secrets
import shutil
import stat
from pathlib import Path

_THERE = (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR)
_TRIES = 100
"""Others who lay the same tree can be in the way for a moment; nobody is for ever."""


class BlockedError(OSError):
    """A symbolic link stands where a folder of the tree belongs: nothing is laid through it."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ELOOP, "a symbolic link is in the way", str(path))


def lay(fresh: Path, place: Path) -> None:
    """Make `place` hold what `fresh` holds, and consume `fresh`. A folder keeps what only it has; a file or link
    takes the place of whatever has its name. The folder of `place` must be there. Raises OSError, BlockedError.
    """
    for _ in range(_TRIES):
        try:
            if stat.S_ISDIR(fresh.lstat().st_mode):
                _lay_folder(fresh, place)
            elif not _same(fresh, place):
                _replace(fresh, place)
            return
        except (FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError):
            # Somebody else was there between the look and the act.
            if not os.path.lexists(fresh):
                raise
    raise OSError(errno.EBUSY, "another program keeps changing it", str(place))


def _lay_folder(fresh: Path, place: Path) -> None:
    if place.is_symlink():
        raise BlockedError(place)
    mode = stat.S_IMODE(fresh.stat().st_mode)
    # One that nobody may write to can neither be moved, since ".." in it changes, nor lose what it holds.
    fresh.chmod(mode | 0o700)
    if not place.is_dir():
        if os.path.lexists(place):
            _set_aside(place)
        try:
            fresh.rename(place)
            place.chmod(mode)
            return
        except OSError as problem:
            if problem.errno not in (*_THERE, errno.EXDEV):
                raise
        place.mkdir(exist_ok=True)
    if stat.S_IMODE(place.stat().st_mode) & 0o300 != 0o300:
        place.chmod(mode | 0o300)
    for below in sorted(fresh.iterdir()):
        lay(below, place / below.name)
    if stat.S_IMODE(place.stat().st_mode) != mode:
        place.chmod(mode)


def _same(fresh: Path, place: Path) -> bool:
    """Whether both are the same link, or files of one mode with the same bytes."""
    try:
        new, old = fresh.lstat(), place.lstat()
        if stat.S_ISLNK(new.st_mode):
            return stat.S_ISLNK(old.st_mode) and fresh.readlink() == place.readlink()
        alike = new.st_mode == old.st_mode and new.st_size == old.st_size
        return alike and stat.S_ISREG(old.st_mode) and filecmp.cmp(fresh, place, shallow=False)
    except OSError:
        return False


def _replace(fresh: Path, place: Path) -> None:
    try:
        fresh.replace(place)
    except OSError as problem:
        if problem.errno in (errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
            _set_aside(place)
            fresh.replace(place)
        elif problem.errno == errno.EXDEV:
            near = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
            shutil.copy2(fresh, near, follow_symlinks=False)
            near.replace(place)
        else:
            raise


def _set_aside(place: Path) -> None:
    aside = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    place.rename(aside)
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
