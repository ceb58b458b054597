"""Hashes objects without using them: to find the cause of a failure, and for the doctor."""

from __future__ import annotations

import time
from pathlib import Path

from py_portable.store import whole
from py_portable.store.entry import DamageFound, Examined, look, read_manifest, title_of
from py_portable.store.faults import StoreError, explained
from py_portable.store.layout import StoreLayout
from py_portable.store.locks import lock, owner_note, try_lock
from py_portable.store.manifest import decode


def examine(layout: StoreLayout, key: str, *, wait: bool) -> Examined:
    """Hash the object of `key`; a damaged one is moved aside. Raises OSError."""
    path, folder = layout.lock(key), layout.object(key)
    what = f"looking at {key[:12]}"
    held = lock(path, what) if wait else try_lock(path, owner_note(what=what))
    if held is None:
        return Examined(key, "busy")
    try:
        title = title_of(folder)
        try:
            found = look(folder, key)
            if found is None:
                return Examined(key, "gone")
            whole.confirm(found[0], found[1].prefix)
            size = sum(record.size for record in decode(read_manifest(folder, found[0].digest)))
        except DamageFound as problem:
            return Examined(key, "damaged", title, str(problem), move_aside(layout, key))
        except (OSError, StoreError) as problem:
            # This says nothing about the object: memory is short, or ids can't be mapped any more.
            return Examined(
                key, "unread", title, problem.what if isinstance(problem, StoreError) else str(problem)
            )
        return Examined(key, "whole", title, size=size)
    finally:
        held.release()


def move_aside(layout: StoreLayout, key: str) -> Path | None:
    """Move it aside while the key's lock is held; returns the new place, None if it is gone. Raises OSError."""
    aside = layout.quarantine / f"{key}-{time.time_ns()}"
    try:
        layout.object(key).rename(aside)
    except FileNotFoundError:
        return None
    return aside


def keys(layout: StoreLayout) -> list[str]:
    """The keys of all objects in the store, sorted. Raises StoreError."""
    with explained("look at the store", layout.root):
        shelves = list(layout.objects.iterdir()) if layout.objects.is_dir() else []
        return sorted(path.name for shelf in shelves for path in shelf.iterdir())


def quarantined(layout: StoreLayout) -> int:
    """How many damaged objects are kept for a person to look at. Raises StoreError."""
    with explained("look at the store", layout.root):
        return len(list(layout.quarantine.iterdir())) if layout.quarantine.is_dir() else 0
