"""`build`: the artifacts into dist/, and the evidence of what they are."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from py_portable import carrying, evidence, plain, records
from py_portable.config import Artifact
from py_portable.config.glibc import version_key
from py_portable.elf.floor import measure
from py_portable.errors import TAIL_LINES, Blocked, ConfigError, PortableError
from py_portable.formats import Made
from py_portable.lock.model import Lock
from py_portable.plan.assemble import Plan, choose_control
from py_portable.plan.sharding import lock_sha256
from py_portable.plan.tiers import RELEASE
from py_portable.redact import hide
from py_portable.run.runner import Report
from py_portable.session import Session
from py_portable.steps.context import Result
from py_portable.store import DamagedError, Entry, Part, digest, file_mode
from py_portable.wheels.publish import NODE as PUBLISHED
from py_portable.wheels.rows import wheel_rows

EVIDENCE = "evidence"
PUBLISH = "publish"
"""The folder of dist/ with the wheels (and the sdist) for a package index."""

TAIL_WIDTH = 240


@dataclass(frozen=True)
class Built:
    """`made`: artifacts that are there now; `failures`: by node, why the others are not."""

    plan: Plan
    lock: Lock
    report: Report
    made: Mapping[str, Made]
    rows: tuple[Mapping[str, Any], ...]
    failures: Mapping[str, PortableError]
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Artifacts that have a row and cannot be started here, and why: what was made elsewhere may have come alone."""


def build(
    session: Session,
    artifacts: Collection[str] = (),
    extra_nodes: Collection[str] = (),
    *,
    carry: carrying.Carry = "nothing",
    tier: str = RELEASE,
) -> Built:
    """Make the named artifacts (all, where none is named), put them into dist/, write an evidence part.

    `extra_nodes`: prefixes of further nodes of the plan to run in the same go. `carry`: what is put into dist/, too,
    for `--as-made` on another machine; controls only where the `tier` starts them.
    """
    lock = session.lock()
    plan = session.plan(lock, artifacts)
    if carry != "nothing":
        # A part of the artifacts has the controls that they have in the whole, for no other is in the plan of shards.
        whole = session.plan(lock) if artifacts else plan
        controls = tuple(c for c in whole.controls if tier == RELEASE and c.artifact in plan.artifacts)
        plan = replace(plan, nodes={**whole.nodes, **plan.nodes}, controls=controls)
    wanted = [node for node in plan.artifacts.values() if node]
    wanted += [control.node for control in plan.controls if carry != "nothing"]
    wanted += [name for name in plan.nodes if any(name.startswith(prefix) for prefix in extra_nodes)]
    report = session.run(plan, wanted, lock)
    made: dict[str, Made] = {}
    rows = []
    failures = dict(report.failures)
    sha256 = lock_sha256(lock)
    _forget(session, plan)
    for name, node in plan.artifacts.items():
        if node in report.failures:
            continue
        artifact = session.config.artifacts[name]
        try:
            try:
                one = publish(session, artifact, node, report, plan)
            except DamagedError:
                # It was moved aside while it was copied out: made again, it is whole.
                report = _again(session, plan, node, lock, report)
                one = publish(session, artifact, node, report, plan)
            row = _row(artifact, one, report, node)
            carrying.record(session, sha256, one, row, report, carry)
        except PortableError as problem:
            failures[node or f"artifact {name}"] = problem
            continue
        made[name] = one
        rows.append(row)
    if carry != "nothing":
        carrying.carry_rest(session, sha256, plan.controls, report)
    part = {
        **session.told(),
        "baselines": _baselines(session, report),
        "interpreters": _interpreters(report),
        "wheels": wheel_rows(report.results),
        "artifacts": rows,
        "failures": failure_rows(plan, failures),
        "steps": [
            {**step, "log": _log(report, str(step["name"])), **_sandbox(report, str(step["name"]))}
            for step in session.talk.steps
        ],
    }
    evidence.write_part(session.dist / EVIDENCE, "build", plan.artifacts, part)
    return Built(plan, lock, report, made, tuple(rows), failures)


def _again(session: Session, plan: Plan, node: str | None, lock: Lock, report: Report) -> Report:
    """The report, with the node and what it needs run once more."""
    fresh = session.run(plan, [node] if node else [], lock)
    for problem in fresh.failures.values():
        raise problem
    return Report(
        {**report.results, **fresh.results},
        {**report.images, **fresh.images},
        report.failures,
        {**report.keys, **fresh.keys},
    )


def _sandbox(report: Report, name: str) -> Mapping[str, Any]:
    """What was seen of the sandbox when the step was made, whenever that was."""
    result = report.results.get(name)
    return {"sandbox": result.meta["sandbox"]} if result and "sandbox" in result.meta else {}


def _forget(session: Session, plan: Plan) -> None:
    """The records of what is made anew, and of the controls that are variants of it."""
    config = session.config
    for name in plan.artifacts:
        records.forget(session.dist, name)
    for name in config.portability.controls:
        control, _ = choose_control(name, config, config.artifacts)
        if control and control.artifact in plan.artifacts:
            records.forget(session.dist, name, control=True)


