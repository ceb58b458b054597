"""The seal of an object: the state of each name in its tree at a time when the contents were known to be right.

A walk that reads no contents shows whether anything has changed since: a change of a file's contents, mode or name
also changes its change time (ctime, see stat(2)), which no program can set. It does not find bits that a disk has lost
by itself; only hashing everything again does.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TICK_NS = 20_000_000
"""Longer than a tick of the clock that stamps files: at least 100 a second in every kernel."""


@dataclass(frozen=True, slots=True)
class State:
    """`value`: hex sha256 over names, modes, sizes, inodes and change times. `newest`: the last of those, in ns."""

    value: str
    newest: int


def look(folder: Path) -> State:
    """The state of everything under `folder` and of itself. Opens no file. Raises OSError."""
    told = hashlib.sha256()
    root = os.open(folder, _FOLDER)
    try:
        top = os.fstat(root)
        told.update(f"{top.st_mode} {top.st_ino} {top.st_ctime_ns}".encode())
        newest = top.st_ctime_ns
        waiting = ["."]
        while waiting:
            path = waiting.pop()
            handle = os.open(path, _FOLDER, dir_fd=root)
            lines, below = [], []
            try:
                with os.scandir(handle) as entries:
                    for entry in entries:
                        name, state = entry.name, entry.stat(follow_symlinks=False)
                        mode, changed = state.st_mode, state.st_ctime_ns
                        lines.append(f"{name}\0{mode} {state.st_size} {state.st_ino} {changed}\0")
                        if changed > newest:
                            newest = changed
                        if stat.S_ISDIR(mode):
                            below.append(f"{path}/{name}")
            finally:
                os.close(handle)
            # File systems list the same names in different orders.
            lines.sort()
            waiting += sorted(below)
            told.update(os.fsencode(f"{path}\0{len(lines)}\0" + "".join(lines)))
    finally:
        os.close(root)
    return State(told.hexdigest(), newest)


def look_at_file(path: Path) -> State:
    """The state of one regular file. Opens nothing. Raises OSError."""
    top = path.lstat()
    if not stat.S_ISREG(top.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", os.fspath(path))
    told = f"{top.st_mode} {top.st_size} {top.st_ino} {top.st_ctime_ns}"
    return State(hashlib.sha256(told.encode()).hexdigest(), top.st_ctime_ns)


def settle(state: State) -> None:
    """Wait until a change made now would get a later time than the newest one of `state`: file times count in ticks."""
    rest = state.newest + _TICK_NS - time.time_ns()
    # A time in the future, of a clock that was set back, is not waited for.
    if 0 < rest <= _TICK_NS:
        time.sleep(rest / 1e9)


def text(digest: str, state: State) -> str:
    """The text of an object's file `seal`: which contents were seen in which state. Pure."""
    return f"{digest} {state.value}\n"
