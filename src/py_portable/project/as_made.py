"""`--as-made`: uses the artifacts in dist/, which a build on another machine made. Nothing is built.

Neither the lock nor an index is used, and no compiler is started. Only images may need the network. Anybody may have
written the files in dist/, so nothing outside of it is read or shown to a cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from py_portable import resources
from py_portable.engines import static_helpers
from py_portable.errors import ConfigError, MachineError, PortableError, StepError, UnmetError
from py_portable.evidence import merge
from py_portable.formats import FORMATS, Made, Start, artifact_node
from py_portable.lock import lockfile
from py_portable.plan.assemble import Plan, made_elsewhere
from py_portable.plan.matrix import Control
from py_portable.plan.selection import Selection, known, narrow
from py_portable.project import records
from py_portable.project.building import EVIDENCE, PUBLISH, Built
from py_portable.project.records import BuildRecord
from py_portable.project.session import Session
from py_portable.steps.context import Result
from py_portable.steps.identity import NodeId
from py_portable.steps.runner import Report
from py_portable.store import digest, file_mode

_AGAIN = "pass on dist/ as the build left it, in a tar archive, which keeps modes and links"


def take(
    session: Session, selection: Selection, *, compared: bool = False, pinned: Mapping[str, str] | None = None
) -> Built:
    """The selected artifacts, each compared with the record of its build, with their controls and images.

    An artifact that is gone or has changed is among the failures; one that lacks a file that it needs is in
    `lacking`.
    `compared`: they come with what `benchmark` compares them with, not with what their cells need. `pinned`: which
    helpers may be taken from dist/, by the word of somebody else (`native.key()` -> digest).
    Raises ConfigError for names that are not there, for records that cannot be read, and for two locks.
    """
    lock = lockfile.load(session.lock_path)
    plan = narrow(made_elsewhere(session.config, lock), known(session.config, selection))
    sha256 = lock_sha256(session)
    found_records = {name: records.artifact(session.dist, name) for name in plan.artifacts}
    session.helpers.lent = _helpers(session, pinned or {})
    made: dict[str, Made] = {}
    rows = []
    failures: dict[NodeId, PortableError] = {}
    lacking: dict[str, str] = {}
    for name, record in found_records.items():
        try:
            found = _take(session, name, record, compared)
        except PortableError as problem:
            failures[artifact_node(session.config.artifacts[name])] = problem
            continue
        assert record is not None and record.row is not None
        rows.append(record.row)
        if isinstance(found, Made):
            made[name] = found
        else:
            lacking[name] = found
    controls, lost = _controls(session, plan, sha256)
    plan = plan.without(lost)
    report = session.run(plan, plan.images.values(), lock, learn=False)
    results = {**report.results, **controls}
    report = Report(results, report.images, report.failures, report.keys)
    return Built(plan, lock, report, made, tuple(rows), {**report.failures, **failures}, lacking)


def places(session: Session) -> dict[str, Path]:
    """The places of the artifacts that were made from this config."""
    found = {}
    for name in session.config.artifacts:
        record = records.artifact(session.dist, name)
        try:
            if record:
                found[name] = _place(session, name, record)
        except PortableError:
            continue
    return found


def lock_sha256(session: Session) -> str | None:
    """The digest of the lock with which all artifacts here were made; None if there is no record.

    Raises ConfigError if there are two locks.
    """
    named: dict[str, str] = {}
    for name in session.config.artifacts:
        record = records.artifact(session.dist, name)
        if record:
            named[record.lock] = name
    if len(named) > 1:
        (first, one), (second, other), *_ = sorted(named.items())
        raise ConfigError(
            f"{one} and {other} were made with two locks: {first[:12]}… and {second[:12]}…",
            where=str(session.dist),
            hint="build both with the same lock: commit portable.lock, or pass it from job to job",
        )
    return next(iter(named), None)


def _take(session: Session, name: str, record: BuildRecord | None, compared: bool) -> Made | str:
    """The artifact, or the reason why it cannot be used. Raises PortableError."""
    if record is None:
        raise _never_made(session, name)
    path = _place(session, name, record)
    _same(path, record.sha256, name)
    mode = file_mode(path)
    _as_built(path, mode, record, name)
    needs = record.compared if compared else record.carried
    beside: dict[str, Path] = {}
    for what in ("interpreter", "wheelhouse"):
        if what in needs:
            beside[what] = records.carried(session.dist, needs[what])
            if not beside[what].is_dir():
                if compared:
                    return not_carried(f"the {what} that it is compared with", "--carry-all")
                return not_carried(f"the {what} that its cells need")
            _real(session, beside[what], f"the {what} of {name}")
            _same(beside[what], needs[what], f"the {what} of {name}")
    made = Made(
        name,
        session.config.artifacts[name].format,
        path,
        record.meta,
        beside.get("interpreter"),
        needs.get("interpreter"),
        beside.get("wheelhouse"),
        needs.get("wheelhouse"),
        sha256=record.sha256,
        mode=mode,
    )
    _startable(session, made)
    return made


def not_carried(what: str, option: str = "--carry") -> str:
    return f"{what} is missing (the build adds it with: build {option})"


def _never_made(session: Session, name: str) -> PortableError:
    """The error, with the message of the build if the build failed."""
    parts = [part for part in merge.read_parts(session.dist / EVIDENCE) if part.get("command") == "build"]
    for row in merge.merge(parts)["failures"]:
        if row["name"] == name:
            return StepError(row["why"], where=name, tail=row.get("tail"))
    return UnmetError(
        f"{name} has no record of its build: the files that its build left are missing",
        where=str(session.dist),
        hint=_AGAIN,
    )


def _place(session: Session, name: str, record: BuildRecord) -> Path:
    """The place of the artifact in dist; for one that was made elsewhere, the path in the config.

    Raises UnmetError if it was made with another config, or is missing.
    """
    config, row = session.config, record.row
    own = config.artifacts[name].path
    if row is None or (record.place is None) != (own is not None):
        raise UnmetError(
            f"the record of {name} describes a different kind of artifact than the config",
            where=str(session.dist),
            hint=_AGAIN,
        )
    if (record.config, row["format"], row["name"]) != (config.sha256, config.artifacts[name].format, name):
        raise UnmetError(
            f"{name} was made with another {config.path.name}",
            where=str(session.dist),
            hint="build it again, or use the config with which it was built",
        )
    path = own
    if path is None:
        assert record.place is not None
        path = session.dist / record.place
        if not path.is_relative_to(session.dist / name) and path.parent != session.dist / PUBLISH:
            raise UnmetError(
                f"the record of {name} names the place of another artifact",
                where=str(path),
                hint=_AGAIN,
            )
        _real(session, path, name)
    # Neither a device nor a pipe is ever opened.
    if not (path.is_file() or path.is_dir()):
        raise UnmetError(f"{name} is missing: there is no {path}", hint=_AGAIN)
    return path


def _real(session: Session, path: Path, what: str) -> None:
    """Raises UnmetError if its path leads through a link, because a build puts no such files into dist."""
    if path.resolve() != session.dist.resolve() / path.relative_to(session.dist):
        raise UnmetError(f"{what} is behind a symbolic link", where=str(path), hint=_AGAIN)


def _same(path: Path, sha256: str, what: str) -> None:
    """Raises UnmetError if the file or folder does not have this digest."""
    seen = digest(path)
    if seen != sha256:
        raise UnmetError(
            f"{what} is not what was built: its digest is {seen[:19]}…, the build's was {sha256[:19]}…",
            where=str(path),
            hint=_AGAIN,
        )


def _as_built(path: Path, mode: int | None, record: BuildRecord, name: str) -> None:
    """Raises UnmetError if a file has another mode than it was built with. The digest of a file does not include
    it."""
    built = record.row.get("mode") if record.row else None
    if built is not None and mode is not None and f"{mode:04o}" != built:
        raise UnmetError(
            f"{name} is not as it was built: its mode is {mode:04o}, the build's was {built}",
            where=str(path),
            hint=_AGAIN,
        )


def _startable(session: Session, made: Made) -> Start:
    """How it is started. Raises PortableError if the record does not fit the format, or if a cell would see files
    from outside of dist."""
    try:
        start = FORMATS[made.format].start(made)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as problem:
        raise UnmetError(f"the record of {made.name} does not fit its format: {problem!r}", hint=_AGAIN)
    # Its own path may be one of the config, which is the caller's.
    rooms = [made.path.resolve(), session.dist.resolve(), resources.path("build").resolve()]
    for bind in (*start.binds, *(start.install.binds if start.install else ())):
        if not any(bind.source.resolve().is_relative_to(room) for room in rooms):
            raise UnmetError(f"a link of {made.name} leads out of it", where=str(bind.source), hint=_AGAIN)
    return start


def _controls(
    session: Session, plan: Plan, lock: str | None
) -> tuple[dict[NodeId, Result], dict[Control, str]]:
    """The nodes of the controls whose files are in dist, and why the others cannot be started."""
    ready = {}
    lost = {}
    for control in plan.controls:
        try:
            ready[control.node] = _control(session, control, lock)
        except PortableError as problem:
            lost[control] = problem.what
    return ready, lost


def _control(session: Session, control: Control, lock: str | None) -> Result:
    """The folder with the file of a control. Raises PortableError."""
    record = records.control(session.dist, control.name)
    path = records.carried(session.dist, record.sha256) if record else None
    if record is None or path is None or not path.is_dir():
        raise UnmetError(not_carried("its file"))
    if (record.config, record.lock) != (session.config.sha256, lock):
        raise UnmetError("its file was made with another config or another lock")
    _real(session, path, "its file")
    _same(path, record.sha256, "its file")
    file = path / record.meta["payload"]
    if not file.exists() or not file.resolve().is_relative_to(path.resolve()):
        raise UnmetError("its file is not where its record says")
    _startable(session, Made(control.artifact, control.format, file, record.meta))
    return Result(path, record.sha256, {**record.meta, "measured_floor": record.floor})


def no_judge(session: Session) -> str | None:
    """Why nothing may be started: the helpers are only in this dist/, and nothing else says that they can be trusted.
    Artifacts must not bring the program that judges them. None if this machine has its own helpers, or pinned ones.

    Raises MachineError if there are no helpers at all.
    """
    try:
        session.helpers()
    except MachineError:
        found = (records.artifact(session.dist, name) for name in session.config.artifacts)
        if not any(record and static_helpers.key() in record.carried for record in found):
            raise
        return (
            "the helpers that start cells came together with the artifacts, so they cannot be trusted; "
            "neither this py-portable nor a plan names them: install a compiler for them (musl-tools), use "
            "the folder that `bring` makes, or start a shard of the plan (--shard)"
        )
    return None


def _helpers(session: Session, pinned: Mapping[str, str]) -> Path | None:
    """The helpers in dist/ that are pinned, for a machine that cannot compile its own."""
    sha256 = pinned.get(static_helpers.key())
    path = records.carried(session.dist, sha256) if sha256 else None
    if sha256 is None or path is None or not path.is_dir():
        return None
    try:
        _real(session, path, "the folder of helpers")
        _same(path, sha256, "the folder of helpers")
    except UnmetError:
        return None
    return path
