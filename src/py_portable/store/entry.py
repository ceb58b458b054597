"""One object of the store and its files: `out/`, `manifest`, `entry.json`, `seal`, `log` and `used`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from py_portable.store.manifest import digest_of

LAYOUT = 1


@dataclass(frozen=True)
class Entry:
    """The output of a step. `path` is the folder that holds it: never write to it.

    `digest` is `sha256:…` over the sorted manifest with modes; `meta` is what the step said about its output.
    The object is not collected while this process lives.
    """

    key: str
    path: Path
    digest: str
    meta: Mapping[str, Any]
    log: Path
    title: str = ""
    """Its name for people, if the step gave one."""


@dataclass(frozen=True)
class Header:
    """The contents of `entry.json`. `prefix` are the words under which the tree can be read and removed."""

    key: str
    digest: str
    prefix: tuple[str, ...]
    meta: Mapping[str, Any]
    title: str = ""


class DamageFound(Exception):
    """A file of the object is not as it was written; the message says which one and how."""


def write_header(header: Header) -> bytes:
    """The bytes of `entry.json`: sealed with their own sha256. Raises TypeError if `meta` is not JSON."""
    body = {
        "layout": LAYOUT,
        "key": header.key,
        "digest": header.digest,
        "prefix": list(header.prefix),
        "meta": dict(header.meta),
        **({"title": header.title} if header.title else {}),
    }
    return (json.dumps({**body, "seal": _seal(body)}, indent=1, sort_keys=True) + "\n").encode()


def read_header(data: bytes) -> Header:
    """The inverse of `write_header`. Raises DamageFound."""
    try:
        body = json.loads(data)
        seal = body.pop("seal")
        if seal != _seal(body):
            raise DamageFound("entry.json does not match its own seal")
        if body["layout"] != LAYOUT:
            raise DamageFound(f"entry.json has layout {body['layout']}, not {LAYOUT}")
        return Header(body["key"], body["digest"], tuple(body["prefix"]), body["meta"], body.get("title", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise DamageFound("entry.json can't be read") from problem


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def look(folder: Path, key: str) -> tuple[Entry, Header] | None:
    """The object in `folder`, or None where there is none. Reads two files and no tree.

    Raises DamageFound where something is there that is not whole; OSError where it cannot be read.
    """
    try:
        data = (folder / "entry.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if folder.exists():
            raise DamageFound("entry.json is missing") from None
        return None
    header = read_header(data)
    if header.key != key:
        raise DamageFound("entry.json belongs to another key")
    read_manifest(folder, header.digest)
    out = folder / "out"
    if out.is_symlink() or not out.is_dir():
        raise DamageFound("its folder out is missing")
    return Entry(key, out, header.digest, header.meta, folder / "log", header.title), header


def read_manifest(folder: Path, digest: str) -> bytes:
    """The encoded manifest, checked against its digest. Raises DamageFound."""
    try:
        data = (folder / "manifest").read_bytes()
    except FileNotFoundError:
        raise DamageFound("its manifest is missing") from None
    if digest_of(data) != digest:
        raise DamageFound("its manifest does not match its digest")
    return data


def title_of(folder: Path) -> str:
    """The name of the object in `folder` for people; "" if it is not known."""
    try:
        return read_header((folder / "entry.json").read_bytes()).title
    except (OSError, DamageFound):
        return ""


@dataclass(frozen=True)
class Examined:
    """The result of hashing an object. `damage` and `aside` (its new place) are set only if it is damaged."""

    key: str
    state: Literal["whole", "damaged", "gone", "busy", "unread"]
    title: str = ""
    damage: str = ""
    """How it is damaged, or why it could not be read."""
    aside: Path | None = None
    size: int = 0
    """The size of its files in bytes, if it is not damaged."""

    def told(self) -> str:
        """The message about a damaged object, for people."""
        kept = f" (it is kept in {self.aside} until `py-portable gc` removes it)" if self.aside else ""
        return f"the stored result of {self.title or f'step {self.key[:12]}'} is damaged: {self.damage}{kept}"
