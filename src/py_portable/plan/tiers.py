"""How much of the matrix a run does."""

from __future__ import annotations

from typing import Final

RELEASE: Final = "release"
"""All of it."""
PR: Final = "pr"
"""Neither probes nor controls."""
