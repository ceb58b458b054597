"""Errors of the store: what failed, where, how much space is left, and what to do next."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from py_portable.errors import StepError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_RIGHTS = (errno.EACCES, errno.EPERM, errno.EROFS)


class StoreError(StepError):
    """The store could not store, find or copy something."""


class DamagedError(StoreError):
    """An object in the store is not as it was stored. Running the same command again makes it again."""


def explain(problem: OSError, doing: str, where: Path) -> StoreError:
    """The error to show for an OSError met while `doing` something at or under `where`."""
    reason = problem.strerror or str(problem)
    named = problem.filename if isinstance(problem.filename, str | bytes) else None
    at = Path(os.fsdecode(named)) if named else None
    culprit = f" ({at})" if at and at.is_absolute() and at != where else ""
    if problem.errno in _NO_ROOM:
        hint = (
            f"{room(where)}\nfree some space there, or choose a larger disk: PY_PORTABLE_STORE for the store,"
            " --dist for results;\nthen run the same command again: finished steps are kept"
        )
    elif problem.errno in _NO_RIGHTS:
        hint = "check who owns the folder and that it is writable, then run the same command again"
    else:
        hint = f"{room(where)}\nrun the same command again: finished steps are kept"
    return StoreError(f"could not {doing}: {reason}{culprit}", where=str(where), hint=hint)


@contextlib.contextmanager
def explained(doing: str, where: Path) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError."""
    try:
        yield
    except OSError as problem:
        raise explain(problem, doing, where) from problem


def is_out_of_room(problem: OSError) -> bool:
    """Whether the cause of an error is a full disk or quota."""
    return problem.errno in _NO_ROOM


def room(where: Path) -> str:
    """One sentence: how much is free on the file system of `where` (or of its nearest existing parent)."""
    for folder in (where, *where.parents):
        try:
            state = os.statvfs(folder)
        except OSError:
            continue
        megabytes = state.f_bavail * state.f_frsize / 1e6
        return f"{megabytes:.0f} MB and {state.f_favail} file entries are free at {folder}"
    return f"the free space at {where} is not known"
