"""Garbage collection by lease: removes objects that were not used for some days and are not in use now."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from py_portable.store import scratch
from py_portable.store.entry import DamageFound, read_header
from py_portable.store.faults import StoreError
from py_portable.store.layout import StoreLayout
from py_portable.store.locks import Leases, owner_note, try_lock
from py_portable.store.ranged import remove_tree

_DAY_SECONDS = 86400.0


def collect(layout: StoreLayout, keep_days: float) -> int:
    """Remove objects that were not used for `keep_days` days; returns their number. Raises OSError."""
    oldest = time.time() - keep_days * _DAY_SECONDS
    # A descriptor of its own: leases of this very process count too.
    leases = Leases(layout.leases)
    try:
        count = sum(_collect_one(layout, leases, folder, oldest) for folder in list(_objects(layout)))
    finally:
        leases.close()
    _forget_caches(layout, oldest)
    for folder in (layout.quarantine, layout.failed):
        for path in list(folder.iterdir()):
            # When it was moved here: a rename changes this time only.
            if path.lstat().st_ctime < oldest:
                with contextlib.suppress(StoreError):
                    remove_tree(path, _prefix(path))
    for path in list(layout.locks.glob("*.lock")):
        if not layout.object(path.name.removesuffix(".lock")).exists():
            held = try_lock(path, owner_note())
            if held:
                held.release(remove=True)
    return count


def _forget_caches(layout: StoreLayout, oldest: float) -> None:
    """Remove old caches of compilers. Each is for one app and one interpreter, so most are never used again. It is
    renamed first, so that a run that starts now begins a new one."""
    for path in list((layout.root / "cache").iterdir()):
        # Another collector may have been faster.
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink() and path.stat().st_mtime < oldest:
                with scratch.folder(layout.tmp, "gc") as room:
                    path.rename(room / "cache")


def _objects(layout: StoreLayout) -> Iterator[Path]:
    for shelf in layout.objects.iterdir():
        yield from shelf.iterdir()


def _collect_one(layout: StoreLayout, leases: Leases, folder: Path, oldest: float) -> bool:
    if _used(folder) > oldest:
        return False
    with scratch.folder(layout.tmp, "gc", _prefix(folder)) as room:
        return _take_away(layout, leases, folder, oldest, room / "object")


def _take_away(layout: StoreLayout, leases: Leases, folder: Path, oldest: float, target: Path) -> bool:
    """Rename the object, so that it is gone at once; the slow removal then needs no lock."""
    key = folder.name
    held = try_lock(layout.lock(key), owner_note(what="garbage collection"))
    if not held:
        return False
    try:
        if not leases.claim(key):
            return False
        try:
            # Another process may have used it, and ended, since the first look.
            if not folder.is_dir() or _used(folder) > oldest:
                return False
            folder.rename(target)
            return True
        finally:
            leases.waive(key)
    finally:
        held.release(remove=True)


def _used(folder: Path) -> float:
    try:
        return (folder / "used").stat().st_mtime
    except OSError:
        return folder.stat().st_mtime if folder.exists() else 0.0


def _prefix(folder: Path) -> tuple[str, ...]:
    try:
        return read_header((folder / "entry.json").read_bytes()).prefix
    except (OSError, DamageFound):
        return ()
