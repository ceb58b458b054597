"""The app's source for a build: the files that belong to it, its digest, and a clean copy."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from py_portable.base.regular import copy_regular, sha256_of
from py_portable.errors import StepError
from py_portable.wheels import tracked
from py_portable.wheels.given import bounded

IGNORED = frozenset((".git", ".hg", ".svn", "__pycache__"))
"""Names that are left out in every folder."""

IGNORED_AT_TOP = frozenset(
    (
        *(".tox", ".nox", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
        *("portable.lock", "portable.yaml", "portable.yml"),
    )
)
"""Names that are left out only at the top, since deeper down they may be data of the app."""

BUILT = ("build", "dist", "node_modules", "venv")
"""Names that are left out at the top, unless the folder is a package. Files in it that git tracks always belong to
the app."""

_EGG_INFO = (".", "src")
"""The folders in which setuptools leaves *.egg-info."""


def built_wheels(folder: Path) -> list[Path]:
    """The wheels that a build left in a folder. Foreign code ran there, so links are refused.

    Raises StepError for a wheel that is not a regular file, or a zip bomb.
    """
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        if wheel.is_symlink() or not wheel.is_file():
            raise StepError(f"{wheel.name} is not a regular file", where="the folder that a build wrote into")
        bounded(wheel)
    return wheels


def source_digest(source: Path, named: Sequence[str] = ()) -> str:
    """Hex sha256 over names, modes and contents of a source folder, or over the bytes of a file.

    `named`: see `copy_source`.
    """
    if source.is_file():
        return sha256_of(source)
    told = hashlib.sha256()
    for path in _walk(source):
        name = os.fsencode(path.relative_to(source))
        if path.is_symlink():
            kind, content = b"l", os.fsencode(path.readlink())
        else:
            kind = b"x" if path.stat().st_mode & 0o100 else b"f"
            content = bytes.fromhex(sha256_of(path))
        told.update(b"%s%d:%s%d:%s" % (kind, len(name), name, len(content), content))
    if named:
        told.update(b"named:" + tracked.manifest(named, "").encode())
    return told.hexdigest()


def copy_source(source: Path, into: Path, named: Sequence[str] = ()) -> None:
    """A copy without the files of version control and of earlier builds; symlinks stay symlinks.

    `named`: files that the build system would find through version control. Version
    control is not copied, so the MANIFEST.in of the copy names them.
    """
    if source.is_file():
        copy_regular(source, into)
        return
    into.mkdir()
    for path in _walk(source):
        target = into / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)
    if named:
        _name(into / tracked.MANIFEST, named)


def _name(manifest: Path, named: Sequence[str]) -> None:
    text = ""
    if manifest.is_file():
        text = manifest.read_text("utf-8", "surrogateescape")
        manifest.unlink()  # it may be a link to a file of another folder
    manifest.write_text(tracked.manifest(named, text), "utf-8", "surrogateescape")


def _walk(source: Path) -> Iterator[Path]:
    """Files and symlinks, in a stable order; a symlink is never followed."""
    for folder, folders, names in os.walk(source, onerror=_fail):
        place = os.path.relpath(folder, source)
        ignored = IGNORED | IGNORED_AT_TOP if place == "." else IGNORED
        links = [n for n in folders if (Path(folder) / n).is_symlink()]
        left_out = {n for n in folders if place in _EGG_INFO and n.endswith(".egg-info")}
        if place == ".":
            built = [n for n in BUILT if n in folders and n not in links and not _is_package(source / n)]
            left_out |= set(built)
        folders[:] = sorted(n for n in folders if n not in ignored and n not in left_out and n not in links)
        for name in sorted([*names, *links]):
            path = Path(folder) / name
            if name not in ignored and (path.is_symlink() or path.is_file()):
                yield path
        if place == "." and built:
            yield from _tracked(source, built)


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _tracked(source: Path, folders: Sequence[str]) -> Iterator[Path]:
    for name in tracked.files(source, *folders) or ():
        path = source / name
        inside = all(not parent.is_symlink() for parent in path.parents if parent.is_relative_to(source))
        if inside and (path.is_symlink() or path.is_file()):
            yield path


def _fail(problem: OSError) -> None:
    raise problem
