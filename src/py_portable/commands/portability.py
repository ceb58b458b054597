"""`portability`: every artifact on every image under every condition, and the controls."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from py_portable.config.glibc import canonical_image
from py_portable.errors import ConfigError, PortableError
from py_portable.evidence import merge as evidence
from py_portable.evidence.conclude import BAD, Conclusions, conclude
from py_portable.evidence.model import CellResult, Evidence, FailureRow
from py_portable.formats import FORMATS, Made, Start
from py_portable.images import Image
from py_portable.plan.asked import question
from py_portable.plan.assemble import Control, Plan
from py_portable.plan.cell import CellId, PlannedCell
from py_portable.plan.matrix import matrix
from py_portable.plan.partition import Shard
from py_portable.plan.shards import Sharding
from py_portable.project import as_made, building, built_rows, refreshing
from py_portable.project.circumstances import cpu_flags
from py_portable.project.session import Session
from py_portable.prove import cell_runs, spoiled
from py_portable.prove.bench import Bench, Cell, Tell
from py_portable.store import digest, file_mode


@dataclass(frozen=True)
class Wanted:
    """Which part of the matrix; an empty selection means all that the config names."""

    artifacts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    probes: tuple[str, ...] | None = None
    controls: bool = True
    shard: Shard | None = None
    """These cells and no others; the rest names what they take."""
    plan: str = ""
    """The digest of the plan that the shard is of."""
    helpers: Mapping[str, str] = field(default_factory=dict)
    """Which static helpers the plan lets it take from dist/, `native.key()` -> digest."""
    as_made: bool = False
    """Whether artifacts are taken from dist/ as another machine made them, and none is built."""

    @classmethod
    def of_shard(cls, sharding: Sharding, name: str) -> Wanted:
        """Raises ConfigError where the plan has no such shard."""
        shard = sharding.shard(name)
        conditions = dict.fromkeys(cell.condition for cell in shard.cells if not cell.control)
        probes = tuple(name for name in conditions if name != "plain")
        controls = any(cell.control for cell in shard.cells)
        return cls(shard.artifacts, shard.images, probes, controls, shard, sharding.digest, sharding.helpers)


@dataclass(frozen=True)
class Proved:
    cells: tuple[CellResult, ...]
    failures: Mapping[str, PortableError]
    conclusions: Conclusions
    evidence: Path


def prove(session: Session, wanted: Wanted, tell: Tell, *, allow_unproven: bool = False) -> Proved:
    """Build what is missing, start all cells, write the evidence and conclude.

    Raises ConfigError for an image that the config does not name.
    """
    wanted = _known_images(session, wanted)
    built = _built(session, wanted)
    session.talk.cures({node: p for node, p in built.failures.items() if node.startswith("image ")})
    cells = _cells(session, wanted, built)

    def anew() -> list[Cell]:
        nonlocal built
        built = _built(session, wanted)
        return _cells(session, wanted, built)

    why_not = as_made.no_judge(session) if wanted.as_made else None
    if why_not is None:
        results = spoiled.run(
            cells, bench_of(session), lambda result: tell(_with_reproducer(session, result)), anew
        )
    else:
        results = [cell_runs.not_started(cell, why_not) for cell in cells]
        for result in results:
            tell(result)
    part: Evidence = {
        **session.told(),
        "expected": _expected(wanted, results),
        "shards": [{"name": wanted.shard.name, "plan": wanted.plan}] if wanted.shard else [],
        "artifacts": list(built.rows),
        "failures": [*built_rows.failure_rows(built.plan, built.failures), *_lost_controls(wanted, built)],
        "cells": [result.told() for result in results],
    }
    if why_not is None:
        part["host"] = session.host()
    evidence.write_part(session.dist / building.EVIDENCE, "portability", _scope(wanted, built), part)
    # An image that this run does not use is the one of the lock, so that what was seen on it stays.
    identities = {
        name: image.identity if (image := built.report.images.get(node)) else built.lock.images.get(node)
        for name, node in built.plan.images.items()
    }
    places = as_made.places(session) if wanted.as_made else None
    merged = refreshing.refresh(session, identities, places)
    path = session.dist / "evidence.json"
    evidence.write(path, {**merged, "conclusions": conclude(merged, allow_unproven=allow_unproven).told()})
    own = {n: p for n, p in built.failures.items() if not n.startswith(("image ", "control "))}
    # The exit status speaks of this run; evidence.json of all that is known.
    return Proved(tuple(results), own, conclude(part, allow_unproven=allow_unproven), path)


def _built(session: Session, wanted: Wanted) -> building.Built:
    if wanted.as_made:
        return as_made.take(
            session,
            wanted.artifacts,
            wanted.images,
            controls=_with_controls(wanted),
            pinned=wanted.helpers,
        )
    images = wanted.images or [spec.name for spec in session.config.portability.images]
    return building.build(session, wanted.artifacts, images=images, controls=_with_controls(wanted))


def _with_controls(wanted: Wanted) -> bool:
    return wanted.controls and (not wanted.images or wanted.shard is not None)


def _expected(wanted: Wanted, results: Sequence[CellResult]) -> list[list[Any]]:
    """A shard's cells are all expected, also those of an artifact that could not be built."""
    told = [cell.told() for cell in (wanted.shard.cells if wanted.shard else results)]
    return [CellId.of(cell).told() for cell in told]


