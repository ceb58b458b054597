"""Before a cell is reported as failed, the files it was started from are hashed. If one is damaged, it is made again
and the cell is repeated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from py_portable.evidence.typed import CellResult
from py_portable.plan.cell import CellId
from py_portable.prove import cell_runs
from py_portable.prove.bench import Bench, Cell, Tell

_log = logging.getLogger(__name__)
_BLAMED = ("FAIL", "XPASS", "UNPROVEN")


def run(
    cells: Sequence[Cell], bench: Bench, tell: Tell, anew: Callable[[], Sequence[Cell]]
) -> list[CellResult]:
    """Runs the cells, and repeats those whose image, interpreter or artifact was damaged in the store.

    `anew` makes what is missing in the store again and gives the same cells. A start from something damaged is
    neither reported nor remembered.
    """
    watch = _Watch(bench, tell, {cell.id: cell for cell in cells})
    results = cell_runs.run(cells, bench, watch)
    if not watch.damaged:
        return results
    redo = {cell.id for cell in cells if watch.damaged & _keys(cell, bench)}
    redo -= {result.id for result in results if result.cached}
    for cell, memory in bench.kept:
        if cell.id in redo:
            memory.forget()
    again = cell_runs.run([cell for cell in anew() if cell.id in redo], bench, tell)
    fresh = {result.id: result for result in again}
    found = (fresh.get(result.id) if result.id in redo else result for result in results)
    return [result for result in found if result]


@dataclass
class _Watch:
    """Holds back the report of a cell until it is known whether its files were damaged."""

    bench: Bench
    tell: Tell
    cells: dict[CellId, Cell]
    damaged: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    def __call__(self, result: CellResult) -> None:
        cell = self.cells[result.id]
        if result.verdict in _BLAMED and cell.image is not None:
            keys = _keys(cell, self.bench)
            for key in sorted(keys - self.seen):
                self.seen.add(key)
                found = self.bench.store.examine(key)
                if found.state == "damaged":
                    _log.warning("%s; it is made again now", found.told())
                if found.state in ("damaged", "gone"):
                    self.damaged.add(key)
            if keys & self.damaged:
                return
        self.tell(result)


def _keys(cell: Cell, bench: Bench) -> set[str]:
    """The keys of the objects in the store from which the cell is started."""
    paths = [*cell.start.sources, bench.helpers]
    if cell.image:
        paths.append(cell.image.root)
    if cell.made and cell.made.stored:
        paths.append(cell.made.stored)
    return {key for path in paths if (key := bench.store.key_of(path))}
