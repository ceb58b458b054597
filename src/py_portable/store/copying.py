"""Makes a private copy of files to which others can write, and the manifest of exactly the bytes that were copied."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path

from py_portable.base.file_modes import SET_ID
from py_portable.store.manifest import ManifestRow, digest_of, encode, order, to_text

_READ = 1 << 20
_FICLONE = 0x40049409
"""ioctl_ficlone(2): a copy that shares its blocks with the original until one of them is written to."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def copy(source: Path, target: Path) -> list[ManifestRow]:
    """Copy a file or folder to the new name `target`. A link at `source` itself is followed, a link inside it is not.

    Returns the manifest of the copy with the modes of the original. The copy belongs to the caller and has no
    set-user-id and set-group-id bits, since the caller cannot give the rights of the original's owner. Raises OSError,
    also if there is something that is neither a file, a folder nor a link.
    """
    real = source.resolve(strict=True)
    if stat.S_ISDIR(real.stat().st_mode):
        target.mkdir(0o700)
        return order(_folder(real, target))
    parent = os.open(real.parent, _FOLDER)
    try:
        return [_file(parent, real.name, ".", target)]
    finally:
        os.close(parent)


def digest_of_copy(records: list[ManifestRow]) -> str:
    """`sha256:…` as in `walk.digest`: over the bytes of a file, or over the manifest of a folder."""
    only = records[0]
    return f"sha256:{only.value}" if only.kind == "file" else digest_of(encode(records))


def _folder(source: Path, target: Path) -> list[ManifestRow]:
    root = os.open(source, _FOLDER)
    try:
        mode = stat.S_IMODE(os.fstat(root).st_mode)
        records, folders = [ManifestRow(".", "folder", mode)], [(target, mode)]
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            handle = os.open(folder or ".", _FOLDER, dir_fd=root)
            try:
                with os.scandir(handle) as entries:
                    names = [entry.name for entry in entries]
                for name in names:
                    path = f"{folder}/{name}" if folder else name
                    place = target / path
                    state = os.stat(name, dir_fd=handle, follow_symlinks=False)
                    if stat.S_ISDIR(state.st_mode):
                        mode = stat.S_IMODE(state.st_mode)
                        place.mkdir(0o700)
                        folders.append((place, mode))
                        waiting.append(path)
                        records.append(ManifestRow(_text(path), "folder", mode))
                    elif stat.S_ISLNK(state.st_mode):
                        link = os.readlink(name, dir_fd=handle)
                        place.symlink_to(link)
                        records.append(ManifestRow(_text(path), "link", 0, 0, _text(link)))
                    else:
                        records.append(_file(handle, name, _text(path), place))
            finally:
                os.close(handle)
        # The last first: a folder that is closed to its owner takes no more files.
        for place, mode in reversed(folders):
            place.chmod(mode & ~SET_ID)
        return records
    finally:
        os.close(root)


def _text(name: str) -> str:
    return to_text(os.fsencode(name))


def _file(folder: int, name: str, path: str, target: Path) -> ManifestRow:
    source = os.open(name, _FILE, dir_fd=folder)
    try:
        state = os.fstat(source)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "is neither a file, a folder nor a link", name)
        mode = stat.S_IMODE(state.st_mode)
        with target.open("x+b", buffering=0) as copied:
            value, size = _contents(source, copied.fileno())
            os.fchmod(copied.fileno(), mode & ~SET_ID)
    finally:
        os.close(source)
    return ManifestRow(path, "file", mode, size, value)


def _contents(source: int, target: int) -> tuple[str, int]:
    """Copy the contents. Returns the sha256 (hex) and the size of what `target` holds now."""
    shared = False
    # Most file systems cannot share blocks, and none can share them with another file system.
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        shared = True
    told, size = hashlib.sha256(), 0
    while chunk := os.read(target if shared else source, _READ):
        told.update(chunk)
        size += len(chunk)
        rest = memoryview(chunk) if not shared else memoryview(b"")
        while rest:
            rest = rest[os.write(target, rest) :]
    return told.hexdigest(), size
