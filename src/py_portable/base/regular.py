"""Files that somebody else names or has put there: only regular ones are ever opened. A leaf.

To open a pipe waits for a writer that never comes, and a device such as /dev/zero never ends: both are opened without
waiting, looked at, and refused.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path

_CHUNK = 1 << 20


class NotRegularError(OSError):
    """An OSError, so that whoever tells of files that cannot be read tells of these too."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "is not a regular file", str(path))


class TooLargeError(OSError):
    """The file has more bytes than such a file may have."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(errno.EFBIG, f"has more than {most} bytes", str(path))


def open_regular(path: Path, *, follow: bool = True) -> BufferedReader:
    """The file, open for reading. `follow`: whether its last name may be a symbolic link.

    Raises OSError: NotRegularError for pipes, devices, sockets and folders. See open(2), O_NONBLOCK.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except OSError as problem:
        # A socket cannot be opened at all; nor a link where none may be.
        if problem.errno in (errno.ENXIO, errno.ENODEV) or (problem.errno == errno.ELOOP and not follow):
            raise NotRegularError(path) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NotRegularError(path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, most: int, *, follow: bool = True) -> bytes:
    """All of a file of at most `most` bytes. Raises OSError: NotRegularError, TooLargeError."""
    with open_regular(path, follow=follow) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise TooLargeError(path, most)
    return data


def sha256_of(path: Path) -> str:
    """Hex digest of a regular file. Raises OSError."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def copy_regular(source: Path, target: Path) -> None:
    """The contents of a regular file as the file `target`. Raises OSError."""
    with open_regular(source) as stream, target.open("wb") as out:
        while chunk := stream.read(_CHUNK):
            out.write(chunk)
