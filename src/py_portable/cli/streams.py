"""The three standard streams, as whoever started the command left them."""

from __future__ import annotations

import io
import os
import sys


def open_missing() -> None:
    """Put /dev/null where a standard stream was closed (`>&-`).

    Else the next file that is opened would get its number, and be written to by every print.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened == fd:
                os.set_inheritable(fd, True)
            else:
                os.dup2(opened, fd)
                os.close(opened)
    # None is what Python makes of a stream that was closed when it started.
    sys.stdin = sys.stdin or os.fdopen(0, "r", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def take_every_character() -> None:
    """A terminal of another encoding is no reason to stop half way."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_stdout() -> None:
    """What is still to be written to a stdout that takes no more goes nowhere, so that the end is a quiet one."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
