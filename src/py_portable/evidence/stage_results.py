"""The results of the stages of an installation, as a cell of the evidence holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Name = Literal["install", "lint", "upgrade", "remove", "purge"]
MOST_PATHS = 1000
"""The largest number of paths in one list, because a package may leave any number of files."""


@dataclass(frozen=True)
class StageResult:
    """`unproven`: it could not be run, for a reason of the engine. `seconds` of the whole call.

    Of the last of `remove` and `purge`, against the image before the package came: `left` are the paths that were not
    there, `changed` those of files that were rewritten or are gone, `manager` both of them where they are the package
    manager's own, or of the tools that it calls (databases, logs, caches, backups). `more`: how many paths these lists
    had no room for.

    Of `lint`: `detail` says which tool of which version found how much, `errors` and `warnings` what.
    """

    stage: Name
    status: Literal["done", "failed", "unproven"]
    seconds: float
    detail: str | None = None
    left: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    manager: tuple[str, ...] = ()
    more: int = 0
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def remembered(told: Any) -> tuple[StageResult, ...]:
    """Reads what `CellResult.told` wrote. Raises TypeError, KeyError."""
    return tuple(_one(row) for row in told)


def _one(row: Mapping[str, Any]) -> StageResult:
    lists = {name: tuple(row[name]) for name in ("left", "changed", "manager", "errors", "warnings")}
    return StageResult(**{**row, **lists})
