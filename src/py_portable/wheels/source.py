"""The app's source as it enters a build: what belongs to it, its digest, a clean copy."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from py_portable.errors import StepError
from py_portable.regular import copy_regular, sha256_of
from py_portable.wheels.given import bounded

IGNORED = frozenset(
    (
        ".git",
        ".hg",
        ".svn",
        ".tox",
        ".nox",
        ".venv",
        "__pycache__",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
    )
)
"""Left out wherever they stand."""

IGNORED_AT_TOP = frozenset(
    ("build", "dist", "venv", "node_modules", "portable.lock", "portable.yaml", "portable.yml")
)
"""Left out only at the top: deeper down a package may have such a name."""


def built_wheels(folder: Path) -> list[Path]:
    """The wheels that a build left in a folder. Foreign code ran there: a link would be read through.

    Raises StepError for a wheel that is not a regular file, or a zip bomb.
    """
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        if wheel.is_symlink() or not wheel.is_file():
            raise StepError(f"{wheel.name} is not a regular file", where="the folder that a build wrote into")
        bounded(wheel)
    return wheels


def source_digest(source: Path) -> str:
    """Hex sha256 over names, modes and contents of a source folder, or over the bytes of a file."""
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
    return told.hexdigest()


def copy_source(source: Path, into: Path) -> None:
    """A copy with what versions and builds leave behind left out; symlinks stay symlinks."""
    if source.is_file():
        copy_regular(source, into)
        return
    into.mkdir()
    for path in _walk(source):
        target = into / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)


def _walk(source: Path) -> Iterator[Path]:
    """Files and symlinks, in a stable order; a symlink is never followed."""
    for folder, folders, names in os.walk(source, onerror=_fail):
        ignored = IGNORED | IGNORED_AT_TOP if Path(folder) == source else IGNORED
        links = [n for n in folders if (Path(folder) / n).is_symlink()]
        folders[:] = sorted(
            n for n in folders if n not in ignored and not n.endswith(".egg-info") and n not in links
        )
        for name in sorted([*names, *links]):
            path = Path(folder) / name
            if (
                name not in ignored
                and not name.endswith((".pyc", ".pyo"))
                and (path.is_symlink() or path.is_file())
            ):
                yield path


def _fail(problem: OSError) -> None:
    raise problem
