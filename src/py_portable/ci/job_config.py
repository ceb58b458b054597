"""A config in a job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Project:
    """A config, as it is called from where the job begins, and its dist/, absolute."""

    config: str
    dist: Path
