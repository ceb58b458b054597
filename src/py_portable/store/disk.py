"""Getting data onto the disk, and the two system calls that Python has no name for."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

_FEW = 64
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_OTHER_KIND = (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def sync_path(path: Path) -> None:
    """fsync one file or folder. A file system that cannot sync a folder is taken to need no sync."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as problem:
        if problem.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def sync_tree(folder: Path, names: Iterable[str], count: int) -> None:
    """Put a whole tree on the disk: name by name if `count` is small, otherwise by a sync of the whole file system.

    `names` are the regular files and folders, relative to `folder`.
    """
    if count <= _FEW:
        # What can't be opened can't be synced by name.
        with contextlib.suppress(PermissionError):
            for name in names:
                sync_path(folder / name)
            return
    sync_file_system(folder)


def sync_file_system(folder: Path) -> None:
    """syncfs(2) on the file system that holds `folder`. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc().syncfs(handle) != 0:
            raise _last_error(folder)
    finally:
        os.close(handle)


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and put its contents on the disk. Its name is not there yet: the caller syncs the folder."""
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder if it is missing, and put its name on the disk."""
    try:
        path.mkdir(mode)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    sync_path(path.parent)


def put_in_place(new: Path, old: Path) -> None:
    """Give `new` the name `old`, atomically. If something other than a file was there, it is at `new` afterwards.

    Both are in one folder. Where the file system cannot exchange two names, the name is missing for a moment.
    """
    try:
        new.replace(old)
        return
    except OSError as problem:
        if problem.errno not in _OTHER_KIND:
            raise
    if not _exchange(new, old):
        aside = new.with_name(f"{new.name}.old")
        old.rename(aside)
        new.rename(old)
        aside.rename(new)


def keep_from_everybody() -> None:
    """Make sure that other users cannot write to the files of this process, even in a CI job whose umask is 0."""
    os.umask(os.umask(0o077) | stat.S_IWOTH)


def _exchange(one: Path, two: Path) -> bool:
    call = getattr(_libc(), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(two), _RENAME_EXCHANGE) == 0:
        return True
    problem = _last_error(two)
    if problem.errno in _UNSUPPORTED:
        return False
    raise problem


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _last_error(path: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(path))
