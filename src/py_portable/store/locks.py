"""Locks that end with their process, however it ends: flock on files, leases on bytes of a file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 1.0
_POLL_SECONDS = (0.005, 0.25)
_NOTE_LIMIT = 1 << 16
_BUSY = (errno.EAGAIN, errno.EACCES)


@dataclass(slots=True)
class FileLock:
    """An exclusive lock on a file, held until `release` or the end of the process."""

    path: Path
    handle: int

    def release(self, *, remove: bool = False) -> None:
        """Let go of the lock. With `remove` the lock file is removed, too; others who wait for it notice (see
        `try_lock`).
        """
        if remove:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        os.close(self.handle)


def started(pid: int) -> str | None:
    """When a process started, in clock ticks since boot. Together with the pid this identifies one process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def owner_note(**more: Any) -> dict[str, Any]:
    """The text about the holder in a lock file."""
    pid = os.getpid()
    return {"pid": pid, "start": started(pid), **more}


def read_note(path: Path) -> Mapping[str, Any]:
    """What the last holder wrote; empty if it can't be read. Only the lock itself shows whether the holder is alive."""
    try:
        with path.open("rb") as stream:
            note = json.loads(stream.read(_NOTE_LIMIT))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def try_lock(path: Path, note: Mapping[str, Any]) -> FileLock | None:
    """The lock, or None while another process or thread holds it. Raises OSError."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return None
            if _is_still(path, handle):
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(note).encode(), 0)
                return FileLock(path, handle)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            raise
        # Its holder removed the file between our open and our lock: what we hold is no longer the lock.
        os.close(handle)


def lock(path: Path, what: str) -> FileLock:
    """Wait for the lock. After a second, a message on stderr says who holds it. Raises OSError."""
    note = owner_note(what=what)
    begin = time.monotonic()
    pause, longest = _POLL_SECONDS
    said: object = None
    while True:
        held = try_lock(path, note)
        if held:
            return held
        if time.monotonic() - begin >= _PATIENCE_SECONDS:
            holder = read_note(path)
            if holder.get("pid") not in (None, said):
                said = holder["pid"]
                _log.warning("%s: waiting for process %s, which is working on it", what, said)
        time.sleep(pause)
        pause = min(pause * 2, longest)


def _is_still(path: Path, handle: int) -> bool:
    try:
        there, here = path.lstat(), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


class Leases:
    """Who uses which key: a read lock on one byte of a file for each key, until the process ends.

    One descriptor for any number of keys; the kernel forgets the leases of a killed process. Two keys on one
    byte only make the collector more careful.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def take(self, key: str) -> None:
        """Use `key` until the process ends."""
        fcntl.fcntl(self._handle, fcntl.F_OFD_SETLKW, _byte(fcntl.F_RDLCK, key))

    def claim(self, key: str) -> bool:
        """For the garbage collector: True if nobody uses `key`. In this case nobody can begin to use it until
        `waive`.
        """
        try:
            fcntl.fcntl(self._handle, fcntl.F_OFD_SETLK, _byte(fcntl.F_WRLCK, key))
        except OSError as problem:
            if problem.errno in _BUSY:
                return False
            raise
        return True

    def waive(self, key: str) -> None:
        fcntl.fcntl(self._handle, fcntl.F_OFD_SETLK, _byte(fcntl.F_UNLCK, key))

    def close(self) -> None:
        os.close(self._handle)


def _byte(kind: int, key: str) -> bytes:
    offset = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 2
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, offset, 1, 0)


_taken: dict[tuple[int, int], Leases] = {}
_taken_lock = threading.Lock()


def process_leases(path: Path) -> Leases:
    """This process's leases in the store whose lease file is `path`: they outlive every Store object."""
    with _taken_lock:
        with contextlib.suppress(FileNotFoundError):
            state = path.stat()
            known = _taken.get((state.st_dev, state.st_ino))
            if known:
                return known
        leases = Leases(path)
        state = path.stat()
        _taken[(state.st_dev, state.st_ino)] = leases
        return leases
