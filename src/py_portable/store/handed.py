"""Entries of another machine's store. Each is compared with its digest, and nothing else in it is trusted.

The caller names each key that it accepts, since only the caller knows what it asked for. This machine decides how a
tree is read (with which command prefix), never the other machine.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from py_portable.base.regular import read_regular
from py_portable.store import whole
from py_portable.store.disk import make_folder, write_durably
from py_portable.store.entry import DamageFound, Header, read_header, write_header
from py_portable.store.layout import StoreLayout, check_key
from py_portable.store.locks import lock
from py_portable.store.manifest import decode, differences, digest_of
from py_portable.store.ranged import remove_tree

HEADER_BYTES = 16 << 20
MANIFEST_BYTES = 1 << 30
_FILES = ("entry.json", "manifest", "log", "used")


def checked(folder: Path, key: str, prefix: tuple[str, ...]) -> Header:
    """The header in `folder`, after all its files were hashed and the folder was sealed. Other files in it are removed.

    `prefix`: the words under which its tree can be read here. Raises DamageFound for anything that is not exactly an
    entry of `key`, StoreError, OSError.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise DamageFound("it is not a folder")
    for path in sorted(folder.iterdir()):
        if path.name not in (*_FILES, "out"):
            remove_tree(path, prefix)
    out = folder / "out"
    if out.is_symlink() or not out.is_dir():
        raise DamageFound("its folder out is missing")
    try:
        header = read_header(_read(folder / "entry.json", HEADER_BYTES))
        manifest = _read(folder / "manifest", MANIFEST_BYTES)
        for name in ("log", "used"):
            if os.path.lexists(folder / name):
                _read(folder / name, MANIFEST_BYTES)
    except OSError as problem:
        raise DamageFound(f"{problem.strerror}: {Path(str(problem.filename)).name}") from None
    if header.key != key:
        raise DamageFound("entry.json belongs to another key")
    if digest_of(manifest) != header.digest:
        raise DamageFound("its manifest does not match its digest")
    found, state = whole.take(out, prefix)
    if found != manifest:
        raise DamageFound("\n".join(differences(decode(manifest), decode(found))))
    # With it, the first use does not hash everything once more.
    whole.write_seal(folder, header.digest, state)
    return replace(header, prefix=prefix)


def keep(folder: Path, header: Header) -> None:
    """Write the header that `checked` returned, in place of the one that came along."""
    (folder / "entry.json").unlink()
    write_durably(folder / "entry.json", write_header(header))
    # Garbage collection goes by the time of the last use.
    if not os.path.lexists(folder / "used"):
        (folder / "used").touch()


def adopt(root: Path, folder: Path, header: Header) -> bool:
    """Move an entry that was `checked`, and lies on the store's file system, to its place in the store `root`.

    If the store has an object of this key already, that one stays, and False is returned. Raises OSError.
    """
    layout = StoreLayout(root)
    place = layout.object(check_key(header.key))
    held = lock(layout.lock(header.key), f"step {header.key[:12]}")
    try:
        if os.path.lexists(place):
            return False
        keep(folder, header)
        make_folder(place.parent)
        folder.rename(place)
        return True
    finally:
        held.release()


def _read(path: Path, most: int) -> bytes:
    return read_regular(path, most, follow=False)
