"""How much of the matrix a run does."""

from __future__ import annotations

from typing import Final

RELEASE: Final = "release"
"""The tier that runs the whole matrix."""
PR: Final = "pr"
"""The tier without probes and controls."""
