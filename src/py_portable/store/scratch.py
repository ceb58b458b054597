"""Throw-away folders. What a killed run left behind is swept by the next one."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from py_portable.store.faults import StoreError, explained
from py_portable.store.locks import FileLock, owner_note, read_note, try_lock
from py_portable.store.ranged import remove_tree

_log = logging.getLogger(__name__)
_LOCK = ".lock"


@contextlib.contextmanager
def folder(parent: Path, name: str, prefix: tuple[str, ...] = ()) -> Iterator[Path]:
    """A new empty folder in `parent`, which is removed at the end: under `prefix` if its files have foreign ids."""
    with explained("make a work folder", parent):
        held, path = _new(parent, name, prefix)
    try:
        yield path
    finally:
        # A failure to clean up must not hide what happened inside. The lock file stays, so the next run tries again.
        try:
            remove_tree(path, prefix)
        except StoreError as problem:
            _log.warning("%s is left behind: %s", path, problem.what)
            held.release()
        else:
            held.release(remove=True)


def sweep(parent: Path) -> None:
    """Remove the folders whose owner is gone. Never fails: what can't be removed is reported, and stays."""
    try:
        names = {path.name for path in parent.iterdir()}
    except OSError:
        return
    for name in sorted(names):
        if name.endswith(_LOCK):
            _sweep_one(parent / name)
        elif f"{name}{_LOCK}" not in names and not (parent / f"{name}{_LOCK}").exists():
            # The lock is made before the folder and removed after it: a folder without one has no owner.
            with contextlib.suppress(StoreError):
                remove_tree(parent / name)


def _sweep_one(lock: Path) -> None:
    note = read_note(lock)
    try:
        held = try_lock(lock, note)
    except OSError:
        return
    if not held:
        return
    words = note.get("prefix")
    prefix = tuple(map(str, words)) if isinstance(words, list) else ()
    path = lock.with_name(lock.name.removesuffix(_LOCK))
    try:
        remove_tree(path, prefix)
    except StoreError as problem:
        _log.warning("%s of an earlier run can't be removed: %s", path, problem.what)
        held.release()
    else:
        held.release(remove=True)


def _new(parent: Path, name: str, prefix: tuple[str, ...]) -> tuple[FileLock, Path]:
    while True:
        path = parent / f"{name}-{os.getpid()}-{secrets.token_hex(4)}"
        held = try_lock(path.with_name(path.name + _LOCK), owner_note(prefix=list(prefix)))
        if held is None:
            continue
        try:
            path.mkdir()
        except BaseException:
            held.release(remove=True)
            raise
        return held, path
