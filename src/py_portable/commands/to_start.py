"""Connects the plan's cells with what was built: what each cell starts, or why it cannot be started."""

from __future__ import annotations

from dataclasses import dataclass, replace

from py_portable.config import Config
from py_portable.formats import FORMATS, Made, Start
from py_portable.images import Image
from py_portable.plan.asked import question
from py_portable.plan.assemble import image_node
from py_portable.plan.cell import PlannedCell
from py_portable.plan.matrix import Control
from py_portable.project import building
from py_portable.project.session import Session
from py_portable.prove.bench import Cell
from py_portable.steps.identity import NodeId
from py_portable.store import digest, file_mode


def cells(session: Session, built: building.Built) -> list[Cell]:
    """The cells of the plan with the artifacts that were built. Artifacts that failed have no cells."""
    subjects = {name: _subject(built, made) for name, made in built.made.items()}
    subjects |= {name: _not_here(built, name) for name in built.lacking}
    controls = {(c.name, c.artifact): _control(session, built, c) for c in built.plan.controls}
    found = []
    for cell in built.plan.cells:
        control = cell.control
        # Cells of an artifact that was not built are told by its failure.
        if control is None:
            subject = subjects.get(cell.artifact)
        else:
            subject = controls.get((control, cell.artifact)) or _no_control(built, control)
        if subject:
            found.append(_cell(session.config, built, cell, subject))
    return found


@dataclass(frozen=True)
class _Subject:
    """What is started. `why_not`: why it cannot be started, if it was not built."""

    sha256: str
    start: Start
    floor: str | None = None
    why_not: str | None = None
    made: Made | None = None


def _no_control(built: building.Built, name: str) -> _Subject:
    whys = (one.why for one in built.plan.left_out if one.control and one.name == name)
    why = next(whys, "it was not built")
    return _Subject("none", Start("/not-built", ()), why_not=f"the control cannot be started: {why}")


def _not_here(built: building.Built, name: str) -> _Subject:
    (row,) = (row for row in built.rows if row["name"] == name)
    start = Start("/not-here", ())
    return _Subject(row["sha256"], start, row["measured_floor"], built.lacking[name])


def _subject(built: building.Built, made: Made) -> _Subject:
    (floor,) = (row["measured_floor"] for row in built.rows if row["name"] == made.name)
    return _Subject(made.sha256, FORMATS[made.format].start(made), floor, made=made)


def _control(session: Session, built: building.Built, control: Control) -> _Subject:
    """The cells of a control: the same wrongly built file, where it must fail and where it must pass."""
    result = built.report.results.get(control.node)
    if result is None:
        why_not = f"the control was not built: {_why(built, control.node)}"
        return _Subject("none", Start("/not-built", ()), why_not=why_not)
    path = result.path / result.meta["payload"]
    key = built.report.keys.get(control.node)
    # What was built here is in the store, which knows its digest; what came from another machine is hashed.
    sha256 = building.stored(session, key, result.meta["payload"]).digest if key else digest(path)
    made = Made(control.artifact, control.format, path, result.meta, sha256=sha256, mode=file_mode(path))
    floor = result.meta.get("measured_floor")
    return _Subject(made.sha256, FORMATS[control.format].start(made), floor, made=made)


def _cell(config: Config, built: building.Built, planned: PlannedCell, subject: _Subject) -> Cell:
    commands = config.artifacts[planned.artifact].smoke
    if planned.control:
        smoke = replace(commands[0], args=planned.argv)
    else:
        (smoke,) = (one for one in commands if one.args == planned.argv)
    image, why = _image(built, image_node(planned.image))
    made = subject.made
    return Cell(
        planned.artifact,
        planned.format,
        subject.sha256,
        FORMATS[made.format].start(made, image) if made and image else subject.start,
        smoke,
        planned.image,
        image if subject.why_not is None else None,
        "plain" if planned.control else planned.condition,
        planned.expect,
        optional=planned.optional,
        unavailable=subject.why_not or why,
        lacks="artifact" if subject.why_not else "image",
        control=planned.control,
        asked=planned.smoke or question(config, planned.artifact, smoke),
        measured_floor=subject.floor,
        made=made,
    )


def _image(built: building.Built, node: NodeId) -> tuple[Image | None, str | None]:
    image = built.report.images.get(node)
    return (image, None) if image else (None, _why(built, node))


def _why(built: building.Built, node: NodeId) -> str:
    problem = built.failures.get(node)
    return problem.what if problem else "it was not made"
