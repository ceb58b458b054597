"""Archives of interpreters, unpacked on the host. They are foreign: no member leaves the folder, sizes are bounded.

Links are made after all files are there, so that no member is ever written through one.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from py_portable.errors import MachineError, StepError

GZIP, XZ, ZSTD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_CHUNK = 1 << 20
_UNREADABLE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OverflowError, ValueError)


@dataclass(frozen=True)
class Limits:
    """Of what is unpacked. A full python-build-standalone archive has about 1 GB in 12,000 members."""

    members: int = 100_000
    bytes: int = 4 << 30
    name: int = 1024


def unpack(archive: Path, into: Path, *, below: str = "", limits: Limits | None = None) -> None:
    """Unpack what lies below the folder `below` of a .tar.gz, .tar.xz or .tar.zst into the empty folder `into`.

    Raises StepError, which names the member, for anything but folders, files and links that stay inside, and
    MachineError where this Python lacks zstandard.
    """
    bounds = limits or Limits()
    links: list[tuple[PurePosixPath, tarfile.TarInfo]] = []
    members = total = 0
    for tar, member in _members(archive):
        members += 1
        total += member.size
        if members > bounds.members or total > bounds.bytes:
            raise _bad(archive, member, f"more than {bounds.members} members or {bounds.bytes} bytes")
        inside = _inside(archive, member, member.name, below, bounds)
        if inside is None:
            continue
        path = into / inside
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
        elif member.isreg():
            _write(archive, tar, member, path)
        elif member.issym() or member.islnk():
            links.append((inside, member))
        else:
            raise _bad(archive, member, "is neither a file, a folder nor a link")
    for inside, member in sorted(links, key=lambda link: link[1].issym()):
        _link(archive, inside, member, into, below, bounds)


def members_of(archive: Path, names: tuple[str, ...]) -> set[str]:
    """Which of `names` the archive has, read until all are found."""
    found: set[str] = set()
    for _, member in _members(archive):
        if member.name in names:
            found.add(member.name)
            if len(found) == len(names):
                break
    return found


def _members(archive: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    try:
        with _plain(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                yield tar, member
    except (MachineError, StepError):
        raise
    except (OSError, *_UNREADABLE) as problem:
        raise _unreadable(archive, problem) from None
    except Exception as problem:
        # zstandard's own error, which can't be named where the library is not there.
        if type(problem).__module__.partition(".")[0] not in ("zstd", "zstandard", "compression"):
            raise
        raise _unreadable(archive, problem) from None


@contextmanager
def _plain(archive: Path) -> Iterator[IO[bytes]]:
    """The archive's bytes, decompressed. What it is compressed with, its first bytes say."""
    with archive.open("rb") as raw:
        head = raw.read(6)
        raw.seek(0)
        with _decompressed(archive, raw, head) as stream:
            yield stream


def _decompressed(archive: Path, raw: IO[bytes], head: bytes) -> Any:
    if head.startswith(GZIP):
        return gzip.GzipFile(fileobj=raw)
    if head.startswith(XZ):
        return lzma.LZMAFile(raw)
    if not head.startswith(ZSTD):
        raise StepError(f"{archive.name} is no .tar.gz, .tar.xz or .tar.zst")
    try:
        import zstandard
    except ImportError:
        raise MachineError(
            "a .tar.zst needs the Python package zstandard",
            hint="install it: pip install zstandard; or take the archive as .tar.gz",
        ) from None
    return zstandard.ZstdDecompressor().stream_reader(raw)


def _inside(
    archive: Path, member: tarfile.TarInfo, name: str, below: str, limits: Limits
) -> PurePosixPath | None:
    """Where a member goes, relative to the folder; None for what does not lie below `below`."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or len(name) > limits.name or "\0" in name:
        raise _bad(archive, member, "leads out of the archive")
    top = PurePosixPath(below)
    return path.relative_to(top) if path.is_relative_to(top) and path != top else None


def _write(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    source = tar.extractfile(member)
    assert source is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Owner's rights and the executable bit are all that an interpreter needs: no setuid, no strange masks.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise _bad(archive, member, "is there twice") from None
    with os.fdopen(fd, "wb") as target:
        shutil.copyfileobj(source, target, _CHUNK)
    path.chmod(0o755 if member.mode & 0o100 else 0o644)


def _link(
    archive: Path, inside: PurePosixPath, member: tarfile.TarInfo, into: Path, below: str, limits: Limits
) -> None:
    path = into / inside
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        raise _bad(archive, member, "is there twice")
    if member.islnk():
        target = _inside(archive, member, member.linkname, below, limits)
        if target is None or not (into / target).is_file():
            raise _bad(
                archive, member, f"is a hard link to {member.linkname!r}, which is no file of the archive"
            )
        path.hardlink_to(into / target)
        return
    wanted = PurePosixPath(member.linkname)
    depth = len(inside.parts) - 1
    for part in wanted.parts:
        depth += -1 if part == ".." else 1
        if depth < 0 or wanted.is_absolute():
            raise _bad(archive, member, f"is a link to {member.linkname!r}, which leads out of the archive")
    path.symlink_to(wanted)


def _bad(archive: Path, member: tarfile.TarInfo, why: str) -> StepError:
    return StepError(f"{archive.name}: the member {member.name[:200]!r} {why}")


def _unreadable(archive: Path, problem: Exception) -> StepError:
    return StepError(
        f"{archive.name} cannot be read as an archive: {problem}", hint="is it whole? fetch it again"
    )
