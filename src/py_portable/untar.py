"""Tar archives of others, unpacked on the host: as PEP 706 asks, also where Python has no filters yet (3.11.2)."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

_CHUNK = 1 << 20
Admit = Callable[[PurePosixPath], bool]


class RefusedError(tarfile.TarError):
    """Names the member and why it is not unpacked."""


def extract(
    tar: tarfile.TarFile,
    into: Path,
    *,
    mask: int = 0o755,
    mine: bool = False,
    links_out: bool = False,
    admit: Admit = lambda _path: True,
) -> None:
    """Unpack all members below the folder `into`, owned by the caller. Files and links that are there give way.

    No member leaves `into`, or is written through a link. `mask`: of a mode, what is kept. `mine`: the
    caller may read and write all of it, whatever the archive says. `links_out`: whether
    symbolic links may lead out of `into`, as an artifact's may; nothing is ever written through them. `admit`: which
    paths may be there. Raises tarfile.TarError, OSError.
    """
    folders: list[tuple[Path, int]] = []
    for member in tar:
        path = _inside(member, member.name)
        if not admit(path):
            raise RefusedError(f"{member.name[:200]!r} has no place there")
        place = into / path
        _no_link_above(member, into, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not member.isdir() and (place.is_symlink() or place.is_file()):
            place.unlink()
        if member.isdir():
            if place.is_symlink() or place.is_file():
                place.unlink()
            place.mkdir(exist_ok=True)
            folders.append((place, member.mode & mask | (0o700 if mine else 0)))
        elif member.isreg():
            _write(tar, member, place, member.mode & mask | (0o600 if mine else 0))
        elif member.issym():
            if not links_out:
                _stays(member, path)
            place.symlink_to(member.linkname)
        elif member.islnk():
            target = _inside(member, member.linkname)
            _no_link_above(member, into, target)
            if not admit(target) or (into / target).is_symlink() or not (into / target).is_file():
                raise RefusedError(f"{member.name[:200]!r} is a hard link to no file of the archive")
            place.hardlink_to(into / target)
        else:
            raise RefusedError(f"{member.name[:200]!r} is neither a file, a folder nor a link")
    for place, mode in reversed(folders):
        place.chmod(mode)


def _inside(member: tarfile.TarInfo, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise RefusedError(f"{member.name[:200]!r} leads out of the folder")
    return path


def _no_link_above(member: tarfile.TarInfo, into: Path, path: PurePosixPath) -> None:
    for above in path.parents:
        if above.parts and (into / above).is_symlink():
            raise RefusedError(f"{member.name[:200]!r} leads through a link")


def _stays(member: tarfile.TarInfo, path: PurePosixPath) -> None:
    wanted = PurePosixPath(member.linkname)
    depth = len(path.parts) - 1
    for part in wanted.parts:
        depth += -1 if part == ".." else 1
        if depth < 0 or wanted.is_absolute():
            raise RefusedError(f"{member.name[:200]!r} is a link that leads out of the folder")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path, mode: int) -> None:
    source = tar.extractfile(member)
    assert source is not None
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as target:
        shutil.copyfileobj(source, target, _CHUNK)
        target.flush()
        os.fchmod(fd, mode)
        # What was compiled from a file knows it by its time.
        os.utime(fd, (member.mtime, member.mtime))
