"""Reads and removes trees by file descriptors: no link is followed, and a tree of any depth can be removed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from py_portable.base.regular import sha256_of
from py_portable.store.manifest import Kind, ManifestRow, digest_of, encode, order, to_bytes, to_text

_THREADS = 2
_READ = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OTHER: dict[int, Kind] = {
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class _File:
    paths: tuple[bytes, ...]
    mode: int
    size: int
    identity: tuple[int, int]


def manifest(folder: Path) -> list[ManifestRow]:
    """Every name under `folder` and the folder itself, sorted. Raises OSError.

    Only what is in the tree counts: neither owners nor times. Devices, sockets and fifos are recorded by type
    and mode and never opened. A tree that changes while it is read is an error.
    """
    root = os.open(folder, _FOLDER)
    try:
        records, files = _look(root)
        queue = deque(sorted(files, key=lambda file: file.size))
        with ThreadPoolExecutor(_THREADS) as pool:
            for future in [pool.submit(_hash_all, root, queue) for _ in range(_THREADS)]:
                records += future.result()
    finally:
        os.close(root)
    return order(records)


def digest(path: Path) -> str:
    """`sha256:…` of an artifact: over the bytes of a file, or over the sorted manifest of a folder, with modes."""
    real = path.resolve(strict=True)
    if real.is_dir():
        return digest_of(encode(manifest(real)))
    return f"sha256:{sha256_of(real)}"


def file_mode(path: Path) -> int | None:
    """The permission bits of a file, also behind a link, which `digest` leaves out; None for a folder."""
    state = path.stat()
    return None if stat.S_ISDIR(state.st_mode) else started_mode(state.st_mode)


def started_mode(mode: int) -> int:
    """The permission bits without the right of others to write. That right depends on the umask with which a file was
    checked out (it is 0 on GitLab), and makes no difference to a start."""
    return stat.S_IMODE(mode) & ~(stat.S_IWGRP | stat.S_IWOTH)


def _look(root: int) -> tuple[list[ManifestRow], list[_File]]:
    top = os.fstat(root)
    records = [ManifestRow(".", "folder", stat.S_IMODE(top.st_mode))]
    files: list[_File] = []
    linked: dict[tuple[int, int], _File] = {}
    waiting = [(b".", (top.st_dev, top.st_ino))]
    while waiting:
        folder, identity = waiting.pop()
        handle = _open_same(folder, _FOLDER, root, identity)
        try:
            with os.scandir(handle) as entries:
                for entry in entries:
                    state = entry.stat(follow_symlinks=False)
                    name = os.fsencode(entry.name)
                    path = name if folder == b"." else folder + b"/" + name
                    same = (state.st_dev, state.st_ino)
                    kind = stat.S_IFMT(state.st_mode)
                    mode = stat.S_IMODE(state.st_mode)
                    if kind == stat.S_IFREG:
                        file = _File((path,), mode, state.st_size, same)
                        if state.st_nlink == 1:
                            files.append(file)
                        else:
                            paths = linked[same].paths if same in linked else ()
                            linked[same] = _File((*paths, path), mode, file.size, same)
                    elif kind == stat.S_IFDIR:
                        records.append(ManifestRow(to_text(path), "folder", mode))
                        waiting.append((path, same))
                    elif kind == stat.S_IFLNK:
                        target = os.fsencode(os.readlink(entry.name, dir_fd=handle))
                        records.append(ManifestRow(to_text(path), "link", 0, 0, to_text(target)))
                    else:
                        records.append(ManifestRow(to_text(path), _OTHER[kind], mode))
        finally:
            os.close(handle)
    return records, files + list(linked.values())


def _hash_all(root: int, queue: deque[_File]) -> list[ManifestRow]:
    """Take files from the queue until it is empty; several threads share one queue."""
    records: list[ManifestRow] = []
    buffer = bytearray(_READ)
    while True:
        try:
            file = queue.popleft()
        except IndexError:
            return records
        handle = _open_same(file.paths[0], _FILE, root, file.identity)
        try:
            value, size = _hash(handle, file.size, buffer)
        except BaseException:
            queue.clear()
            raise
        finally:
            os.close(handle)
        if size != file.size:
            queue.clear()
            raise _changed(file.paths[0])
        records += [ManifestRow(to_text(path), "file", file.mode, size, value) for path in file.paths]


def _hash(handle: int, expected: int, buffer: bytearray) -> tuple[str, int]:
    view = memoryview(buffer)
    state = hashlib.sha256()
    size = 0
    while size < expected and (count := os.readv(handle, [buffer])):
        state.update(view[:count])
        size += count
    return state.hexdigest(), size


def _open_same(path: bytes, flags: int, root: int, identity: tuple[int, int]) -> int:
    # If something was replaced by a link after it was listed, the hash must not follow it out of the tree.
    handle = os.open(path, flags, dir_fd=root)
    state = os.fstat(handle)
    if (state.st_dev, state.st_ino) != identity:
        os.close(handle)
        raise _changed(path)
    return handle


def _changed(path: bytes) -> OSError:
    return OSError(errno.EBUSY, "the tree changed while it was read", path)


def mounts_under(path: Path) -> list[str]:
    """The mount points at or under `path` that this process sees."""
    real = to_text(os.fsencode(os.path.realpath(path))).rstrip("/")
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = to_text(line.split()[4].decode("unicode_escape").encode("latin-1"))
        if point == (real or "/") or point.startswith(f"{real}/"):
            found.append(point)
    return found


def remove(path: Path) -> None:
    """Remove a file, link or tree, folders without write permission too; no error if it is gone already.

    Raises OSError if a file system is mounted inside, because its files must not be deleted.
    """
    try:
        state = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(state.st_mode):
        path.unlink(missing_ok=True)
        return
    mounted = mounts_under(path)
    if mounted:
        raise OSError(errno.EBUSY, "a file system is still mounted here", mounted[0])
    parent = os.open(path.parent, _FOLDER & ~os.O_NOFOLLOW)
    try:
        _remove_folder(parent, to_bytes(path.name))
    finally:
        os.close(parent)


@dataclass(slots=True)
class _Level:
    name: bytes
    parent: tuple[int, int]
    folders: list[bytes]


def _remove_folder(parent: int, name: bytes) -> None:
    """Only one folder is open at a time; the way up is "..", checked against the way down."""
    here = os.dup(parent)
    levels: list[_Level] = []
    try:
        pending: bytes | None = name
        while True:
            if pending is not None:
                state = os.fstat(here)
                below = _enter(here, pending)
                if below is not None:
                    os.close(here)
                    here = below
                    levels.append(_Level(pending, (state.st_dev, state.st_ino), _clear(here)))
            if not levels:
                return
            level = levels[-1]
            pending = level.folders.pop() if level.folders else None
            if pending is None:
                above = _open_same(b"..", _FOLDER, here, level.parent)
                os.close(here)
                here = above
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(level.name, dir_fd=here)
                levels.pop()
                if not levels:
                    return
    finally:
        os.close(here)


def _enter(here: int, name: bytes) -> int | None:
    try:
        handle = os.open(name, _FOLDER, dir_fd=here)
    except FileNotFoundError:
        return None
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=here)
        handle = os.open(name, _FOLDER, dir_fd=here)
    if stat.S_IMODE(os.fstat(handle).st_mode) & 0o700 != 0o700:
        try:
            os.fchmod(handle, 0o700)
        except OSError:
            os.close(handle)
            raise
    return handle


def _clear(here: int) -> list[bytes]:
    """Remove everything but folders. Returns the names of the folders."""
    folders = []
    with os.scandir(here) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(os.fsencode(entry.name))
                continue
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.name, dir_fd=here)
    return folders
