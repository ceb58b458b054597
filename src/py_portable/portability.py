"""`portability`: every artifact on every image under every condition, and the controls."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from py_portable import build as building
from py_portable import evidence
from py_portable.conclude import BAD, Conclusions, conclude
from py_portable.config.glibc import canonical_image
from py_portable.errors import ConfigError, PortableError
from py_portable.evidence import CellResult
from py_portable.formats import FORMATS, Made, Start
from py_portable.images import Image
from py_portable.native.stored import helpers
from py_portable.plan.assemble import Control
from py_portable.prove import cells as proving
from py_portable.prove.cells import Bench, Cell
from py_portable.session import Session, cpu_flags
from py_portable.store import digest


@dataclass(frozen=True)
class Wanted:
    """Which part of the matrix; an empty selection means all that the config names."""

    artifacts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    probes: tuple[str, ...] | None = None
    controls: bool = True


@dataclass(frozen=True)
class Proved:
    cells: tuple[CellResult, ...]
    failures: Mapping[str, PortableError]
    conclusions: Conclusions
    evidence: Path


def prove(session: Session, wanted: Wanted, tell: proving.Tell, *, allow_unproven: bool = False) -> Proved:
    """Build what is missing, start all cells, write the evidence and conclude.

    Raises ConfigError for an image that the config does not name.
    """
    wanted = _known_images(session, wanted)
    prefixes = ["image "] if not wanted.images else [f"image {name}" for name in wanted.images]
    if wanted.controls and not wanted.images:
        prefixes.append("control ")
    built = building.build(session, wanted.artifacts, prefixes)
    session.talk.cures({node: p for node, p in built.failures.items() if node.startswith("image ")})
    cells = _cells(session, wanted, built)
    results = proving.run(cells, bench_of(session), lambda result: tell(_with_reproducer(session, result)))
    part = {
        **session.told(),
        "host": session.host(),
        "expected": [evidence.identity_of(result.told()) for result in results],
        "artifacts": built.rows,
        "failures": [*building.failure_rows(built.plan, built.failures), *_lost_controls(wanted, built)],
        "cells": [result.told() for result in results],
    }
    evidence.write_part(session.dist / building.EVIDENCE, "portability", _scope(wanted, built), part)
    # An image that this run does not use is the one of the lock, so that what was seen on it stays.
    identities = {
        name: image.identity if (image := built.report.images.get(node)) else built.lock.images.get(node)
        for name, node in built.plan.images.items()
    }
    merged = building.refresh(session, identities)
    path = session.dist / "evidence.json"
    evidence.write(path, {**merged, "conclusions": conclude(merged, allow_unproven=allow_unproven).told()})
    own = {n: p for n, p in built.failures.items() if not n.startswith(("image ", "control "))}
    # The exit status speaks of this run; evidence.json of all that is known.
    return Proved(tuple(results), own, conclude(part, allow_unproven=allow_unproven), path)


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


def _lost_controls(wanted: Wanted, built: building.Built) -> list[dict[str, str]]:
    """Controls that the config asks for and that cannot be started; a part of the matrix may do without."""
    if not wanted.controls or wanted.images or wanted.artifacts:
        return []
    return [
        {"name": what, "why": f"was not started: {why}"}
        for what, why in built.plan.left_out
        if what.startswith("control ")
    ]


def _scope(wanted: Wanted, built: building.Built) -> list[str]:
    """What a part speaks of: a later run over the same takes its place."""
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
    return Bench(
        engine, info, helpers(session.store), session.store, cpu_flags(), logs, session.keep_on_failure
    )


def _cells(session: Session, wanted: Wanted, built: building.Built) -> list[Cell]:
    config = session.config
    probes = config.portability.probes if wanted.probes is None else wanted.probes
    specs = [spec for spec in config.portability.images if not wanted.images or spec.name in wanted.images]
    cells = []
    for name, made in built.made.items():
        start = FORMATS[made.format].start(made)
        sha256 = digest(made.path)
        (floor,) = (row["measured_floor"] for row in built.rows if row["name"] == name)
        for spec in specs:
            image, why = _image(built, f"image {spec.name}")
            for condition in ("plain", *probes):
                cells += [
                    Cell(
                        name,
                        made.format,
                        sha256,
                        start,
                        smoke,
                        spec.name,
                        image,
                        condition,
                        spec.expect,
                        optional=spec.optional,
                        unavailable=why,
                        measured_floor=floor,
                    )
                    for smoke in config.artifacts[name].smoke
                ]
    if wanted.controls and not wanted.images:
        for control in built.plan.controls:
            cells += _control_cells(session, control, built)
    return cells


def _control_cells(session: Session, control: Control, built: building.Built) -> list[Cell]:
    """The same wrongly built file on the image where it must fail and on the one where it must pass."""
    smoke = session.config.artifacts[control.artifact].smoke[0]
    result = built.report.results.get(control.node)
    start, sha256, why_not = (
        Start("/not-built", ()),
        "none",
        f"the control was not built: {_why(built, control.node)}",
    )
    if result is not None:
        path = result.path / result.meta["payload"]
        made = Made(control.artifact, control.format, path, result.meta)
        start, sha256 = FORMATS[control.format].start(made), digest(path)
    cells = []
    for image_name, expect in ((control.fails_on, f"fail:{control.reason}"), (control.passes_on, "pass")):
        image, why = _image(built, f"image {image_name}")
        cells.append(
            Cell(
                control.artifact,
                control.format,
                sha256,
                start,
                smoke,
                image_name,
                image if result is not None else None,
                "plain",
                expect,
                unavailable=why if result is not None else why_not,
                control=control.name,
                measured_floor=result.meta.get("measured_floor") if result is not None else None,
            )
        )
    return cells


def _image(built: building.Built, node: str) -> tuple[Image | None, str | None]:
    image = built.report.images.get(node)
    return (image, None) if image else (None, _why(built, node))


def _why(built: building.Built, node: str) -> str:
    problem = built.failures.get(node)
    return problem.what if problem else "it was not made"
