"""sdist and wheel of the kit: the same bytes from the same commit, whoever makes them and where."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import sys
import tarfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

from py_portable.base.prebuilt import TABLE
from py_portable.base.process import check
from py_portable.engines import static_helpers
from py_portable.errors import ConfigError, MachineError
from py_portable.formats import runtime

_SECONDS = 300.0


def commit(root: Path) -> str:
    """The commit that is checked out. Raises MachineError where this is no git work tree."""
    return _git(root, "rev-parse", "HEAD").strip()


def epoch(root: Path) -> int:
    """When that commit was made, in seconds."""
    return int(_git(root, "log", "-1", "--format=%ct"))


def changed(root: Path) -> list[str]:
    """What differs from the commit, as git lists it."""
    return _git(root, "status", "--porcelain").splitlines()


def _git(root: Path, *words: str) -> str:
    done = check(
        ["git", "-C", root, *words],
        what=f"git {words[0]}",
        error=MachineError,
        hint="run in a clone of the repository",
        timeout=60.0,
    )
    return done.stdout.text


def make(root: Path, out: Path, work: Path, seconds: int) -> list[Path]:
    """sdist and wheel in `out`. `seconds`: the time of all files. Raises StepError, ConfigError (stale helpers)."""
    for programs in (static_helpers.prebuilt_helpers(), runtime.prebuilt_runtime()):
        if programs.stale():
            raise ConfigError(
                programs.lacking(), where=str(programs.folder / TABLE), hint="scripts/make-helpers"
            )
    source = work / "source"
    _copy(root, source)
    made = work / "made"
    words: list[str | Path] = [sys.executable, "-m", "build", "--no-isolation", "--outdir", made, source]
    check(
        words,
        what="building sdist and wheel",
        hint="scripts/nox --ensure",
        env={**os.environ, "SOURCE_DATE_EPOCH": str(seconds)},
        timeout=_SECONDS,
    )
    (sdist,), (wheel,) = made.glob("*.tar.gz"), made.glob("*.whl")
    out.mkdir(parents=True)
    settled_sdist(sdist, out / sdist.name, seconds)
    write(read(wheel), out / wheel.name, seconds)
    return sorted(out.iterdir())


def _copy(root: Path, into: Path) -> None:
    """What git knows of, and nothing that an earlier build left."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        path, target = root / name, into / name
        if path.is_symlink() or path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)


def settled_sdist(sdist: Path, to: Path, seconds: int) -> None:
    """The same files, sorted, without times, owners and the modes of whoever made it."""
    plain = io.BytesIO()
    with tarfile.open(sdist) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old, key=lambda member: member.name):
            settled = tarfile.TarInfo(member.name)
            settled.type, settled.linkname, settled.mtime = member.type, member.linkname, seconds
            settled.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            settled.size = member.size if member.isreg() else 0
            new.addfile(settled, old.extractfile(member) if member.isreg() else None)
    with to.open("wb") as stream, gzip.GzipFile("", "wb", 9, stream, mtime=seconds) as packed:
        packed.write(plain.getvalue())


Members = Mapping[str, tuple[bytes, bool]]
"""A wheel's files by name: the bytes, and whether it can be executed."""


def read(wheel: Path) -> Members:
    with zipfile.ZipFile(wheel) as archive:
        return {
            entry.filename: (archive.read(entry), bool(entry.external_attr >> 16 & stat.S_IXUSR))
            for entry in archive.infolist()
            if not entry.is_dir()
        }


def write(members: Members, to: Path, seconds: int) -> None:
    """Sorted, RECORD last as the specification asks; times `seconds`, modes 0644 and 0755."""
    date = time.gmtime(max(seconds, 315532800))[:6]  # a zip knows nothing before 1980
    with zipfile.ZipFile(to, "x", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(members, key=lambda name: (".dist-info/" in name, name.endswith("/RECORD"), name)):
            body, executable = members[name]
            entry = zipfile.ZipInfo(name, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            archive.writestr(entry, body)