def _known_images(session: Session, wanted: Wanted) -> Wanted:
    """The wanted images as the config calls them: `debian:bullseye` is its `debian:11`."""
    known = {canonical_image(spec.name): spec.name for spec in session.config.portability.images}
    for name in wanted.images:
        if canonical_image(name) not in known:
            raise ConfigError(
                f"no image is named {name}",
                where=session.config.where(("portability", "images")),
                hint=f"there are: {', '.join(known.values())}",
            )
    return replace(wanted, images=tuple(known[canonical_image(name)] for name in wanted.images))


def _lost_controls(wanted: Wanted, built: building.Built) -> list[FailureRow]:
    """Controls that the config asks for and that cannot be started; a part of the matrix may do without."""
    return [] if not wanted.controls or wanted.images or wanted.artifacts else lost_controls(built.plan)


def lost_controls(plan: Plan) -> list[FailureRow]:
    """As rows of evidence's `failures`."""
    return [
        {"name": what, "why": f"was not started: {why}"}
        for what, why in plan.left_out
        if what.startswith("control ")
    ]


def _scope(wanted: Wanted, built: building.Built) -> list[str]:
    """What a part speaks of: a later run over the same takes its place."""
    if wanted.shard:
        return [f"shard {wanted.shard.name}"]
    return [
        *(f"artifact {name}" for name in built.plan.artifacts),
        *(f"image {name}" for name in wanted.images),
        *(["all probes"] if wanted.probes is None else [f"probe {name}" for name in wanted.probes]),
        *(["controls"] if wanted.controls else []),
    ]


def _with_reproducer(session: Session, result: CellResult) -> CellResult:
    """The command that does a failure again is long: into a script, so that its line stays readable."""
    if not result.reproduce or result.verdict not in BAD:
        return result
    folder = session.dist / "logs" / "reproduce"
    folder.mkdir(parents=True, exist_ok=True)
    about = f"{result.artifact} {result.image} {result.condition} {' '.join(result.argv)}"
    name = re.sub(r"[^A-Za-z0-9.]+", "-", about).strip("-")[:80]
    name += f"-{hashlib.sha256(about.encode()).hexdigest()[:8]}"
    path = folder / f"{name}.sh"
    path.write_text(f"#!/bin/sh\nexec {result.reproduce}\n")
    path.chmod(0o755)
    return replace(result, reproduce=shlex.join(["sh", str(path)]))


def bench_of(session: Session) -> Bench:
    engine, info, _ = session.engine.chosen
    logs = session.dist / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return Bench(engine, info, session.helpers(), session.store, cpu_flags(), logs, session.keep_on_failure)


def _cells(session: Session, wanted: Wanted, built: building.Built) -> list[Cell]:
    planned = (
        wanted.shard.cells
        if wanted.shard
        else matrix(
            session.config,
            built.plan,
            images=wanted.images,
            probes=wanted.probes,
            controls=_with_controls(wanted),
        )
    )
    subjects = {name: _subject(built, made) for name, made in built.made.items()}
    subjects |= {name: _not_here(built, name) for name in built.lacking}
    controls = {(c.name, c.artifact): _control(built, c) for c in built.plan.controls}
    found = []
    for cell in planned:
        control = cell.control
        # Cells of an artifact that was not built are told by its failure.
        if control is None:
            subject = subjects.get(cell.artifact)
        else:
            subject = controls.get((control, cell.artifact)) or _no_control(built, control)
        if subject:
            found.append(_cell(session, built, cell, subject))
    return found


@dataclass(frozen=True)
class _Subject:
    """What is started. `why_not`: why it cannot be, where it was not built."""

    sha256: str
    start: Start
    floor: str | None = None
    why_not: str | None = None
    made: Made | None = None


def _no_control(built: building.Built, name: str) -> _Subject:
    why = dict(built.plan.left_out).get(f"control {name}", "it was not built")
    return _Subject("none", Start("/not-built", ()), why_not=f"the control cannot be started: {why}")


def _not_here(built: building.Built, name: str) -> _Subject:
    (row,) = (row for row in built.rows if row["name"] == name)
    start = Start("/not-here", ())
    return _Subject(row["sha256"], start, row["measured_floor"], built.lacking[name])


def _subject(built: building.Built, made: Made) -> _Subject:
    (floor,) = (row["measured_floor"] for row in built.rows if row["name"] == made.name)
    return _Subject(made.sha256, FORMATS[made.format].start(made), floor, made=made)


def _control(built: building.Built, control: Control) -> _Subject:
    """The same wrongly built file for the image where it must fail and for the one where it must pass."""
    result = built.report.results.get(control.node)
    if result is None:
        why_not = f"the control was not built: {_why(built, control.node)}"
        return _Subject("none", Start("/not-built", ()), why_not=why_not)
    path = result.path / result.meta["payload"]
    made = Made(
        control.artifact, control.format, path, result.meta, sha256=digest(path), mode=file_mode(path)
    )
    floor = result.meta.get("measured_floor")
    return _Subject(made.sha256, FORMATS[control.format].start(made), floor, made=made)


def _cell(session: Session, built: building.Built, planned: PlannedCell, subject: _Subject) -> Cell:
    commands = {smoke.args: smoke for smoke in session.config.artifacts[planned.artifact].smoke}
    smoke = commands[planned.argv]
    image, why = _image(built, f"image {planned.image}")
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
        asked=planned.smoke or question(session.config, planned.artifact, smoke),
        measured_floor=subject.floor,
        made=made,
    )


def _image(built: building.Built, node: str) -> tuple[Image | None, str | None]:
    image = built.report.images.get(node)
    return (image, None) if image else (None, _why(built, node))


def _why(built: building.Built, node: str) -> str:
    problem = built.failures.get(node)
    return problem.what if problem else "it was not made"
