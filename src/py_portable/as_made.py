"""`portability --as-made`: artifacts as they lie in dist/, made by a build on another machine. Nothing is built.

Neither the lock nor an index is asked, and no compiler is started. Of the network there is only what images need.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from py_portable import evidence, records
from py_portable.build import EVIDENCE, Built
from py_portable.errors import ConfigError, PortableError, StepError, UnmetError
from py_portable.formats import FORMATS, Made
from py_portable.lock import model as lock_model
from py_portable.native import key
from py_portable.plan.assemble import Plan, image_nodes
from py_portable.records import Record
from py_portable.run.runner import Report
from py_portable.session import Session
from py_portable.steps.context import Result
from py_portable.store import digest

NOT_CARRIED = "did not come along (the build's word for it is: build --carry)"
_AGAIN = "take dist/ along as the build left it, in a tar: it keeps modes and links"


def take(
    session: Session, artifacts: Collection[str], images: Collection[str], *, controls: bool = True
) -> Built:
    """The named artifacts (all, where none is named), each held against what its build recorded, and the images.

    One that is gone, or another than it was, is among the failures. Raises ConfigError.
    """
    session.check_artifacts(artifacts)
    lock = lock_model.load(session.lock_path)
    nodes = image_nodes(session.config, lock)
    wanted = [node.name for name, node in nodes.items() if not images or name in images]
    found = [_control(session, one) for one in records.controls(session.dist)] if controls else []
    ready = {one.control.node: result for one, result in found if one.control and result}
    plan = Plan(
        {node.name: node for node in nodes.values()},
        {name: None for name in session.config.artifacts if not artifacts or name in artifacts},
        {name: node.name for name, node in nodes.items()},
        tuple(one.control for one, result in found if one.control and result),
        _left_out(session, {one.control.name for one, result in found if one.control and result}),
    )
    made: dict[str, Made] = {}
    rows = []
    failures: dict[str, PortableError] = {}
    lacking: dict[str, str] = {}
    known = {name: records.artifact(session.dist, name) for name in plan.artifacts}
    _bring_helpers(session, [record for record in known.values() if record])
    for name, record in known.items():
        try:
            if record is None:
                raise _never_made(session, name)
            path = _checked(session, name, record)
            beside, lacks = _beside(session, name, record)
            if lacks:
                lacking[name] = lacks
            else:
                one = Made(
                    name,
                    session.config.artifacts[name].format,
                    path,
                    record.meta,
                    beside.get("interpreter"),
                    record.carried.get("interpreter"),
                    beside.get("wheelhouse"),
                    record.carried.get("wheelhouse"),
                )
                FORMATS[one.format].start(one)
                made[name] = one
        except PortableError as problem:
            failures[f"artifact {name}"] = problem
            continue
        except (KeyError, TypeError) as problem:
            failures[f"artifact {name}"] = _not_a_record(name, problem)
            continue
        rows.append(record.row)
    report = session.run(plan, wanted, lock)
    report = Report({**report.results, **ready}, report.images, report.failures, report.keys)
    return Built(plan, lock, report, made, tuple(rows), {**report.failures, **failures}, lacking)


def places(session: Session) -> dict[str, Path]:
    """Where the artifacts lie that have a record."""
    found = {name: records.artifact(session.dist, name) for name in session.config.artifacts}
    return {name: _place(session, name, record) for name, record in found.items() if record}


def lock_sha256(session: Session) -> str:
    """Of the lock that all artifacts here were made with. Raises ConfigError where there is none, or two."""
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
            hint="build both with the one lock: commit portable.lock, or hand it from job to job",
        )
    if not named:
        raise ConfigError("no build has left anything here", where=str(session.dist), hint=_AGAIN)
    return next(iter(named))


def _never_made(session: Session, name: str) -> PortableError:
    """With the build's own words, where it failed."""
    parts = [part for part in evidence.read_parts(session.dist / EVIDENCE) if part.get("command") == "build"]
    for row in evidence.merge(parts)["failures"]:
        if row["name"] == name:
            return StepError(row["why"])
    return UnmetError(f"{name} has no record of a build in {session.dist}", hint=_AGAIN)


def _not_a_record(name: str, problem: Exception) -> ConfigError:
    return ConfigError(f"the record of {name} is not one that a build wrote: {problem!r}", hint=_AGAIN)


def _place(session: Session, name: str, record: Record) -> Path:
    """What is made elsewhere (the format `file`) lies where the config says."""
    own = session.config.artifacts[name].path
    if own is not None:
        return own
    if record.place is None:
        raise ConfigError(f"the record of {name} does not tell where it lies", where=str(session.dist))
    return session.dist / record.place


def _checked(session: Session, name: str, record: Record) -> Path:
    """Where the artifact lies, that is what was recorded, for this config."""
    config = session.config
    wanted = (config.sha256, config.artifacts[name].format)
    if (record.config, record.row.get("format")) != wanted or record.row.get("name") != name:
        raise UnmetError(
            f"{name} was made of another {config.path.name}",
            where=str(session.dist),
            hint="build it anew, and start it with the config that it was built with",
        )
    path = _place(session, name, record)
    _same(path, record.sha256, name)
    return path


def _same(path: Path, sha256: str, what: str) -> None:
    """Raises UnmetError where the path has not that digest."""
    if not path.exists():
        raise UnmetError(f"{what} is not here any more: there is no {path}", hint=_AGAIN)
    seen = digest(path)
    if seen != sha256:
        raise UnmetError(
            f"{what} is not what was built: its digest is {seen[:19]}…, the build's was {sha256[:19]}…",
            where=str(path),
            hint=_AGAIN,
        )


def _beside(session: Session, name: str, record: Record) -> tuple[dict[str, Path], str | None]:
    """What its cells need besides the artifact, and what of it did not come along."""
    found: dict[str, Path] = {}
    for what in ("interpreter", "wheelhouse"):
        sha256 = record.carried.get(what)
        if sha256 is None:
            continue
        path = records.carried(session.dist, sha256)
        if not path.exists():
            return {}, f"the {what} that its cells take {NOT_CARRIED}"
        _same(path, sha256, f"the {what} of {name}")
        found[what] = path
    return found, None


def _control(session: Session, record: Record) -> tuple[Record, Result | None]:
    """A control of this config, with the folder of its file where it came along."""
    path = records.carried(session.dist, record.sha256)
    if record.control is None or record.config != session.config.sha256 or not path.exists():
        return record, None
    control = record.control
    _same(path, record.sha256, control.node)
    try:
        made = Made(control.artifact, control.format, path / record.meta["payload"], record.meta)
        FORMATS[control.format].start(made)
    except (KeyError, TypeError) as problem:
        raise _not_a_record(control.node, problem)
    return record, Result(path, record.sha256, record.meta)


def _left_out(session: Session, there: Collection[str]) -> tuple[tuple[str, str], ...]:
    asked = session.config.portability.controls
    return tuple((f"control {name}", f"its file {NOT_CARRIED}") for name in asked if name not in there)


def _bring_helpers(session: Session, found: Collection[Record]) -> None:
    """The helpers that came along into the store; where they did not, the store makes its own as ever."""
    for sha256 in {one.carried[key()] for one in found if key() in one.carried}:
        path = records.carried(session.dist, sha256)
        if path.exists() and digest(path) == sha256:

            def build(work: Path, source: Path = path) -> Mapping[str, object]:
                shutil.copytree(source, work / "out", dirs_exist_ok=True)
                return {}

            session.store.make(key(), build)
