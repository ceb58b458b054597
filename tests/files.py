"""Walks folders that other workers change meanwhile: what goes away while it is looked at holds nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def regular_files(*folders: Path, since: float = 0.0) -> Iterator[Path]:
    """The regular files below; of links neither the file nor the folder. `since`: seconds since the epoch; what was
    written, renamed or linked last before that is left out."""
    for folder in folders:
        for above, _, names in os.walk(folder):
            for name in names:
                path = Path(above, name)
                try:
                    found = path.lstat()
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(found.st_mode) and found.st_ctime >= since:
                    yield path


def content(path: Path) -> bytes:
    """b"" of a file that is gone."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
