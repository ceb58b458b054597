"""Makes conclusions from evidence: floors, controls, gates and the one verdict. Pure; reports read only this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from py_portable.evidence.typed import CellRow, Evidence, FailureRow
from py_portable.plan.cell import CellId, is_control
from py_portable.plan.verdicts import reason_expected

BAD = ("FAIL", "XPASS")


@dataclass(frozen=True)
class Proven:
    """The lowest glibc an artifact was seen to start on, with nothing failing at or above it."""

    floor: str | None
    holes: tuple[str, ...] = ()
    """Images at or above the floor that have no PASS."""


@dataclass(frozen=True)
class ControlOutcome:
    name: str
    artifact: str
    verdict: Literal["XFAIL", "XPASS", "UNPROVEN"]
    detail: str


@dataclass(frozen=True)
class Conclusions:
    proven: Mapping[str, Proven]
    measured: Mapping[str, str | None]
    controls: tuple[ControlOutcome, ...]
    problems: tuple[str, ...]
    """One sentence for each thing that does not hold; empty when all is as expected."""
    counts: Mapping[str, int]

    @property
    def verdict(self) -> str:
        return "FAIL" if self.problems else "PASS"

    def told(self) -> dict[str, Any]:
        return {
            "proven_floor": {name: p.floor for name, p in sorted(self.proven.items())},
            "holes": {name: list(p.holes) for name, p in sorted(self.proven.items()) if p.holes},
            "measured_floor": dict(sorted(self.measured.items())),
            "controls": [vars(c) for c in self.controls],
            "properties": None,
            "gates": None,
            "problems": list(self.problems),
            "counts": dict(self.counts),
            "verdict": self.verdict,
        }


def conclude(evidence: Evidence, *, allow_unproven: bool = False) -> Conclusions:
    """`allow_unproven`: cells and controls that show nothing are not a problem."""
    cells = evidence.get("cells", [])
    artifacts = {a["name"]: a for a in evidence.get("artifacts", [])}
    own = [c for c in cells if not is_control(c)]
    proven = {name: proven_floor([c for c in own if c["artifact"] == name]) for name in artifacts}
    measured = {name: a.get("measured_floor") for name, a in artifacts.items()}
    controls = control_outcomes(cells)
    # First what the others may come of.
    problems = [not_there(row) for row in evidence.get("failures", ())]
    problems += [_problem(c) for c in own if c["verdict"] in BAD]
    problems += [
        _problem(c)
        for c in own
        if c["verdict"] == "UNPROVEN"
        and c.get("reason") != "shard"
        and not c.get("optional")
        and not allow_unproven
    ]
    problems += [] if allow_unproven else _missing(cells)
    problems += [
        f"control {c.name} of {c.artifact}: {c.verdict}: {c.detail}"
        for c in controls
        if c.verdict == "XPASS" or (c.verdict == "UNPROVEN" and not allow_unproven)
    ]
    for name in sorted(artifacts):
        if not any(c["verdict"] == "PASS" for c in own if c["artifact"] == name):
            problems.append(f"{name} has no PASS")
    for name, floor in measured.items():
        seen = proven[name].floor
        if floor and seen and _version(seen) < _version(floor):
            problems.append(f"{name} started on glibc {seen}, which is below its measured floor {floor}")
    seen_cells = {CellId.of(c) for c in cells}
    lost = {f["name"] for f in evidence.get("failures", ())}
    unseen = [
        f"{cell}: this cell was not started"
        for cell in map(CellId.read, evidence.get("expected", ()))
        # That one was not built says it of all its cells.
        if cell.artifact not in lost and cell not in seen_cells
    ]
    problems += dict.fromkeys(unseen)
    if not artifacts and not cells and not problems:
        problems.append("nothing was built, and nothing was started")
    counts: dict[str, int] = {}
    for cell in cells:
        counts[cell["verdict"]] = counts.get(cell["verdict"], 0) + 1
    return Conclusions(proven, measured, controls, tuple(problems), counts)


def not_there(failure: FailureRow) -> str:
    """The problem for a row of `failures`."""
    return f"{failure['name']}: {failure['why']}"


def _missing(cells: Sequence[CellRow]) -> list[str]:
    """One sentence for each reason, not for each cell: a lost shard may have had hundreds. They count also for an
    optional image, because the job was lost, not the image."""
    counts: dict[str, int] = {}
    for cell in cells:
        if cell.get("reason") == "shard":
            counts[str(cell.get("detail"))] = counts.get(str(cell.get("detail")), 0) + 1
    return [f"{detail}: {count} UNPROVEN" for detail, count in sorted(counts.items())]


def proven_floor(cells: Sequence[CellRow]) -> Proven:
    """Over the cells of one artifact that were expected to pass."""
    by_glibc: dict[str, list[CellRow]] = {}
    for cell in cells:
        if (glibc := cell.get("image_glibc")) and cell["expect"] == "pass":
            by_glibc.setdefault(glibc, []).append(cell)
    floor: str | None = None
    holes: list[str] = []
    unsure: list[str] = []
    for glibc in sorted(by_glibc, key=_version, reverse=True):
        if any(c["verdict"] == "FAIL" for c in by_glibc[glibc]):
            break
        open_images = {c["image"] for c in by_glibc[glibc] if c["verdict"] == "UNPROVEN"}
        passed = {c["image"] for c in by_glibc[glibc] if c["verdict"] == "PASS"} - open_images
        unsure += sorted({c["image"] for c in by_glibc[glibc]} - passed)
        if any(c["verdict"] == "PASS" for c in by_glibc[glibc]):
            floor = glibc
            holes += unsure
            unsure = []
    return Proven(floor, tuple(holes))


def control_outcomes(cells: Sequence[CellRow]) -> tuple[ControlOutcome, ...]:
    """A control holds only when its cell failed for its reason and its twin passed."""
    pairs: dict[tuple[str, str], list[CellRow]] = {}
    for cell in cells:
        condition = CellId.of(cell).condition
        if condition.control:
            pairs.setdefault((condition.name, cell["artifact"]), []).append(cell)
    return tuple(_control(name, artifact, pair) for (name, artifact), pair in sorted(pairs.items()))


def _control(name: str, artifact: str, pair: Sequence[CellRow]) -> ControlOutcome:
    must_fail = [c for c in pair if reason_expected(c["expect"])]
    twins = [c for c in pair if not reason_expected(c["expect"])]
    if any(c["verdict"] == "XPASS" for c in must_fail):
        cell = next(c for c in must_fail if c["verdict"] == "XPASS")
        return ControlOutcome(name, artifact, "XPASS", f"it passed on {cell['image']}, where it must fail")
    for cell in (*must_fail, *twins):
        if cell["verdict"] not in ("XFAIL", "PASS"):
            why = f"{cell['verdict']} on {cell['image']}: {cell.get('detail') or cell.get('reason')}"
            return ControlOutcome(name, artifact, "UNPROVEN", f"control inconclusive: {why}")
    if not must_fail or not twins:
        return ControlOutcome(
            name, artifact, "UNPROVEN", "control inconclusive: one of its two cells was not run"
        )
    if len({c["sha256"] for c in pair}) > 1:
        return ControlOutcome(
            name, artifact, "UNPROVEN", "control inconclusive: its two cells started different files"
        )
    where = ", ".join(f"{c.get('detail')} on {c['image']}" for c in must_fail)
    passes = ", ".join(f"{c['image']}{_asked(c, must_fail[0])}" for c in twins)
    return ControlOutcome(name, artifact, "XFAIL", f"{where}; passes on {passes}")


def _asked(twin: CellRow, control: CellRow) -> str:
    """The words by which alone the start of a twin is another one."""
    more = len(twin["argv"]) - len(control["argv"])
    return f" with {' '.join(twin['argv'][:more])}" if more > 0 else ""


def _problem(cell: CellRow) -> str:
    where = "" if cell["condition"] == "plain" else f" ({cell['condition']})"
    why = cell.get("detail") or cell.get("reason")
    return f"{cell['artifact']} on {cell['image']}{where}: {cell['verdict']}: {why}"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


def beyond_cells(conclusions: Conclusions, cells: Iterable[CellRow]) -> tuple[str, ...]:
    """The problems that do not belong to a single cell. A report that shows its cells need not repeat the others."""
    known = {_problem(cell) for cell in cells if not is_control(cell)}
    return tuple(problem for problem in conclusions.problems if problem not in known)
