"""Checks whether a copy from the store is unchanged: quickly by a seal, or by hashing it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from py_portable.store import seal
from py_portable.store.restore import Part


def is_at(part: Part, place: Path, notes: Path) -> bool:
    """Like `Part.is_at`, but what was hashed before and has not been changed since is not hashed again.

    `notes`: a folder of the store for the seals. A folder from another machine cannot bring a seal that fits, since a
    seal holds inodes and change times.
    """
    place = place.absolute()
    note = notes / hashlib.sha256(os.fsencode(place)).hexdigest()
    what = part.digest if part.mode is None else f"{part.digest} {part.mode:o}"
    look = seal.look if part.mode is None else seal.look_at_file
    try:
        before = look(place)
    except OSError:
        return False
    with contextlib.suppress(OSError):
        if note.read_bytes() == seal.text(what, before).encode():
            return True
    if not part.is_at(place):
        return False
    # Without a note, as on a full disk, it is hashed again by the next run.
    with contextlib.suppress(OSError):
        seal.settle(before)
        if look(place) == before:
            fresh = note.with_name(f".{note.name}.{os.getpid()}")
            fresh.write_text(seal.text(what, before))
            fresh.replace(note)
    return True
