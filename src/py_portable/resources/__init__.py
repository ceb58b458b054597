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
def sha256(name: str) -> str:
    return hashlib.sha256(path(name).read_bytes()).hexdigest()
