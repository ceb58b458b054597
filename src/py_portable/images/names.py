"""What is known by a name: small files that lead to entries of the store."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from py_portable.base.atomic import write_whole

KEY = re.compile(r"[0-9a-f]{64}")
"""What both a name's file and what stands in it look like."""
NAMES = ("images", "derived")
"""The store's caches that hold names of images."""


class Names:
    """Small files that name store keys. Losing one costs a bootstrap, nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, name: str) -> Path:
        return self._folder / hashlib.sha256(name.encode()).hexdigest()

    def get(self, name: str) -> str | None:
        try:
            text = self._path(name).read_text("ascii")
        except (OSError, ValueError):
            return None
        return text if KEY.fullmatch(text) else None

    def set(self, name: str, key: str) -> None:
        if self.get(name) == key:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(name), key)
