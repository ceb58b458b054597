"""Makes the result of a cell from the results of the stages around its start. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from py_portable.evidence.stage_results import Name, StageResult
from py_portable.evidence.typed import CellResult
from py_portable.prove.bench import Cell
from py_portable.prove.install import Installed, finding_of_install, tells_of_all
from py_portable.prove.judge import judge

MOST_SHOWN = 5
"""The largest number of paths that a detail names of each kind."""


@dataclass(frozen=True)
class Later:
    """The problem of a stage after the first start."""

    stage: Name
    status: Literal["failed", "unproven"]
    why: str


def with_installation(result: CellResult, cell: Cell, installed: Installed, tail_chars: int) -> CellResult:
    """The result with the outcome of the installation. If its `install` is not "done", it also has the verdict."""
    if cell.start.install and cell.start.install.target is None:
        result = replace(result, stages=installed.stages if tells_of_all(cell) else installed.stages[:1])
    match installed.first.status:
        case "done":
            return replace(result, install="done")
        case "unproven":
            reason = "image" if installed.unknowing else "engine"
            return replace(result, reason=reason, detail=installed.first.detail)
    judged = judge(finding_of_install(installed.first.detail or "", cell.start.install), cell.expect)
    return replace(
        result,
        verdict=judged.verdict,
        reason=judged.reason,
        detail=judged.detail,
        install="failed",
        stderr_tail=installed.said[-tail_chars:],
    )


def with_later(
    result: CellResult,
    installed: Installed,
    start: Later | None,
    tail_chars: int,
    *,
    clean: bool = False,
    own: frozenset[str] = frozenset(),
) -> CellResult:
    """The result of a PASS after the later stages. `start`: the problem of the start after the upgrade; `clean` and
    `own`: see `formats.format.Install`."""
    if start:
        return _worse(result, start)
    # What a lint tool finds is the least of all.
    for one in sorted(installed.stages[1:], key=lambda stage: stage.stage == "lint"):
        if one.status != "done":
            result = _worse(result, Later(one.stage, one.status, one.detail or ""))
            return replace(result, stderr_tail=installed.said[-tail_chars:])
    if not installed.stages:
        return result
    last = installed.stages[-1]
    if not clean:
        last = replace(last, left=(), changed=tuple(one for one in last.changed if _is_of(one, own)), more=0)
    if residue := _residue(last):
        return replace(result, verdict="FAIL", reason="residue", detail=residue)
    return result


def _is_of(path: str, own: frozenset[str]) -> bool:
    """Whether a changed file is one of the package's; /bin and its like may be links to those in /usr."""
    return path in own or path.removeprefix("/usr") in own


def _residue(last: StageResult) -> str | None:
    """What a package left or changed in the image, in a sentence; None if nothing."""
    told = [("leaves", last.left), ("changes files of the image", last.changed)]
    said = [f"{what}: {', '.join(paths[:MOST_SHOWN])}" for what, paths in told if paths]
    more = last.more + sum(max(0, len(paths) - MOST_SHOWN) for _, paths in told)
    return f"its removal {' and '.join(said)}{f' and {more} more' if more else ''}" if said else None


def _worse(result: CellResult, later: Later) -> CellResult:
    stages = tuple(
        replace(one, status=later.status, detail=later.why) if one.stage == later.stage else one
        for one in result.stages
    )
    failed = later.status == "failed"
    return replace(
        result,
        stages=stages,
        verdict="FAIL" if failed else "UNPROVEN",
        reason=later.stage if failed else "engine",
        detail=f"the stage {later.stage} {'failed' if failed else 'could not be run'}: {later.why}",
    )
