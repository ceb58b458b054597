"""Hashes and removes trees that may belong to ids of a mapped range; if a command prefix is given, under that."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from py_portable.base import process
from py_portable.store import seal, walk
from py_portable.store.faults import StoreError, explain, explained
from py_portable.store.manifest import encode

_MANIFEST_LIMIT = 1 << 31


def hash_tree(folder: Path, prefix: tuple[str, ...] = ()) -> bytes:
    """The encoded manifest of `folder`. Raises StoreError."""
    if not prefix:
        with explained("read every file of the step's output", folder):
            return encode(walk.manifest(folder))
    outcome = _under(prefix, "hash", folder)
    process.require(outcome, what="reading a tree of foreign ids", error=StoreError)
    return outcome.stdout.data


def state_of(folder: Path, prefix: tuple[str, ...] = ()) -> seal.State:
    """The present state of `folder`, without reading its files. Raises OSError, StoreError."""
    try:
        return seal.look(folder)
    except PermissionError:
        if not prefix:
            raise
    outcome = _under(prefix, "state", folder)
    process.require(outcome, what="looking at a tree of foreign ids", error=StoreError)
    value, newest = outcome.stdout.text.split()
    return seal.State(value, int(newest))


def remove_tree(path: Path, prefix: tuple[str, ...] = ()) -> None:
    """Remove `path` and all under it. Raises StoreError."""
    try:
        walk.remove(path)
    except PermissionError as problem:
        if not prefix:
            raise explain(problem, "remove it", path) from problem
        outcome = _under(prefix, "remove", path)
        process.require(outcome, what="removing a tree of foreign ids", error=StoreError)
    except OSError as problem:
        raise explain(problem, "remove it", path) from problem


def _under(prefix: tuple[str, ...], verb: str, path: Path) -> process.Outcome:
    # The package may be on PYTHONPATH only, and the prefix may start in another folder.
    source = Path(__file__).resolve().parents[2]
    search = os.pathsep.join(filter(None, (str(source), os.environ.get("PYTHONPATH"))))
    argv = (*prefix, sys.executable, "-m", "py_portable.store.tree", verb, str(path.absolute()))
    environment = {**os.environ, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"}
    return process.run(argv, env=environment, capture_bytes=_MANIFEST_LIMIT)
