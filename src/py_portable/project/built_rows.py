"""What `build` writes into the evidence: rows of baselines, interpreters, artifacts and steps."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from py_portable.base import printable
from py_portable.base.redact import hide
from py_portable.config import Artifact
from py_portable.errors import TAIL_LINES, PortableError
from py_portable.evidence.typed import (
    ArtifactRow,
    BaselineRow,
    Evidence,
    FailureRow,
    InterpreterRow,
    StepRow,
    WheelRow,
)
from py_portable.formats import Made
from py_portable.images import Image
from py_portable.inspect.elf.floor import measure
from py_portable.plan.assemble import Plan
from py_portable.plan.ground import baseline_node
from py_portable.project.session import Session
from py_portable.steps.context import Result
from py_portable.steps.graph import Node, Step
from py_portable.steps.identity import NodeId
from py_portable.steps.runner import Report, cause_of
from py_portable.wheels.rows import wheel_rows

TAIL_WIDTH = 240


def part(
    session: Session,
    plan: Plan,
    report: Report,
    artifacts: Sequence[ArtifactRow],
    failures: Mapping[NodeId, PortableError],
) -> Evidence:
    """The part of the evidence that this run of `build` writes; `artifacts` are rows of `artifact_row`."""
    results: Mapping[object, Result] = {str(node): result for node, result in report.results.items()}
    return {
        **session.told(),
        "baselines": _baselines(session, report),
        "interpreters": _interpreters(plan, report),
        "wheels": cast(list[WheelRow], wheel_rows(report.results)),
        "artifacts": list(artifacts),
        "failures": failure_rows(plan, failures),
        "steps": [
            cast(StepRow, {**step, **_of_step(results.get(step["name"]))}) for step in session.talk.steps
        ],
    }


def failure_rows(plan: Plan, failures: Mapping[NodeId, PortableError]) -> list[FailureRow]:
    """One row for each artifact that was asked for and was not built."""
    found = {name: failures.get(node or NodeId("artifact", name)) for name, node in plan.artifacts.items()}
    return [_failure(name, problem, failures) for name, problem in found.items() if problem]


def _failure(name: str, problem: PortableError, failures: Mapping[NodeId, PortableError]) -> FailureRow:
    """The cause of a failure and the last lines of its step, for readers of the evidence who have no terminal or
    log."""
    cause = cause_of(problem, failures)
    problem = failures[cause] if cause else problem
    # Without where it was: that is a folder of this machine.
    why = hide(
        f"{cause}: {problem.what}" if cause and not problem.what.startswith(str(cause)) else problem.what
    )
    said = printable.last(hide(problem.tail or ""), TAIL_LINES, TAIL_WIDTH)
    return {"name": name, "why": why, "tail": "\n".join(said)} if said else {"name": name, "why": why}


def artifact_row(artifact: Artifact, made: Made, report: Report, node: NodeId | None) -> ArtifactRow:
    """The row of an artifact; `node` is None if it was made elsewhere."""
    result = report.results[node] if node else None
    path = made.stored or made.path
    floor = made.meta["measured_floor"] if "measured_floor" in made.meta else measure(path).floor
    row: ArtifactRow = {
        "name": artifact.name,
        "format": artifact.format,
        "path": str(made.path),
        "sha256": made.sha256,
        "bytes": _bytes(path),
        "arch": None if artifact.path else platform.machine(),
        "interpreter": artifact.python,
        "measured_floor": floor,
        "licences": None,
        "seconds": round(result.seconds, 3) if result else 0.0,
        "cached": result.cached if result else False,
    }
    if made.mode is not None:
        row["mode"] = f"{made.mode:04o}"
    return row


def _bytes(path: Path) -> int:
    """The size of a file, or of everything in a folder. A link counts with its own size."""
    if not path.is_dir():
        return path.lstat().st_size
    total, waiting = 0, [os.fspath(path)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def _baselines(session: Session, report: Report) -> list[BaselineRow]:
    return [
        {
            "name": name,
            "image": image.name,
            "identity": image.identity,
            "source": image.source,
            "glibc": image.glibc,
            **({"archive": image.archive} if image.archive else {}),
            **_known(image),
        }
        for name in session.config.baselines
        if (image := report.images.get(baseline_node(name)))
    ]


def _known(image: Image) -> BaselineRow:
    """What was compared between a container and the image that it should be, and what could not be compared, and
    why."""
    if image.found is None:
        return {}
    unknown = [{"aspect": name, "reason": reason} for name, reason in sorted(image.found.unknown.items())]
    return {"checked": list(image.found.checked), "unknown": unknown}


def _interpreters(plan: Plan, report: Report) -> list[InterpreterRow]:
    return [
        {
            "version": result.meta["version"],
            "provider": result.meta["provider"],
            "baseline": node.house.baseline,
            "sha256": result.digest,
            "image": _identity(plan.nodes[node], report),
            **({"libraries": result.meta["libraries"]} if result.meta.get("libraries") else {}),
        }
        for node, result in report.results.items()
        if node.kind == "interpreter" and node.house
    ]


def _identity(node: Node, report: Report) -> str | None:
    """The identity of the root file system in which the step ran."""
    image = report.images.get(node.image) if isinstance(node, Step) and node.image else None
    return image.identity if image else None


def _of_step(result: Result | None) -> StepRow:
    """The log of the step, and what was observed of its sandbox when it was made, which may be an earlier run."""
    row: StepRow = {"log": str(result.log) if result and result.log else None}
    return {**row, "sandbox": result.meta["sandbox"]} if result and "sandbox" in result.meta else row
