"""Unpacks archives of interpreters on the host, with the kit's unpacker and with limits for interpreters."""

from __future__ import annotations

from pathlib import Path

from py_portable.base import untar
from py_portable.base.tarball import Bounds, RefusedError, members, opened
from py_portable.errors import StepError

BOUNDS = Bounds(members=100_000, total_bytes=4 << 30, name_chars=1024)
"""A full python-build-standalone archive has about 1 GB in 12,000 members."""


def unpack(archive: Path, into: Path, *, below: str = "", bounds: Bounds = BOUNDS) -> None:
    """Unpack what lies below the folder `below` of a .tar.gz, .tar.xz or .tar.zst into the empty folder `into`.

    Raises StepError, which names the member, for anything but folders, files and links that stay inside.
    """
    try:
        untar.unpack(archive, into, below=below, bounds=bounds, modes="settled")
    except (RefusedError, OSError) as problem:
        raise _unreadable(archive, problem) from None


def members_of(archive: Path, names: tuple[str, ...]) -> set[str]:
    """Which of `names` the archive has, read until all are found. Raises StepError."""
    found: set[str] = set()
    try:
        with opened(archive, BOUNDS) as tar:
            for member in members(tar, BOUNDS):
                if member.name in names:
                    found.add(member.name)
                    if len(found) == len(names):
                        break
    except (RefusedError, OSError) as problem:
        raise _unreadable(archive, problem) from None
    return found


def _unreadable(archive: Path, problem: Exception) -> StepError:
    return StepError(f"{archive.name}: {problem}", hint="it may be incomplete: download it again")