def publish(session: Session, artifact: Artifact, node: str | None, report: Report, plan: Plan) -> Made:
    """The artifact in dist/, restored only where what lies there is not it: modes are part of it."""
    if node is None:
        assert artifact.path is not None
        if not artifact.path.exists():
            raise ConfigError(
                f"there is no {artifact.path}",
                where=session.config.where(("artifacts", artifact.name, "path")),
            )
        # Neither a pipe, which nobody may ever write to, nor a device is opened.
        if not (artifact.path.is_file() or artifact.path.is_dir()):
            raise ConfigError(
                f"{artifact.path} is neither a regular file nor a folder",
                where=session.config.where(("artifacts", artifact.name, "path")),
            )
        return Made(
            artifact.name,
            artifact.format,
            artifact.path,
            {"script": session.config.app.script},
            sha256=digest(artifact.path),
            mode=file_mode(artifact.path),
        )
    result = report.results[node]
    payload = result.meta["payload"]
    entry = _entry(session, report.keys[node])
    part = session.store.part(entry, payload)
    if artifact.format == "wheel":
        # All that is to be published lies in one folder, and nothing else does: it is what an upload takes.
        place, path = session.dist / PUBLISH, session.dist / PUBLISH / payload
        entry, payload = _entry(session, report.keys[PUBLISHED]), "."
        published = session.store.part(entry, payload)
    else:
        place = session.dist / artifact.name
        path = place if payload == "." else place / payload
        published = part
    _claim(session, place.name, place)
    to = place if payload == "." else path
    if not published.is_at(to):
        to.parent.parent.mkdir(parents=True, exist_ok=True)
        to.parent.mkdir(exist_ok=True)
        session.store.restore(entry, payload, to)
    return _made(artifact, path, part, result, report)


def _entry(session: Session, key: str) -> Entry:
    entry = session.store.get(key)
    if entry is None:
        raise DamagedError(
            "an artifact was damaged in the store after it was made", where=str(session.store.root)
        )
    return entry


def _made(artifact: Artifact, path: Path, part: Part, result: Result, report: Report) -> Made:
    place = f"{artifact.python} ({artifact.baseline})"
    interpreter, wheelhouse = (
        next((report.results[n] for n in report.results if n.startswith(f"{kind} {place}")), None)
        for kind in ("interpreter", "wheelhouse")
    )
    return Made(
        artifact.name,
        artifact.format,
        path,
        result.meta,
        interpreter.path if interpreter else None,
        interpreter.digest if interpreter else None,
        wheelhouse.path if wheelhouse else None,
        wheelhouse.digest if wheelhouse else None,
        part.path,
        part.digest,
        part.mode,
    )


def _claim(session: Session, name: str, place: Path) -> None:
    """Only what this kit has put into dist/ may be replaced there. Raises ConfigError for anything else."""
    mark = session.dist / EVIDENCE / "made" / name
    if link := next((one for one in (session.dist / EVIDENCE, mark.parent, mark, place) if one.is_symlink()), None):
        # Whoever handed this dist folder on may have planted both the link and the mark.
        raise ConfigError(
            "is a symbolic link, and what lies behind it was not made by py-portable",
            where=str(link),
            hint="remove the link, or choose another --dist",
        )
    if place.exists() and not mark.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(
            "is in the way of an artifact, and was not made by py-portable",
            where=str(place),
            hint="move it away, call the artifact otherwise, or choose another --dist",
        )
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def failure_rows(plan: Plan, failures: Mapping[str, PortableError]) -> list[dict[str, str]]:
    """One row for each artifact that was asked for and is not there."""
    found = {name: failures.get(node or f"artifact {name}") for name, node in plan.artifacts.items()}
    return [{"name": name, **_why(problem, failures)} for name, problem in found.items() if problem]


def _why(problem: PortableError, failures: Mapping[str, PortableError]) -> dict[str, str]:
    """What it comes from, and what that step said: whoever reads the evidence may have neither terminal nor log."""
    cause = problem.cause if isinstance(problem, Blocked) and problem.cause in failures else ""
    problem = failures.get(cause, problem)
    # Without where it was: that is a folder of this machine.
    why = hide(problem.what if problem.what.startswith(cause) else f"{cause}: {problem.what}")
    said = plain.last(hide(problem.tail or ""), TAIL_LINES, TAIL_WIDTH)
    return {"why": why, "tail": "\n".join(said)} if said else {"why": why}


def _row(artifact: Artifact, made: Made, report: Report, node: str | None) -> dict[str, Any]:
    result = report.results[node] if node else None
    path = made.stored or made.path
    floor = made.meta.get("measured_floor") or (
        _wheels_floor(path) if artifact.format == "wheelhouse" else measure(path).floor
    )
    return {
        "name": artifact.name,
        "format": artifact.format,
        "path": str(made.path),
        "sha256": made.sha256,
        **({} if made.mode is None else {"mode": f"{made.mode:04o}"}),
        "bytes": sum(p.lstat().st_size for p in _files(path)),
        "arch": None if artifact.format == "file" else platform.machine(),
        "interpreter": artifact.python,
        "measured_floor": floor,
        "licences": None,
        "seconds": round(result.seconds, 3) if result else 0.0,
        "cached": result.cached if result else False,
    }


def _files(path: Path) -> list[Path]:
    return [p for p in path.rglob("*") if not p.is_dir() or p.is_symlink()] if path.is_dir() else [path]


def _wheels_floor(folder: Path) -> str | None:
    floors = (measure(wheel).floor for wheel in sorted(folder.glob("*.whl")))
    return max((floor for floor in floors if floor), key=version_key, default=None)


def _baselines(session: Session, report: Report) -> list[dict[str, Any]]:
    return [
        {
            "name": name.removeprefix("baseline "),
            "image": image.name,
            "identity": image.identity,
            "source": image.source,
            "glibc": image.glibc,
        }
        for name, image in report.images.items()
        if name.startswith("baseline ")
    ]


def _interpreters(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "version": result.meta["version"],
            "provider": result.meta["provider"],
            "baseline": name.partition("(")[2].rstrip(")"),
            "sha256": result.digest,
            **({"libraries": result.meta["libraries"]} if result.meta.get("libraries") else {}),
        }
        for name, result in report.results.items()
        if name.startswith("interpreter ")
    ]


def _log(report: Report, name: str) -> str | None:
    log = report.results[name].log if name in report.results else None
    return str(log) if log else None
