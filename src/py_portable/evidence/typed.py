"""Types of evidence, as in `schemas/evidence.schema.json`, and the keys that identify its rows.

Rows stay the mappings that were read, so that what a newer kit wrote is kept. What is required is without what nothing
can be said of a row; the rest may be missing in what an older kit wrote. Which keys those are is known at run time, so
annotations are no texts here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from py_portable.evidence.stage_results import StageResult
from py_portable.plan.cell import CellId

SCHEMA = 1
MISSING = "shard"
"""The reason for a cell of the plan for which no shard has a record."""
STALE = "stale"
"""The reason for a cell whose record answers another question than the config asks now."""


class KitRow(TypedDict, total=False):
    version: str


class ConfigRow(TypedDict):
    file: NotRequired[str]
    sha256: str


class HostRow(TypedDict, total=False):
    os: str
    kernel: str
    cpu_flags: str
    engine: str
    engine_reason: str
    isolation: str
    lacks: list[str]
    builds: list[Any]


class BaselineRow(TypedDict, total=False):
    name: str
    image: str
    identity: str
    source: str
    glibc: str | None
    archive: str
    checked: list[str]
    unknown: list[Any]


class InterpreterRow(TypedDict, total=False):
    version: str
    provider: str
    baseline: str
    sha256: str
    image: str | None
    libraries: Any


class WheelRow(TypedDict, total=False):
    file: str
    place: str
    sha256: str
    tags: list[str]
    origin: str
    claimed_floor: str | None
    measured_floor: str | None


class ArtifactRow(TypedDict):
    name: str
    sha256: str
    format: NotRequired[str]
    path: NotRequired[str]
    mode: NotRequired[str]
    bytes: NotRequired[int]
    arch: NotRequired[str | None]
    interpreter: NotRequired[str | None]
    measured_floor: NotRequired[str | None]
    licences: NotRequired[list[str] | None]
    seconds: NotRequired[float]
    cached: NotRequired[bool]


class FailureRow(TypedDict):
    name: str
    why: str
    tail: NotRequired[str]


class CellRow(TypedDict):
    artifact: str
    sha256: str
    image: str
    condition: str
    expect: str
    verdict: str
    argv: list[str]
    format: NotRequired[str]
    image_identity: NotRequired[str | None]
    image_source: NotRequired[str | None]
    reason: NotRequired[str | None]
    detail: NotRequired[str | None]
    install: NotRequired[str | None]
    exit_status: NotRequired[int | None]
    stdout_tail: NotRequired[str | None]
    stderr_tail: NotRequired[str | None]
    seconds: NotRequired[float | None]
    left_behind: NotRequired[int | None]
    overhead_seconds: NotRequired[float | None]
    isolation: NotRequired[str | None]
    image_glibc: NotRequired[str | None]
    optional: NotRequired[bool]
    reproduce: NotRequired[str | None]
    cached: NotRequired[bool]
    when: NotRequired[str]
    smoke: NotRequired[str | None]
    stages: NotRequired[list[Any]]
    provided: NotRequired[list[str]]
    turn: NotRequired[int]


class BenchmarkRow(TypedDict):
    artifact: str
    image: str
    format: NotRequired[str | None]
    sha256: NotRequired[str]
    against: NotRequired[str]
    args: NotRequired[list[str]]
    start: NotRequired[str]
    pairs: NotRequired[int]
    seed: NotRequired[int]
    wall_ms: NotRequired[Any]
    cpu_ms: NotRequired[Any]
    ratio: NotRequired[Any]
    cpu_ratio: NotRequired[Any]
    same: NotRequired[Any]
    noisy: NotRequired[str | None]


class StepRow(TypedDict, total=False):
    name: str
    cached: bool
    seconds: float
    log: str | None
    sandbox: list[Any]


class ShardRow(TypedDict):
    name: str
    plan: str


class Evidence(TypedDict, total=False):
    """One part, or the merge of some. `plan` has a reader of its own (`plan.shards`)."""

    schema: int
    command: str
    when: str
    turn: int
    kit: KitRow
    config: ConfigRow
    host: HostRow
    baselines: list[BaselineRow]
    interpreters: list[InterpreterRow]
    wheels: list[WheelRow]
    artifacts: list[ArtifactRow]
    failures: list[FailureRow]
    expected: list[Any]
    expected_cells: int
    cells: list[CellRow]
    benchmark: list[BenchmarkRow]
    steps: list[StepRow]
    shards: list[ShardRow]
    plan: Mapping[str, Any]
    conclusions: Mapping[str, Any]


ROWS: Mapping[str, type] = {
    "baselines": BaselineRow,
    "interpreters": InterpreterRow,
    "wheels": WheelRow,
    "artifacts": ArtifactRow,
    "failures": FailureRow,
    "cells": CellRow,
    "benchmark": BenchmarkRow,
    "steps": StepRow,
    "shards": ShardRow,
}
"""The lists of rows, each with the type of its rows."""


def _by(*keys: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda row: tuple(json.dumps(row.get(key)) for key in keys)


IDENTITY: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "baselines": _by("name"),
    "interpreters": _by("version", "provider", "baseline"),
    "wheels": _by("file", "place"),
    "artifacts": _by("name"),
    "failures": _by("name"),
    "cells": CellId.of,
    "benchmark": _by("artifact", "image", "start"),
    "steps": _by("name"),
    "shards": _by("name", "plan"),
}
"""The identity of a row: two rows of one list with the same identity describe the same thing."""


def of_control(row: FailureRow) -> bool:
    """Whether this is a control that could not be started. Such rows have the name `control NAME`."""
    return row["name"].startswith("control ")


@dataclass(frozen=True)
class CellResult:
    """One start of the app and its result, as the evidence holds it."""

    artifact: str
    format: str
    sha256: str
    image: str
    image_identity: str | None
    image_source: str | None
    condition: str
    expect: str
    verdict: str
    reason: str | None
    detail: str | None
    argv: tuple[str, ...]
    install: str | None = None
    exit_status: int | None = None
    stdout_tail: str | None = None
    stderr_tail: str | None = None
    seconds: float | None = None
    left_behind: int | None = None
    """Processes that outlived the app and were ended; -1 where they could not be seen."""
    overhead_seconds: float | None = None
    isolation: str | None = None
    image_glibc: str | None = None
    optional: bool = False
    reproduce: str | None = None
    cached: bool = False
    smoke: str | None = None
    """The digest of its question (`plan.asked`)."""
    stages: tuple[StageResult, ...] = ()
    """The stages of a package that was installed in the root, in the order in which they ran."""
    provided: tuple[str, ...] = ()
    """The packages that the image has because the artifact depends on them: name and version."""
    when: str = field(default_factory=lambda: now())

    @property
    def id(self) -> CellId:
        return CellId.of(vars(self))

    def told(self) -> CellRow:
        told = json.loads(json.dumps(asdict(self)))
        for name in ("stages", "provided"):
            if not told[name]:
                del told[name]
        return told  # type: ignore[no-any-return]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
