"""The images that the plan's job made, for the jobs after it: entries of its store, a tar each, and an index.

So an image is made once in a run: a bootstrap, or a tag, asked twice may give two images of one name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable import command
from py_portable.engines import ids
from py_portable.errors import ConfigError, MachineError
from py_portable.images.names import KEY, NAMES
from py_portable.store import Store
from py_portable.store.entry import DamageFound, read_header

INDEX = "images.json"
_TAR = "image-{:03}.tar"
_OURS = re.compile(rf"objects/[0-9a-f]{{2}}/{KEY.pattern}|cache/(?:{'|'.join(NAMES)})/{KEY.pattern}")


@dataclass(frozen=True)
class _Held:
    """An image in the store. `base`: the identity of what it was made on top of."""

    place: Path
    identity: str
    base: str | None


def pack(store: Path, wanted: Mapping[str, str], to: Path) -> int:
    """Archive the images of a store; how many. `wanted`: nodes of the plan -> identity; what the store has not
    (an image that could not be had) is left out."""
    held = _held(store)
    to.mkdir(parents=True, exist_ok=True)
    index: dict[str, dict[str, list[str]]] = {}
    archives: dict[Path, tuple[str, list[str]]] = {}
    for node, identity in sorted(wanted.items()):
        for one in _with_bases(held, identity):
            if one.place not in archives:
                archive, paths = _TAR.format(len(archives) + 1), _paths(store, one.place)
                _tar("--create", to / archive, store, "--", *paths, what="packing an image")
                archives[one.place] = (archive, paths)
            archive, paths = archives[one.place]
            index.setdefault(node, {})[archive] = paths
    if index:
        (to / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    return len(archives)


def unpack(folder: Path, store: Store, wanted: Collection[str] | None) -> int:
    """Put the images of these nodes (None: of all) that lie somewhere below `folder` into the store; how many.

    What the store has stays, and is not unpacked again. Raises ConfigError for an index that `pack` did not write.
    """
    archives = {
        index.parent / name: paths
        for index in sorted(folder.rglob(INDEX))
        for node, found in _index(index).items()
        if wanted is None or node in wanted
        for name, paths in found.items()
    }
    for archive, paths in archives.items():
        if paths and all(_OURS.fullmatch(path) and (store.root / path).exists() for path in paths):
            continue
        with store.scratch("handed", prefix=ids.prefix()) as room:
            _tar("--extract", archive, room, "--preserve-permissions", what="unpacking an image")
            for found in sorted(room.glob("objects/*/*")) + sorted(room.glob("cache/*/*")):
                place = store.root / found.relative_to(room)
                if KEY.fullmatch(found.name) and not place.exists():
                    place.parent.mkdir(exist_ok=True)
                    found.rename(place)
    return len(archives)


def _index(path: Path) -> Mapping[str, Mapping[str, Sequence[str]]]:
    try:
        told: Any = json.loads(path.read_text("utf-8"))
        known = {f.name for f in path.parent.glob("image-*.tar")}
        if all(
            name in known and isinstance(paths, list) and all(isinstance(one, str) for one in paths)
            for found in told.values()
            for name, paths in found.items()
        ):
            return dict(told)
    except (OSError, ValueError, AttributeError, TypeError):
        pass
    raise ConfigError("is no list of images", where=path.name, hint="look at the plan's job")


def _held(store: Path) -> list[_Held]:
    found = []
    for place in sorted(store.glob("objects/*/*")):
        try:
            meta = read_header((place / "entry.json").read_bytes()).meta
        except (OSError, DamageFound):
            continue
        if isinstance(meta.get("identity"), str) and (place / "out" / "root").is_dir():
            found.append(_Held(place, meta["identity"], meta.get("base")))
    return found


def _with_bases(held: Sequence[_Held], identity: str) -> list[_Held]:
    own = [one for one in held if one.identity == identity]
    bases = {one.base for one in own if one.base and one.base != identity}
    return [*own, *(one for base in sorted(bases) for one in _with_bases(held, base))]


def _paths(store: Path, place: Path) -> list[str]:
    """The entry, and the names that lead to it."""
    names = [
        path
        for folder in NAMES
        for path in sorted((store / "cache" / folder).glob("*"))
        if KEY.fullmatch(path.name) and path.is_file() and path.read_bytes() == place.name.encode()
    ]
    return [str(path.relative_to(store)) for path in (place, *names)]


def _tar(verb: str, archive: Path, folder: Path, *words: str, what: str) -> None:
    argv: list[str | Path] = [*ids.prefix(), "tar", verb, "--file", archive, "--directory", folder]
    # Capabilities of files are part of what an image is.
    argv += ["--numeric-owner", "--xattrs", "--xattrs-include=*"]
    command.check([*argv, *words], what=what, error=MachineError)
