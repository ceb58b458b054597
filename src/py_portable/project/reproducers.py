"""The long commands that repeat failures, written into scripts, so that the lines that name them stay readable."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import replace
from pathlib import Path

from py_portable.evidence.conclude import BAD
from py_portable.evidence.typed import CellResult

_MOST_CHARS = 80


def written(result: CellResult, folder: Path) -> CellResult:
    """The result with a command that starts a script in `folder`, if it is a failure that can be repeated by hand."""
    if not result.reproduce or result.verdict not in BAD:
        return result
    folder.mkdir(parents=True, exist_ok=True)
    about = f"{result.artifact} {result.image} {result.condition} {' '.join(result.argv)}"
    name = re.sub(r"[^A-Za-z0-9.]+", "-", about).strip("-")[:_MOST_CHARS]
    digest = hashlib.sha256(f"{about} {result.sha256}".encode()).hexdigest()[:8]
    path = folder / f"{name}-{digest}.sh"
    path.write_text(f"#!/bin/sh\nexec {result.reproduce}\n")
    path.chmod(0o755)
    return replace(result, reproduce=shlex.join(["sh", str(path)]))
