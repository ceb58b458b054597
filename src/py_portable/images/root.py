"""An image's layers as a root file system in the store, whichever way they came here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from py_portable.engines import beside, ids
from py_portable.errors import PortableError
from py_portable.images import libc
from py_portable.images.image import Image, Request
from py_portable.images.layers.stack import unpack
from py_portable.images.registry.image_manifest import ImagePlatform
from py_portable.images.registry.pull import Content
from py_portable.store import Entry, Store

UNPACK_SECONDS = 1800.0
_FORM = 1
"""Raise it where a digest gives another root than before: roots in stores are then made again."""


def key(identity: str, platform: ImagePlatform) -> str:
    """Where the root of an image is kept: names and ways to get it do not enter."""
    told: dict[str, object] = {
        "image": identity,
        "platform": [platform.architecture, *platform.variants],
        "form": _FORM,
    }
    told |= beside.mark()
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def held(store: Store, identity: str, platform: ImagePlatform, request: Request) -> Entry | None:
    """The entry with the root of that identity, if the store has it."""
    # What something is added to is checked when that is made.
    return store.get(key(identity, platform), tree=request.tree and request.plain)


def keep(
    store: Store,
    prefix: tuple[str, ...],
    name: str,
    identity: str,
    platform: ImagePlatform,
    fetch: Callable[[Path, Path], Content],
) -> Entry:
    """The entry with the root of that identity. Where there is none, `fetch(room, log)` gets the layers into the
    empty folder `room`, and they are unpacked. What fails on the way leaves nothing in the store.
    """

    def build(work: Path) -> Mapping[str, object]:
        room, root, log = work / "room", work / "out" / "root", work / "log"
        room.mkdir()
        content = fetch(room, log)
        root.mkdir()
        try:
            unpack(
                content.layers,
                root,
                prefix=prefix,
                log=log,
                timeout=UNPACK_SECONDS,
                owners="given" if ids.available() else "beside",
            )
        except PortableError as problem:
            problem.what = f"{name}: {problem.what}"
            raise
        return {
            "identity": identity,
            "glibc": libc.glibc(root),
            "suite": libc.debian_suite(root),
            "env": dict(content.config.env),
            "arch": content.config.architecture,
        }

    return store.make(key(identity, platform), build, prefix=prefix, title=f"image {name}")


def image(
    request: Request, entry: Entry, source: Literal["registry", "archive"], *, origin: str | None
) -> Image:
    """The plain image that an entry of `keep` holds."""
    identity = str(entry.meta["identity"])
    locked = request.locked_identity if request.plain else None
    glibc, suite = entry.meta["glibc"], entry.meta["suite"]
    return Image(
        name=request.name,
        root=entry.path / "root",
        identity=identity,
        source=source,
        glibc=None if glibc is None else str(glibc),
        suite=None if suite is None else str(suite),
        drifted_from=locked if locked and locked != identity else None,
        key=entry.key,
        log=entry.log,
        env={str(name): str(value) for name, value in entry.meta["env"].items()},
        origin=origin,
    )
