"""Checks whether an object is still as it was stored: quickly by its seal, or by hashing all of it."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from py_portable.store import seal
from py_portable.store.disk import write_durably
from py_portable.store.entry import DamageFound, Entry, read_manifest
from py_portable.store.faults import StoreError
from py_portable.store.manifest import decode, differences, digest_of
from py_portable.store.ranged import hash_tree, state_of

SEAL = "seal"
_SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors because this process lacks something. They say nothing about the files that it read."""


def is_sealed(entry: Entry, prefix: tuple[str, ...]) -> bool:
    """Whether the tree is unchanged since its contents were known to be right. Raises OSError, StoreError."""
    try:
        told = (entry.path.parent / SEAL).read_bytes()
    except OSError:
        return False
    return told == seal.text(entry.digest, state_of(entry.path, prefix)).encode()


def confirm(entry: Entry, prefix: tuple[str, ...]) -> None:
    """Hash all of it, and seal it if it is right. Raises DamageFound, which names the first paths, or StoreError."""
    try:
        before = state_of(entry.path, prefix)
        data = hash_tree(entry.path, prefix)
        compare(entry, data)
        seal.settle(before)
        untouched = state_of(entry.path, prefix) == before
    except (OSError, StoreError) as problem:
        raise _unreadable(problem, prefix) from problem
    if untouched:
        # Without a seal, for example on a full disk, the next run hashes it again.
        with contextlib.suppress(OSError):
            (entry.path.parent / SEAL).write_text(seal.text(entry.digest, before))


def compare(entry: Entry, data: bytes) -> None:
    """Raises DamageFound where `data` is not the manifest that the entry was stored with."""
    if digest_of(data) != entry.digest:
        expected = decode(read_manifest(entry.path.parent, entry.digest))
        raise DamageFound("; ".join(differences(expected, decode(data))))


def take(folder: Path, prefix: tuple[str, ...]) -> tuple[bytes, seal.State]:
    """The manifest of a new tree, and the state that it was read in. Raises OSError, StoreError.

    A tree that changes while it is read, perhaps because a step left a process running, is not kept.
    """
    before = state_of(folder, prefix)
    data = hash_tree(folder, prefix)
    seal.settle(before)
    if state_of(folder, prefix) != before:
        raise OSError(errno.EBUSY, "the step's output is still being changed", os.fspath(folder))
    return data, before


def write_seal(folder: Path, digest: str, state: seal.State) -> None:
    """Write the seal of an object that is not in its place yet."""
    write_durably(folder / SEAL, seal.text(digest, state).encode())


def _unreadable(problem: OSError | StoreError, prefix: tuple[str, ...]) -> Exception:
    """A file that cannot be read from the disk any more, or that its owner may not read any more, counts as damaged."""
    cause = problem if isinstance(problem, OSError) else problem.__cause__
    if prefix or not isinstance(cause, OSError) or cause.errno in _SHORT_OF:
        return problem
    named = os.fsdecode(cause.filename) if isinstance(cause.filename, str | bytes) else "a file"
    return DamageFound(f"{named}: {cause.strerror}")
