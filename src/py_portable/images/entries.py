"""How an image whose contents are known only when it is made is filed in the store, and found again.

An entry is filed under what was asked for: the recipe, and the identity that the lock names. Names lead from a
recipe and an identity to the entry that happens to hold it; losing one costs making the image again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from py_portable.images.image import Request
from py_portable.images.names import Names
from py_portable.store import Entry, Store

Build = Callable[[Path], Mapping[str, object]]
"""Fills a work folder as `Store.make` asks it to; what it returns holds the `identity` of what came of it."""


class Entries:
    """The images of one kind. `folder` is the cache with their names."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._names = Names(store.cache(folder))

    def known(self, told: Mapping[str, object], request: Request) -> Entry | None:
        """The image that the request asks for, where the store has it: the locked one, or the last one made."""
        if request.fresh:
            return None
        locked = request.locked_identity
        # Under the recipe: what was locked for other packages than the config has now is not what is asked for.
        return self._held(self._names.get(_key(told, locked or "latest")), locked, request.tree)

    def get(
        self, told: Mapping[str, object], request: Request, build: Build, *, prefix: tuple[str, ...] = ()
    ) -> Entry:
        """The same, or what `build` makes now. `told` is all that decides the result but the network."""
        found = self.known(told, request)
        if found is not None:
            return found
        wanted = f"fresh {time.time_ns()}" if request.fresh else request.locked_identity or "latest"
        built = False

        def noted(work: Path) -> Mapping[str, object]:
            nonlocal built
            built = True
            return build(work)

        entry = self._store.make(_key(told, wanted), noted, prefix=prefix, title=f"image {request.name}")
        made = str(entry.meta["identity"])
        entry = self._held(self._names.get(_key(told, made)), made) or entry
        self._names.set(_key(told, made), entry.key)
        if built:
            self._names.set(_key(told, "latest"), entry.key)
        return entry

    def _held(self, key: str | None, identity: str | None, tree: bool = True) -> Entry | None:
        """The entry of that key, if it is there and holds that identity (None: whichever)."""
        entry = self._store.get(key, tree=tree) if key else None
        return entry if entry is not None and identity in (None, entry.meta["identity"]) else None


def drift(found: str, request: Request) -> str | None:
    """The identity that was locked, where `found` is another one."""
    locked = request.locked_identity
    return locked if locked and locked != found else None


def _key(told: Mapping[str, object], asked: str) -> str:
    everything = {"image": told, "machine": os.uname().machine, "asked": asked}
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
