"""Layers for tests: entries in a few words, archives by Python's tarfile, and a blob of them on disk."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from py_portable.images.layers.apply import Tally
from py_portable.images.layers.bounds import Limits
from py_portable.images.layers.unpack import LayerFile, unpack

Member = tuple[tarfile.TarInfo, bytes]
NEEDED = "needs root: a layer's files have owners"
DEV = b"3"


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **given: object) -> Member:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.mtime = 1000
    for key, value in given.items():
        assert hasattr(info, key)
        setattr(info, key, value)
    info.size = len(data)
    return info, data


def file(name: str, data: bytes = b"x", **given: object) -> Member:
    return member(name, data=data, **given)


def folder(name: str, **given: object) -> Member:
    return member(name, tarfile.DIRTYPE, **given)


def symlink(name: str, target: str, **given: object) -> Member:
    return member(name, tarfile.SYMTYPE, linkname=target, **given)


def link(name: str, target: str, **given: object) -> Member:
    return member(name, tarfile.LNKTYPE, linkname=target, **given)


def archive(members: Iterable[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = b"".join(
        info.tobuf(form, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512) for info, data in members
    )
    return out + bytes(1024)


def put(where: Path, data: bytes) -> LayerFile:
    digest = hashlib.sha256(data).hexdigest()
    path = where / digest
    path.write_bytes(data)
    return LayerFile(path, f"sha256:{digest}", f"layer {digest[:8]}")


def unpack_bytes(where: Path, layers: Sequence[bytes], limits: Limits | None = None) -> Tally:
    return unpack([put(where, data) for data in layers], where / "root", limits or Limits())


def unpack_members(where: Path, *layers: Iterable[Member], **limits: int) -> Tally:
    packed = [gzip.compress(archive(members), 1) for members in layers]
    return unpack_bytes(where, packed, replace(Limits(), **limits))


def seen(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a tree: kind, mode, time, contents; hard links by the first of their names."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[int, str] = {}
    for path in (root, *sorted(root.rglob("*"))):
        state = path.lstat()
        short = str(path.relative_to(root))
        what: bytes | None = None
        kind = "file"
        if path.is_symlink():
            # Path.readlink would leave out a leading "./".
            kind, what = "symlink", os.fsencode(os.readlink(path))  # noqa: PTH115
        elif path.is_dir():
            kind = "folder"
        elif path.is_file():
            what = path.read_bytes()
        found[short] = (kind, 0 if kind == "symlink" else state.st_mode & 0o7777, state.st_mtime, what)
        if kind != "folder" and state.st_nlink > 1:
            found[short] += (first.setdefault(state.st_ino, short),)
    return found
