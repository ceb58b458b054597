"""Folders of a job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def place(environ: Mapping[str, str], name: str) -> Path:
    """A folder of this job, outside the repository."""
    return Path(environ.get("RUNNER_TEMP") or "/tmp").absolute() / "py-portable" / name
