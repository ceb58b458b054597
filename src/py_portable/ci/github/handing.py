"""Passes the images that the plan's job made to the jobs after it: one tar archive for each store entry, and an index.

So an image is made only once in a run. Two bootstraps, or two questions what a tag means, may give two different images
of the same name.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from py_portable.base import process
from py_portable.base.atomic import write_whole
from py_portable.base.regular import read_regular, sha256_of
from py_portable.engines import ids
from py_portable.errors import ConfigError, MachineError
from py_portable.images.layers import stack
from py_portable.images.layers.blobs import PLAIN_TAR
from py_portable.images.layers.stack import Layer, LayerError
from py_portable.images.names import KEY, NAMES
from py_portable.store import Store
from py_portable.store.entry import DamageFound, Header, read_header
from py_portable.store.handed import HEADER_BYTES, adopt, checked

INDEX = "images.json"
INDEX_BYTES = 16 << 20
_LOOK = "look at the log of the job that plans, and run it again"
_TAR = "image-{:03}.tar"
_OURS = re.compile(rf"objects/[0-9a-f]{{2}}/{KEY.pattern}|cache/(?:{'|'.join(NAMES)})/{KEY.pattern}")


@dataclass(frozen=True)
class _Held:
    """An image in the store. `base`: the identity of the image on top of which it was made."""

    place: Path
    identity: str
    base: str | None


def pack(store: Path, wanted: Mapping[str, str], to: Path) -> int:
    """Archive the images of a store. Returns their number.

    `wanted`: nodes of the plan -> identity. Images that are not in the store, because they were not available, are left
    out."""
    held = _held(store)
    to.mkdir(parents=True, exist_ok=True)
    index: dict[str, dict[str, list[str]]] = {}
    archives: dict[Path, tuple[str, list[str]]] = {}
    for node, identity in sorted(wanted.items()):
        for one in _with_bases(held, identity):
            if one.place not in archives:
                archive, paths = _TAR.format(len(archives) + 1), _paths(store, one.place)
                _pack(to / archive, store, paths)
                archives[one.place] = (archive, paths)
            archive, paths = archives[one.place]
            index.setdefault(node, {})[archive] = paths
    if index:
        (to / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    return len(archives)


def unpack(folder: Path, store: Store, wanted: Mapping[str, Collection[str]]) -> int:
    """Put the images of these nodes that lie somewhere below `folder` into the store; how many.

    `wanted`: node of the plan -> the identities that its image may have, as the lock says. Taken are the entries that
    the index names for these nodes, whose files have the digest that the entry was made with, and whose identity is
    asked for, or is that of what such an image was made on top of. What the store has stays, and is not unpacked again.
    Raises ConfigError for anything else.
    """
    count = 0
    for index in sorted(folder.rglob(INDEX)):
        found = _index(index)
        for node, identities in sorted(wanted.items()):
            archives = {index.parent / name: tuple(paths) for name, paths in found.get(node, {}).items()}
            _take(archives, store, set(identities))
            count += len(archives)
    return count


def _take(archives: Mapping[Path, Sequence[str]], store: Store, identities: set[str]) -> None:
    """Unpack the archives of one node."""
    missing = {archive: paths for archive, paths in archives.items() if not _is_there(store, paths)}
    if not missing:
        return
    with store.scratch("handed", prefix=ids.prefix()) as room:
        waiting = []
        for number, (archive, paths) in enumerate(sorted(missing.items())):
            place = room / str(number)
            _unpack_archive(archive, place)
            waiting.append((archive, place, paths, _entry(archive, place, paths)))
        there = [archive for archive in archives if archive not in missing]
        allowed = identities | {base for archive in there for base in _bases(store, archives[archive])}
        while waiting:
            ready = [one for one in waiting if one[3].meta.get("identity") in allowed]
            if not ready:
                raise ConfigError(
                    "holds an image that this job did not ask for", where=waiting[0][0].name, hint=_LOOK
                )
            for one in ready:
                _, place, paths, header = one
                base = header.meta.get("base")
                allowed |= {base} if isinstance(base, str) else set()
                adopt(store.root, place / paths[0], header)
                _names(place, store, paths[1:], header.key)
                waiting.remove(one)


def _is_there(store: Store, paths: Sequence[str]) -> bool:
    return bool(paths) and all(_OURS.fullmatch(path) and (store.root / path).exists() for path in paths)


def _bases(store: Store, paths: Sequence[str]) -> Iterator[str]:
    """The identity on top of which an image that is already in the store was made."""
    entry = store.get(PurePosixPath(paths[0]).name)
    if entry and isinstance(entry.meta.get("base"), str):
        yield entry.meta["base"]


def _unpack_archive(archive: Path, place: Path) -> None:
    """With owners and attributes, which are part of what an image is, by what unpacks images: nothing in it leads out
    of `place`, and its sizes are bounded."""
    try:
        layer = Layer(archive, f"sha256:{sha256_of(archive)}", PLAIN_TAR)
        # Without a range of ids all of a store is its owner's (engines/beside.py).
        owners: stack.Owners = "given" if ids.available() else "mine"
        stack.unpack([layer], place, prefix=ids.prefix(), owners=owners)
    except (LayerError, OSError) as problem:
        what = problem.what if isinstance(problem, LayerError) else problem.strerror
        raise ConfigError(f"cannot be unpacked: {what}", where=archive.name, hint=_LOOK) from None


def _entry(archive: Path, place: Path, paths: Sequence[str]) -> Header:
    """The one entry that the index names first, checked. Raises ConfigError."""
    first = PurePosixPath(paths[0]) if paths else PurePosixPath("")
    if not paths or not all(_OURS.fullmatch(path) for path in paths) or first.parts[0] != "objects":
        raise ConfigError("is not in the list of images under its key", where=archive.name, hint=_LOOK)
    if first.parts[1] != first.name[:2] or any((place / above).is_symlink() for above in first.parents):
        raise ConfigError("does not hold an entry of a store", where=archive.name, hint=_LOOK)
    try:
        return checked(place / first, first.name, ids.prefix())
    except DamageFound as problem:
        raise ConfigError(
            f"the image {first.name[:12]} is not the one that the plan's job made: {problem}",
            where=archive.name,
            hint=_LOOK,
        ) from None


def _names(place: Path, store: Store, paths: Sequence[str], key: str) -> None:
    """Keep the names that lead to the entry. Names that lead elsewhere are left out."""
    for path in paths:
        if any((place / above).is_symlink() for above in PurePosixPath(path).parents):
            continue
        with contextlib.suppress(OSError):
            if read_regular(place / path, len(key), follow=False) == key.encode():
                target = store.root / path
                target.parent.mkdir(parents=True, exist_ok=True)
                write_whole(target, key)


def _index(path: Path) -> Mapping[str, Mapping[str, Sequence[str]]]:
    try:
        told: Any = json.loads(read_regular(path, INDEX_BYTES))
        known = {f.name for f in path.parent.glob("image-*.tar")}
        if all(
            name in known and isinstance(paths, list) and all(isinstance(one, str) for one in paths)
            for found in told.values()
            for name, paths in found.items()
        ):
            return dict(told)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        pass
    raise ConfigError("is not a list of images", where=path.name, hint=_LOOK)


def _held(store: Path) -> list[_Held]:
    found = []
    for place in sorted(store.glob("objects/*/*")):
        try:
            meta = read_header(read_regular(place / "entry.json", HEADER_BYTES, follow=False)).meta
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
        if KEY.fullmatch(path.name) and path.is_file() and _text(path) == place.name.encode()
    ]
    return [str(path.relative_to(store)) for path in (place, *names)]


def _text(path: Path) -> bytes:
    """The path of the file of a name."""
    try:
        return read_regular(path, 64, follow=False)
    except OSError:
        return b""


def _pack(archive: Path, store: Path, paths: Sequence[str]) -> None:
    argv: list[str | Path] = [*ids.prefix(), "tar", "--create", "--file", archive, "--directory", store]
    # Capabilities of files are part of what an image is.
    argv += ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--"]
    process.check([*argv, *paths], what="packing an image", error=MachineError)
