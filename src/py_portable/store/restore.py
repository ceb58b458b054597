"""Copies an output out of the store. Every byte is checked on the way, and one rename puts the copy in its place."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from py_portable.base import file_modes
from py_portable.store import walk
from py_portable.store.disk import put_in_place, sync_path, sync_tree
from py_portable.store.entry import DamageFound
from py_portable.store.faults import StoreError
from py_portable.store.manifest import ManifestRow, digest_of, encode, order, printable, to_os

_READ = 1 << 20
_PREFIX = ".py-portable-restore-"
_TEMPORARY = re.compile(re.escape(_PREFIX) + r"[0-9a-f]{16}(\.old)?")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def choose(records: Sequence[ManifestRow], relative: str) -> list[ManifestRow]:
    """The record of `relative` and all under it, paths made relative to it (it becomes "."). Pure.

    Raises StoreError if the step made no such file or folder, or if it holds something that can't be copied.
    """
    wanted = PurePosixPath(relative)
    if wanted.is_absolute() or ".." in wanted.parts or "\0" in relative:
        raise StoreError(f"{printable(relative)!r} is not a path inside a step's output")
    name = str(wanted)
    chosen = [record for record in records if record.path == name]
    if not chosen:
        raise StoreError(f"the step's output has no {printable(name)}")
    if chosen[0].kind not in ("file", "folder"):
        raise StoreError(f"{printable(name)} is a {chosen[0].kind}, not a file or folder")
    if name == ".":
        below = [record for record in records if record.path != "."]
    else:
        below = [_moved(record, name) for record in records if record.path.startswith(f"{name}/")]
    for record in below:
        if record.kind not in ("file", "folder", "link"):
            raise StoreError(f"{printable(record.path)} is a {record.kind}: that can't be copied out")
    for record in chosen[:1] + below:
        if record.kind != "link" and (why := file_modes.trouble(record.mode)):
            raise StoreError(f"{printable(record.path)} is {why}: that can't be copied out")
    return [ManifestRow(".", chosen[0].kind, chosen[0].mode, chosen[0].size, chosen[0].value), *below]


def _moved(record: ManifestRow, name: str) -> ManifestRow:
    return ManifestRow(record.path[len(name) + 1 :], record.kind, record.mode, record.size, record.value)


@dataclass(frozen=True)
class Part:
    """A file or folder of an object: where it lies in the store, and what was recorded of it. Never write to it."""

    path: Path
    records: tuple[ManifestRow, ...]

    @property
    def digest(self) -> str:
        """`sha256:…` as `walk.digest` gives it: of a file its bytes, of a folder its manifest with modes."""
        top = self.records[0]
        return f"sha256:{top.value}" if top.kind == "file" else digest_of(encode(self.records))

    @property
    def mode(self) -> int | None:
        """The permission bits of a file, which its digest does not hold; None for a folder."""
        top = self.records[0]
        return top.mode if top.kind == "file" else None

    def is_at(self, destination: Path) -> bool:
        """Whether it lies there as it was made: the same names, contents and modes, and no link in their place."""
        try:
            if self.mode is None:
                return walk.manifest(destination) == order(self.records)
            return _record_of(destination) == self.records[0]
        except OSError:
            return False


def _record_of(path: Path) -> ManifestRow:
    handle = os.open(path, _FILE)
    with os.fdopen(handle, "rb") as stream:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", os.fspath(path))
        value = hashlib.file_digest(stream, "sha256").hexdigest()
        return ManifestRow(".", "file", stat.S_IMODE(state.st_mode), state.st_size, value)


def copy_out(out: Path, relative: str, chosen: Sequence[ManifestRow], destination: Path) -> None:
    """Make `destination` exactly what `chosen` says. Raises DamageFound, OSError."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    _sweep(destination.parent)
    top = chosen[0]
    with _temporary(destination.parent, folder=top.kind == "folder") as new:
        if top.kind == "file":
            root = _open_beneath(out, str(PurePosixPath(relative).parent))
            try:
                _copy_file(root, PurePosixPath(relative).name, top, new)
            finally:
                os.close(root)
            sync_path(new)
        else:
            _copy_tree(out, relative, chosen, new)
        put_in_place(new, destination)
    sync_path(destination.parent)


def _copy_tree(out: Path, relative: str, chosen: Sequence[ManifestRow], new: Path) -> None:
    folders = [record for record in chosen if record.kind == "folder"]
    by_parent: dict[str, list[ManifestRow]] = {}
    for record in chosen[1:]:
        by_parent.setdefault(str(PurePosixPath(record.path).parent), []).append(record)
    for folder in folders:
        handle = _open_beneath(out, str(PurePosixPath(relative) / folder.path))
        try:
            for record in by_parent.get(folder.path, ()):
                target = new / to_os(record.path)
                if record.kind == "folder":
                    target.mkdir(0o700)
                elif record.kind == "link":
                    target.symlink_to(to_os(record.value))
                else:
                    _copy_file(handle, PurePosixPath(record.path).name, record, target)
        finally:
            os.close(handle)
    solid = [to_os(record.path) for record in chosen if record.kind != "link"]
    sync_tree(new, solid, len(solid))
    for folder in reversed(folders):
        (new / to_os(folder.path)).chmod(folder.mode)


def _open_beneath(out: Path, relative: str) -> int:
    """Open a folder under `out`, one component of its path after the other: none of them may be a link."""
    handle = os.open(out, _FOLDER)
    for part in PurePosixPath(relative).parts:
        try:
            below = os.open(to_os(part), _FOLDER, dir_fd=handle)
        except OSError as problem:
            raise DamageFound(f"{printable(relative)}: {problem.strerror}") from problem
        finally:
            os.close(handle)
        handle = below
    return handle


def _copy_file(folder: int, name: str, record: ManifestRow, target: Path) -> None:
    try:
        source = os.open(to_os(name), _FILE, dir_fd=folder)
    except OSError as problem:
        raise DamageFound(f"{printable(record.path)}: {problem.strerror}") from problem
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise DamageFound(f"{printable(record.path)}: no longer a file")
        state = hashlib.sha256()
        with target.open("wb", buffering=0) as stream:
            while chunk := os.read(source, _READ):
                state.update(chunk)
                rest = memoryview(chunk)
                while rest:
                    rest = rest[stream.write(rest) :]
            os.fchmod(stream.fileno(), record.mode)
    finally:
        os.close(source)
    if state.hexdigest() != record.value:
        raise DamageFound(f"{printable(record.path)}: its contents have changed since it was made")


@contextlib.contextmanager
def _temporary(parent: Path, *, folder: bool) -> Iterator[Path]:
    """A new file or folder beside the destination. It is locked as long as this process lives, and removed at the
    end.
    """
    while True:
        path = parent / f"{_PREFIX}{secrets.token_hex(8)}"
        if folder:
            path.mkdir(0o700)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        held = _hold(path)
        if held is not None:
            break
    try:
        yield path
    finally:
        os.close(held)
        with contextlib.suppress(OSError):
            walk.remove(path)


def _hold(path: Path) -> int | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.lstat().st_ino == os.fstat(handle).st_ino:
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def _sweep(parent: Path) -> None:
    """Remove what killed runs left beside the destination."""
    for path in list(parent.iterdir()):
        if not _TEMPORARY.fullmatch(path.name):
            continue
        held = _hold(path)
        if held is None:
            continue
        with contextlib.suppress(OSError):
            if os.fstat(held).st_uid == os.geteuid():
                walk.remove(path)
        os.close(held)
