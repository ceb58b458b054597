"""How long a cell takes, estimated from earlier evidence if there is some. Pure.

Costs are whole milliseconds in coarse steps: their sums don't depend on the order, and a start that takes a few
milliseconds more than yesterday does not change the shards.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from py_portable.plan.cell import CellId, PlannedCell

STEP_MS = 250
DEFAULT_MS = 1000
"""The cost of a cell about which nothing is known."""
_MOST_SECONDS = 86_400.0


def costs(cells: Iterable[PlannedCell], evidence: Mapping[str, Any] | None = None) -> dict[CellId, int]:
    """Cell -> milliseconds, a multiple of STEP_MS and at least that.

    A cell without a record costs the median of its artifact's records, or else the median of all records.
    `evidence` may hold anything that `evidence.read` lets pass.
    """
    seen = {}
    by_artifact: dict[str, list[float]] = {}
    for row in (evidence or {}).get("cells", ()):
        seconds = [row.get(name) for name in ("seconds", "overhead_seconds")]
        if _is_time(seconds[0]):
            took = sum(1000.0 * s for s in seconds if _is_time(s))
            seen[CellId.of(row)] = took
            by_artifact.setdefault(row["artifact"], []).append(took)
    typical = {name: statistics.median(sorted(times)) for name, times in by_artifact.items()}
    usual = statistics.median(sorted(seen.values())) if seen else float(DEFAULT_MS)
    return {c.id: _stepped(seen.get(c.id, typical.get(c.artifact, usual))) for c in cells}


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_SECONDS


def _stepped(ms: float) -> int:
    return max(1, -(-int(ms) // STEP_MS)) * STEP_MS
