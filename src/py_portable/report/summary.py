"""The parts of the evidence that a report shows, in order: failures in groups, the folded matrix, what is
unproven."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from py_portable.evidence.conclude import BAD, Conclusions, beyond_cells
from py_portable.evidence.typed import CellRow, Evidence
from py_portable.plan.cell import is_control

MOST_COMMAND = 2000
"""Characters: half a command is worse than none."""
WORST_FIRST = ("FAIL", "XPASS", "UNPROVEN", "XFAIL", "NOT-APPLICABLE", "PASS")


@dataclass(frozen=True)
class Group:
    """The cells of one artifact with the same verdict for the same reason: one thing to correct, however often it
    occurred."""

    cells: tuple[CellRow, ...]

    @property
    def first(self) -> CellRow:
        return self.cells[0]

    @property
    def places(self) -> tuple[str, ...]:
        """Images, each with the conditions other than plain."""
        found: dict[str, list[str]] = {}
        for cell in self.cells:
            found.setdefault(cell["image"], []).append(cell["condition"])
        return tuple(
            image if set(names) == {"plain"} else f"{image} ({', '.join(dict.fromkeys(names))})"
            for image, names in found.items()
        )


@dataclass(frozen=True)
class Lost:
    """The artifacts that were not built because one step failed, and the message of the step."""

    artifacts: tuple[str, ...]
    tail: str


@dataclass(frozen=True)
class Findings:
    """All that a report needs. `problems`: those that are not just the one of a cell. `config`: how the config is
    called in commands; empty where nothing tells. `lost`: one for each step that failed."""

    evidence: Evidence
    conclusions: Conclusions
    failures: tuple[Group, ...]
    unproven: tuple[Group, ...]
    problems: tuple[str, ...]
    config: str
    lost: tuple[Lost, ...] = ()

    @property
    def cells(self) -> Sequence[CellRow]:
        cells: Sequence[CellRow] = self.evidence.get("cells", ())
        return cells


def find(evidence: Evidence, conclusions: Conclusions, config: str | None = None) -> Findings:
    """`config`: the path of the config for the reader; if None, commands are for its folder."""
    cells = evidence.get("cells", ())
    own = [cell for cell in cells if not is_control(cell)]
    return Findings(
        evidence,
        conclusions,
        _grouped((c for c in own if c["verdict"] in BAD), ("artifact", "verdict", "reason", "detail")),
        _grouped((c for c in own if c["verdict"] == "UNPROVEN"), ("reason", "detail")),
        beyond_cells(conclusions, cells),
        config or text(of(evidence.get("config"), "file")),
        _lost(evidence),
    )


def _lost(evidence: Evidence) -> tuple[Lost, ...]:
    by_tail: dict[str, list[str]] = {}
    for row in evidence.get("failures", ()):
        if tail := text(row.get("tail")):
            by_tail.setdefault(tail, []).append(row["name"])
    return tuple(Lost(tuple(names), tail) for tail, names in by_tail.items())


def _grouped(cells: Iterable[CellRow], keys: tuple[str, ...]) -> tuple[Group, ...]:
    groups: dict[str, list[CellRow]] = {}
    for cell in cells:
        groups.setdefault(json.dumps([cell.get(key) for key in keys]), []).append(cell)
    return tuple(Group(tuple(_plain_first(group))) for group in groups.values())


def _plain_first(cells: Sequence[CellRow]) -> list[CellRow]:
    return sorted(cells, key=lambda cell: cell["condition"] != "plain")


def folded(cells: Sequence[CellRow]) -> str:
    """All conditions of an artifact on an image as one word: the worst verdict, and how many of how many."""
    verdicts = [cell["verdict"] for cell in cells]
    worst = min(verdicts, key=WORST_FIRST.index)
    count = verdicts.count(worst)
    if count < len(verdicts):
        return f"{worst} {count} of {len(verdicts)}"
    return worst if count == 1 else f"{worst} ({count})"


def again(cell: CellRow, config: str) -> tuple[str, ...]:
    """Command lines that do a cell again: the kit's, on any machine, and the one of the run, where it has one."""
    by_hand = text(cell.get("reproduce"))
    if len(by_hand) > MOST_COMMAND:
        by_hand = ""
    if not config:
        return (by_hand,) if by_hand else ()
    words = [*_kit("portability", config), "--artifact", cell["artifact"]]
    # Controls are started with the whole of an artifact's matrix only.
    if not is_control(cell):
        probes = "none" if cell["condition"] == "plain" else cell["condition"]
        words += ["--image", cell["image"], "--probes", probes]
    kit = (shlex.join(words),)
    return (*kit, *((by_hand,) if by_hand else ()))


def build_again(lost: Lost, config: str) -> str:
    """Empty where nothing tells how the config is called."""
    return shlex.join([*_kit("build", config), *lost.artifacts]) if config else ""


def _kit(command: str, config: str) -> list[str]:
    return ["py-portable", command, *([] if config == "portable.yaml" else ["--config", config])]


def text(value: Any) -> str:
    """A text from evidence; empty if there is none."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def of(told: Any, name: str) -> Any:
    """A value from what should be an object; None if it is not an object."""
    return told.get(name) if isinstance(told, Mapping) else None


def why(cell: CellRow) -> str:
    return text(cell.get("detail")) or text(cell.get("reason"))


def number(value: Any, digits: int = 2) -> str:
    """A number from evidence; `-` if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}f}"
