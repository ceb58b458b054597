"""The config of a job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Project:
    """A config, by its path from the folder where the job starts, and its dist/ as an absolute path."""

    config: str
    dist: Path
