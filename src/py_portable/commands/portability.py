"""`portability`: every artifact on every image under every condition, and the controls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable.commands import to_start
from py_portable.errors import PortableError
from py_portable.evidence import merge as evidence
from py_portable.evidence.conclude import Conclusions, conclude
from py_portable.evidence.typed import CellResult, Evidence, FailureRow
from py_portable.plan.assemble import Plan
from py_portable.plan.selection import Selection
from py_portable.project import as_made as made_here
from py_portable.project import building, built_rows, refreshing, reproducers
from py_portable.project.circumstances import cpu_flags
from py_portable.project.session import Session
from py_portable.prove import cell_runs, dependencies, spoiled
from py_portable.prove.bench import Bench, Cell, Tell
from py_portable.steps.identity import NodeId


@dataclass(frozen=True)
class Proved:
    cells: tuple[CellResult, ...]
    failures: Mapping[NodeId, PortableError]
    conclusions: Conclusions
    evidence: Path


def prove(
    session: Session,
    selection: Selection,
    tell: Tell,
    *,
    allow_unproven: bool = False,
    as_made: bool = False,
    pinned: Mapping[str, str] | None = None,
) -> Proved:
    """Build what is missing, start all cells, write the evidence and conclude.

    `as_made`: artifacts are taken from dist/ as another machine made them, and none is built; `pinned`: which helpers
    may be taken from there, too (`native.key()` -> digest). Raises ConfigError for names that the config does not have.
    """

    def make() -> building.Built:
        if as_made:
            return made_here.take(session, selection, pinned=pinned)
        return building.build(session, selection, starts=True)

    built = make()

    def anew() -> list[Cell]:
        nonlocal built
        built = make()
        return dependencies.provided(to_start.cells(session, built), bench_of(session))

    plan = built.plan
    images = set(plan.images.values())
    session.talk.cures({node: problem for node, problem in built.failures.items() if node in images})
    cells = to_start.cells(session, built)
    why_not = made_here.no_judge(session) if as_made else None
    if why_not is None:
        cells = dependencies.provided(cells, bench_of(session))
        results = spoiled.run(
            cells,
            bench_of(session),
            lambda result: tell(reproducers.written(result, session.dist / "logs" / "reproduce")),
            anew,
        )
    else:
        results = [cell_runs.not_started(cell, why_not) for cell in cells]
        for result in results:
            tell(result)
    # A shard's cells are all expected, also those of an artifact that could not be built.
    expected = [cell.id for cell in plan.cells] if plan.shard else [result.id for result in results]
    part: Evidence = {
        **session.told(),
        "expected": [cell.told() for cell in expected],
        "shards": [{"name": plan.shard.shard.name, "plan": plan.shard.plan}] if plan.shard else [],
        "artifacts": list(built.rows),
        "failures": [*built_rows.failure_rows(plan, built.failures), *lost_controls(plan)],
        "cells": [result.told() for result in results],
    }
    if why_not is None:
        part["host"] = session.host()
    evidence.write_part(session.dist / building.EVIDENCE, "portability", plan.scope, part)
    places = made_here.places(session) if as_made else None
    hashed = built.made.values() if _warm(results) else ()
    merged = refreshing.refresh(session, refreshing.identities(session, built), places, hashed)
    path = session.dist / "evidence.json"
    evidence.write(path, {**merged, "conclusions": conclude(merged, allow_unproven=allow_unproven).told()})
    own = {node: problem for node, problem in built.failures.items() if node not in plan.beside}
    # The exit status speaks of this run; evidence.json of all that is known.
    return Proved(tuple(results), own, conclude(part, allow_unproven=allow_unproven), path)


def _warm(results: Iterable[CellResult]) -> bool:
    """Whether no artifact of dist/ was started, so that they were hashed only a moment ago."""
    return all(
        result.cached or (result.id.condition.control and result.isolation != "partial") for result in results
    )


def lost_controls(plan: Plan) -> list[FailureRow]:
    """The failures as rows for the key `failures` of evidence."""
    return [{"name": str(one), "why": f"was not started: {one.why}"} for one in plan.lost]


def bench_of(session: Session) -> Bench:
    engine, info, _ = session.engine.chosen
    logs = session.dist / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return Bench(engine, info, session.helpers(), session.store, cpu_flags(), logs, session.keep_on_failure)
