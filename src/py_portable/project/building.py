"""`build`: makes the artifacts in dist/, and writes evidence about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from py_portable.config import Artifact
from py_portable.engines import throwaway
from py_portable.errors import ConfigError, PortableError
from py_portable.evidence import merge
from py_portable.evidence.typed import ArtifactRow
from py_portable.formats import FORMATS, Made, artifact_node
from py_portable.lock.lockfile import Lock
from py_portable.plan import baselines
from py_portable.plan.assemble import Plan
from py_portable.plan.ground import place_of
from py_portable.plan.selection import Selection, known, narrow
from py_portable.plan.shards import lock_sha256
from py_portable.project import built_rows, handover, records
from py_portable.project.session import Session
from py_portable.steps.context import Result
from py_portable.steps.identity import HouseId, NodeId
from py_portable.steps.runner import Report
from py_portable.store import DamagedError, Entry, Part, digest, file_mode

EVIDENCE = "evidence"
PUBLISH = "publish"
"""The folder of dist/ with the wheels (and the sdist) for a package index."""


@dataclass(frozen=True)
class Built:
    """`made`: the artifacts that exist now; `failures`: for each node that failed, the reason."""

    plan: Plan
    lock: Lock
    report: Report
    made: Mapping[str, Made]
    rows: tuple[ArtifactRow, ...]
    failures: Mapping[NodeId, PortableError]
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Artifacts that are in the evidence but cannot be started here, and why: another machine may not have passed on
    all of their files."""


def build(
    session: Session,
    selection: Selection,
    *,
    starts: bool = False,
    ahead: bool = False,
    carry: handover.Carry = "nothing",
) -> Built:
    """Make the selected artifacts and their controls, put the artifacts into dist/, and write a part of the evidence.

    `starts`: also make the images on which they are started. `ahead`: the same for a later command. `carry`: what else
    is put into dist/, for `--as-made` on another machine. Raises ConfigError for names that are not in the config.
    """
    selection = known(session.config, selection)
    if session.in_container:
        # Before anything is fetched for it.
        if starts or ahead:
            keep_apart(session)
        throwaway.require()
    lock = session.lock()
    whole = session.plan(lock)
    plan = narrow(whole, selection)
    wanted = plan.targets if starts or ahead else plan.made
    report = session.run(plan, wanted, lock, reads=plan.images.values() if starts else ())
    made: dict[str, Made] = {}
    rows = []
    failures = dict(report.failures)
    sha256 = lock_sha256(lock)
    _forget(session, plan, whole)
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
            row = built_rows.artifact_row(artifact, one, report, node)
            handover.record(session, sha256, one, row, report, carry)
        except PortableError as problem:
            failures[node or artifact_node(artifact)] = problem
            continue
        made[name] = one
        rows.append(row)
    if carry != "nothing":
        handover.carry_rest(session, sha256, plan.controls, report)
    part = built_rows.part(session, plan, report, rows, failures)
    merge.write_part(session.dist / EVIDENCE, "build", plan.artifacts, part)
    return Built(plan, lock, report, made, tuple(rows), failures)


def keep_apart(session: Session) -> None:
    """Raises ConfigError if cells would start in the same container that builds change."""
    if session.in_container and session.engine.on_host and baselines.jobs(session.config):
        raise ConfigError(
            "apps would be started in the container in which they are built, and would find the packages "
            "that were installed for the build",
            where="--engine native --build-engine native",
            hint="build in one job and start in another: build --build-engine native --carry, then portability "
            "--as-made --engine native",
        )


def _again(session: Session, plan: Plan, node: NodeId | None, lock: Lock, report: Report) -> Report:
    """The report after the node, and the nodes that it needs, have run once more."""
    fresh = session.run(plan, [node] if node else [], lock)
    for problem in fresh.failures.values():
        raise problem
    return Report(
        {**report.results, **fresh.results},
        {**report.images, **fresh.images},
        report.failures,
        {**report.keys, **fresh.keys},
    )


def _forget(session: Session, plan: Plan, whole: Plan) -> None:
    """Removes the records of artifacts that are made again, and of the controls that are variants of them."""
    for name in plan.artifacts:
        records.forget(session.dist, name)
    for control in whole.controls:
        if control.artifact in plan.artifacts:
            records.forget(session.dist, control.name, control=True)


def publish(session: Session, artifact: Artifact, node: NodeId | None, report: Report, plan: Plan) -> Made:
    """The artifact in dist/. It is restored only if the files there, or their modes, are different."""
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
    part = stored(session, report.keys[node], payload)
    if folder := FORMATS[artifact.format].published:
        # All that is to be published lies in one folder, and nothing else does: it is what an upload takes.
        place, path = session.dist / folder.name, session.dist / folder.name / payload
        node, payload = folder.node, "."
        published = stored(session, report.keys[node], payload)
    else:
        place = session.dist / artifact.name
        path = place if payload == "." else place / payload
        published = part
    _claim(session, place.name, place)
    to = place if payload == "." else path
    if not session.store.is_at(published, to):
        to.parent.parent.mkdir(parents=True, exist_ok=True)
        to.parent.mkdir(exist_ok=True)
        session.store.restore(_entry(session, report.keys[node]), payload, to)
    return _made(place_of(session.config, artifact), artifact, path, part, result, report)


def stored(session: Session, key: str, payload: str) -> Part:
    """A file or folder of what a step has put into the store. Raises DamagedError, StoreError."""
    return session.store.part(_entry(session, key), payload)


def _entry(session: Session, key: str) -> Entry:
    entry = session.store.get(key)
    if entry is None:
        raise DamagedError(
            "an artifact was damaged in the store after it was made", where=str(session.store.root)
        )
    return entry


def _made(
    place: HouseId | None, artifact: Artifact, path: Path, part: Part, result: Result, report: Report
) -> Made:
    interpreter, wheelhouse = (
        report.results.get(NodeId(kind, house=place)) for kind in ("interpreter", "wheelhouse")
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
    if link := next(
        (one for one in (session.dist / EVIDENCE, mark.parent, mark, place) if one.is_symlink()), None
    ):
        # Whoever handed this dist folder on may have planted both the link and the mark.
        raise ConfigError(
            "is a symbolic link, and its target was not made by py-portable",
            where=str(link),
            hint="remove the link, or choose another --dist",
        )
    if place.exists() and not mark.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(
            "is in the place of an artifact, and was not made by py-portable",
            where=str(place),
            hint="move it away, rename the artifact, or choose another --dist",
        )
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
