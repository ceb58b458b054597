"""What a cell is, and what all cells of a run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from py_portable.config import Smoke
from py_portable.engines.engine import Engine, EngineInfo
from py_portable.evidence.typed import CellResult
from py_portable.formats import Made, Start
from py_portable.images import Image
from py_portable.plan.cell import CellId, ConditionId
from py_portable.prove.memory import Memory
from py_portable.store import Store


@dataclass(frozen=True)
class Cell:
    """One start to be made. `image` is None where it cannot be had: `unavailable` says why."""

    artifact: str
    format: str
    sha256: str
    start: Start
    smoke: Smoke
    image_name: str
    image: Image | None
    condition: str
    expect: str
    optional: bool = False
    unavailable: str | None = None
    lacks: str = "image"
    """The reason, one word, where something is unavailable."""
    control: str | None = None
    asked: str | None = None
    """The digest of what is asked of it, see `plan.asked`."""
    measured_floor: str | None = None
    """The newest glibc that any ELF file of the artifact asks for."""
    made: Made | None = None
    """What `start` is of. Started is a copy of it that nobody else can write to, or the store's own."""
    named: Start | None = None
    """Of a cell that starts such a copy: the start of what the user knows, to be done again by hand."""

    @property
    def id(self) -> CellId:
        condition = ConditionId(self.control, control=True) if self.control else ConditionId(self.condition)
        return CellId(self.artifact, self.image_name, condition, self.smoke.args)


@dataclass(frozen=True)
class Bench:
    """What all cells of a run share."""

    engine: Engine
    info: EngineInfo
    helpers: Path
    store: Store
    cpu_flags: str
    logs: Path
    keep: bool = False
    """Whether an engine keeps what there is to look at of a cell that failed."""
    kept: list[tuple[Cell, Memory]] = field(default_factory=list)
    """What this run remembers: to be forgotten where it turns out to be seen on something damaged."""


Tell = Callable[[CellResult], None]
