"""Checks the output folder of a step after everything that the step started has ended.

Scripts of a build set modes while foreign code may still run, so the result is checked again afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path

from py_portable.base import file_modes, printable
from py_portable.errors import PortableError

CAPABILITY = "security.capability"
"""The attribute that gives a program special rights, like the setuid bit: capabilities(7)."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HINT = (
    "find out what sets it: the app, a dependency or its build script. If a file really needs it, set it "
    "when the file is installed"
)


class BuildFailed(PortableError):
    """A command of a build step failed, or left a file that is not allowed in its output."""


def settle(out: Path, step: str) -> None:
    """Refuse files that no output may hold, and give all others their mode. No link is followed.

    Raises BuildFailed, which names the file: for setuid, setgid and world-writable bits, capabilities of files,
    and what is neither file, folder nor link.
    """
    root = os.open(out, _FOLDER)
    try:
        _one(out, os.fstat(root), ".", step)
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            handle = _entered(root, folder, step)
            try:
                with os.scandir(handle) as entries:
                    for entry in entries:
                        state = entry.stat(follow_symlinks=False)
                        path = f"{folder}/{entry.name}" if folder else entry.name
                        _one(Path(f"/proc/self/fd/{handle}", entry.name), state, path, step)
                        if stat.S_ISDIR(state.st_mode):
                            waiting.append(path)
            finally:
                os.close(handle)
    finally:
        os.close(root)


def _entered(root: int, folder: str, step: str) -> int:
    try:
        return os.open(folder or ".", _FOLDER, dir_fd=root)
    except OSError as problem:
        raise _refused(step, folder, f"not readable ({problem.strerror})") from None


def _one(place: Path, state: os.stat_result, path: str, step: str) -> None:
    kind = stat.S_IFMT(state.st_mode)
    if kind == stat.S_IFLNK:
        return
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise _refused(step, path, "neither a file, a folder nor a link")
    if why := file_modes.trouble(state.st_mode):
        raise _refused(step, path, why)
    if kind == stat.S_IFREG and CAPABILITY in _attributes(place):
        raise _refused(step, path, "given its own capabilities")
    mode = file_modes.settled(state.st_mode, folder=kind == stat.S_IFDIR)
    if mode != stat.S_IMODE(state.st_mode):
        try:
            place.chmod(mode)
        except OSError as problem:
            raise _refused(step, path, f"of a mode that cannot be changed: {problem.strerror}") from None


def _attributes(place: Path) -> list[str]:
    """The attributes of a file; none on a file system without attributes, such as 9p and some of FUSE."""
    try:
        return os.listxattr(place, follow_symlinks=False)
    except OSError as problem:
        if problem.errno != errno.ENOTSUP:
            raise
        return []


def _refused(step: str, path: str, why: str) -> BuildFailed:
    return BuildFailed(
        f"{step} left {printable.line(path)[:200]!r}, which is {why}: not allowed in the output of a build",
        hint=_HINT,
    )


def keep(work: Path, kept: Path) -> None:
    """Copy the work folder of a step that failed to `kept`, for somebody to look at: files, folders and links, none
    with a mode that the build chose. What cannot be copied is left out; the step's own error is what counts."""
    shutil.rmtree(kept, ignore_errors=True)
    with contextlib.suppress(OSError):
        shutil.copytree(work, kept, symlinks=True, ignore=special, copy_function=_copied)
    for folder, _, _ in os.walk(kept):
        with contextlib.suppress(OSError):
            Path(folder).chmod(0o755)


def special(folder: str, names: list[str]) -> list[str]:
    """Of these names in the folder those that are neither file, folder nor link; for shutil.copytree, which would wait
    for a pipe and never end with a device."""
    kinds = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    states = {name: Path(folder, name).lstat().st_mode for name in names}
    return [name for name, mode in states.items() if not any(is_kind(mode) for is_kind in kinds)]


def _copied(source: str, target: str) -> None:
    shutil.copyfile(source, target, follow_symlinks=False)
    Path(target).chmod(file_modes.settled(Path(source).lstat().st_mode))
