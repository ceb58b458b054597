"""Owners kept beside a root, for a user who has no range of ids: with docker or podman nothing more is needed.

All files of such a root belong to the caller, and none is setuid. What belongs to others in the image, with its mode
and its capabilities, stands in a file beside the root; a daemon is handed an archive in which all is as it was.
Engines that show the root itself refuse it.
"""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from py_portable.engines import ids
from py_portable.errors import MachineError

NAME = "owners.json"
"""Of the file, in the folder that the root is in."""
_CAPABILITY = "security.capability"
_PAX = "SCHILY.xattr."
_IDS = 1 << 32


@dataclass(frozen=True, slots=True)
class Owned:
    """What a file has in the image. `capability` is the value of the attribute security.capability, in hex."""

    uid: int
    gid: int
    mode: int
    capability: str = ""


def on_disk(mode: int, *, folder: bool) -> int:
    """The mode that a file has here: its owner can always read and remove it, and it is never setuid or sticky."""
    return mode & 0o777 | (0o700 if folder else 0o600)


def mark() -> Mapping[str, str]:
    """Of keys: such a root is not the one that a user with a range of ids has."""
    return {} if ids.available() else {"owners": "beside"}


def write(path: Path, owners: Mapping[bytes, Owned]) -> None:
    """What is root's with the mode that it has on disk too is left out."""
    told = {
        os.fsdecode(name): [one.uid, one.gid, one.mode, one.capability]
        for name, one in sorted(owners.items())
        if one.uid or one.gid or one.capability or one.mode & ~0o777 or one.mode & 0o600 != 0o600
    }
    path.write_text(json.dumps(told, separators=(",", ":")))


def of(root: Path) -> Mapping[bytes, Owned] | None:
    """The owners that are kept beside this root; None where it has its own. Raises MachineError."""
    place = root.parent / NAME
    if not place.exists():
        return None
    try:
        told = json.loads(place.read_text())
        return {
            os.fsencode(name): _owned(uid, gid, mode, capability)
            for name, (uid, gid, mode, capability) in told.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        raise MachineError(
            f"the owners of an image's files cannot be read: {problem}", hint="py-portable doctor --store"
        ) from problem


def _owned(uid: object, gid: object, mode: object, capability: object) -> Owned:
    """Raises ValueError for what no file can have: an image that was handed on brings the file along."""
    match uid, gid, mode, capability:
        case int(), int(), int(), str() if 0 <= uid < _IDS and 0 <= gid < _IDS and 0 <= mode <= 0o7777:
            bytes.fromhex(capability)
            return Owned(uid, gid, mode, capability)
    raise ValueError(f"{uid!r:.40}, {gid!r:.40}, {mode!r:.40} are not an owner and a mode")


def refuse(root: Path) -> None:
    """Raises MachineError where owners are kept beside the root: shown as it lies there it would not be the image."""
    if (root.parent / NAME).exists():
        raise MachineError(
            "this image was unpacked without a range of user ids, so only docker and podman can start programs in it",
            hint="use --engine docker or podman, or make the image again after: py-portable doctor --fix",
        )


def pack(root: Path, archive: Path, names: Sequence[str] = (".",), *, first: Sequence[str] = ()) -> None:
    """Write the files of the root that `names` lead to, with all below them, as a tar archive with the image's owners.

    `first`: names that are written without what is below. What nothing is kept of is root's, in the mode it has. Raises
    OSError, MachineError.
    """
    owners = of(root) or {}
    # All names of a file have what one of them was given.
    by_inode = {(s.st_dev, s.st_ino): owners[name] for name in owners for s in _states(root, name)}
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as out:
        for name in first:
            _add(out, root, name, by_inode)
        for name in names:
            for path in _below(root, name):
                _add(out, root, path, by_inode)


def _states(root: Path, name: bytes) -> list[os.stat_result]:
    try:
        return [os.lstat(os.path.join(os.fsencode(root), name))]  # noqa: PTH118 - a name may be no text
    except OSError:
        return []


def _below(root: Path, name: str) -> Iterator[str]:
    yield name
    place = root / name
    if place.is_dir() and not place.is_symlink():
        for entry in sorted(os.listdir(place)):  # noqa: PTH208 - names only
            yield from _below(root, entry if name == "." else f"{name}/{entry}")


def _add(out: tarfile.TarFile, root: Path, name: str, owners: Mapping[tuple[int, int], Owned]) -> None:
    path = root / name
    state = path.lstat()
    if stat.S_ISSOCK(state.st_mode):
        return
    entry = out.gettarinfo(path, "." if name == "." else f"./{name}")
    given = owners.get((state.st_dev, state.st_ino), Owned(0, 0, state.st_mode & 0o777))
    entry.uid, entry.gid, entry.mode = given.uid, given.gid, given.mode
    entry.uname = entry.gname = ""
    if given.capability and entry.isreg():
        value = bytes.fromhex(given.capability).decode("utf-8", "surrogateescape")
        entry.pax_headers = {_PAX + _CAPABILITY: value}
    if entry.islnk():
        entry.linkname = f"./{entry.linkname.removeprefix('./')}"
    if entry.isreg():
        with path.open("rb") as stream:
            out.addfile(entry, stream)
    else:
        out.addfile(entry)
