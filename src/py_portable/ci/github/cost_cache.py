"""Keeps the times of cells between runs: the last job puts its evidence into the cache, and the plan uses it to
balance shards."""

from __future__ import annotations

import shutil
from pathlib import Path

from py_portable.ci.github import console
from py_portable.errors import PortableError
from py_portable.evidence.reading import read

FILE = "evidence.json"


def known(folder: Path) -> Path | None:
    """The evidence from the cache. If it cannot be read, this is reported, and it is not used."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        read(path)
    except PortableError as problem:
        console.annotate("warning", f"the times of earlier cells cannot be read: {problem.what}")
        return None
    return path


def keep(found: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, folder / FILE)
