"""Pins as data, and the scripts that run inside images. Files of the package, found wherever it is installed."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent


def path(name: str) -> Path:
    """The file `name` (such as `build/cpython.sh`) of this folder."""
    return _FOLDER / name


@cache
def code_sha256(rooms: tuple[str, ...]) -> str:
    """One digest over all source files of these rooms of the package."""
    package = _FOLDER.parent
    told = hashlib.sha256()
    files = (
        path for room in rooms for suffix in ("py", "c") for path in (package / room).rglob(f"*.{suffix}")
    )
    for path in sorted(files):
        body = hashlib.sha256(path.read_bytes()).hexdigest()
        told.update(f"{path.relative_to(package).as_posix()} {body}\n".encode())
    return told.hexdigest()


@cache
def sha256(name: str) -> str:
    return hashlib.sha256(path(name).read_bytes()).hexdigest()
