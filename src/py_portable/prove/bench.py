"""A cell that can be started, and what all cells of a run share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from py_portable.config import Smoke
from py_portable.engines.engine import Engine, EngineInfo
from py_portable.evidence.typed import CellResult
from py_portable.formats import Made, Start
from py_portable.images import Image
from py_portable.plan.cell import CellId, ConditionId
from py_portable.prove.accounts import ACCOUNT, Accounts
from py_portable.prove.memory import Memory
from py_portable.store import Store


@dataclass(frozen=True)
class Cell:
    """One start that is to be made. `image` is None if the image is not available: `unavailable` says why."""

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
    """The reason in one word, if something is unavailable."""
    control: str | None = None
    asked: str | None = None
    """The digest of its question, see `plan.asked`."""
    measured_floor: str | None = None
    """The newest glibc that any ELF file of the artifact needs."""
    made: Made | None = None
    """The artifact. The file that is started is a copy to which nobody else can write, or the one in the store."""
    named: Start | None = None
    """If a copy is started: the same start with the user's own path, for the command that repeats it by hand."""

    @property
    def id(self) -> CellId:
        condition = ConditionId(self.control, control=True) if self.control else ConditionId(self.condition)
        return CellId(self.artifact, self.image_name, condition, self.smoke.args)


@dataclass(frozen=True)
class Bench:
    """The things that all cells of a run share."""

    engine: Engine
    info: EngineInfo
    helpers: Path
    store: Store
    cpu_flags: str
    logs: Path
    keep: bool = False
    """Whether the engine keeps the files of a cell that failed, so that the user can look at them."""
    kept: list[tuple[Cell, Memory]] = field(default_factory=list)
    """The results that this run remembers. They are forgotten if they turn out to come from something damaged."""

    @functools.cached_property
    def accounts(self) -> Accounts:
        return Accounts(self.store, self.engine, self.helpers, able=ACCOUNT not in self.info.lacks)


Tell = Callable[[CellResult], None]
