"""Tar archives of others, unpacked on the host: as PEP 706 asks, also where Python has no filters yet (3.11.2).

The one unpacker of the kit but for images, whose owners and attributes count (`images/layers`).
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Literal

from py_portable.base import file_modes
from py_portable.base.tarball import Bounds, RefusedError, members, opened

_CHUNK = 1 << 20
Admit = Callable[[PurePosixPath], bool]
Modes = Literal["kept", "plain", "mine", "settled"]
"""`kept`: as the archive says, and refused where nothing may have it. `plain`: of that, no more than 0755. `mine`: the
same, and the caller may read and write all of it. `settled`: 0755, or 0644 for what its owner cannot start."""


def unpack(
    archive: Path,
    into: Path,
    *,
    below: str = "",
    bounds: Bounds | None = None,
    modes: Modes = "plain",
    links_out: bool = False,
) -> None:
    """`extract` of a file: plain, or compressed with gzip, bzip2, xz or zstd.

    Raises RefusedError, OSError.
    """
    with opened(archive, bounds or Bounds()) as tar:
        extract(tar, into, below=below, bounds=bounds, modes=modes, links_out=links_out)


def extract(
    tar: tarfile.TarFile,
    into: Path,
    *,
    below: str = "",
    bounds: Bounds | None = None,
    modes: Modes = "plain",
    links_out: bool = False,
    admit: Admit = lambda _path: True,
    admit_link: Admit = lambda _path: True,
) -> None:
    """Unpack what lies below the archive's folder `below` into the folder `into`, owned by the caller. Files and
    links that are there give way.

    No member leaves `into`, or is written through a link. `links_out`: whether symbolic links may lead out of
    `into`, as an artifact's may. `admit`: which paths may be there, `admit_link`: which of them as symbolic links.
    Raises tarfile.TarError, OSError.
    """
    limits = bounds or Bounds()
    folders: list[tuple[Path, int]] = []
    # Nothing takes the place of a folder, so one that was looked at stays one.
    real: set[PurePosixPath] = set()
    for member in members(tar, limits):
        path = _inside(member, member.name, below)
        if path is None:
            continue
        if not admit(path):
            raise RefusedError(f"{member.name[:200]!r} is not one of the expected files")
        place = into / path
        if path.parent not in real:
            _no_link_above(member, into, path)
            _make_folder(member, place.parent)
            real.add(path.parent)
        _make_way(member, place)
        if member.isdir():
            place.mkdir(exist_ok=True)
            folders.append((place, _mode(member, modes)))
        elif member.isreg():
            _write(tar, member, place, _mode(member, modes))
        elif member.issym():
            if not links_out:
                _stays(member, path)
            if not admit_link(path):
                raise RefusedError(f"{member.name[:200]!r} is a link, and links are not allowed here")
            place.symlink_to(member.linkname)
        elif member.islnk():
            target = _inside(member, member.linkname, below)
            if target is None:
                raise RefusedError(f"{member.name[:200]!r} is a hard link that leads out of the folder")
            _no_link_above(member, into, target)
            if not admit(target) or (into / target).is_symlink() or not (into / target).is_file():
                raise RefusedError(
                    f"{member.name[:200]!r} is a hard link to something that is not a file of the archive"
                )
            place.hardlink_to(into / target)
        else:
            raise RefusedError(f"{member.name[:200]!r} is neither a file, a folder nor a link")
    for place, mode in reversed(folders):
        place.chmod(mode)


def _make_folder(member: tarfile.TarInfo, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise RefusedError(f"{member.name[:200]!r} leads through a file") from None


def _make_way(member: tarfile.TarInfo, place: Path) -> None:
    try:
        there = place.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(there):
        place.unlink()
    elif not member.isdir():
        raise RefusedError(f"{member.name[:200]!r} would take the place of a folder")


def _mode(member: tarfile.TarInfo, modes: Modes) -> int:
    if modes == "kept":
        if why := file_modes.trouble(member.mode):
            raise RefusedError(f"{member.name[:200]!r} is {why}, which is not allowed in an artifact")
        return member.mode & 0o777
    if modes == "settled":
        return file_modes.settled(member.mode, folder=member.isdir())
    own = (0o700 if member.isdir() else 0o600) if modes == "mine" else 0
    return member.mode & 0o755 | own


def _inside(member: tarfile.TarInfo, name: str, below: str = "") -> PurePosixPath | None:
    """Where a member goes, relative to the folder; None for what does not lie below `below`."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise RefusedError(f"{member.name[:200]!r} leads out of the folder")
    if not below:
        return path
    return path.relative_to(below) if path.is_relative_to(below) and path != PurePosixPath(below) else None


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
