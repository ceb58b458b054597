"""`build`, for those who start its artifacts elsewhere: their records, and with `--carry` what cells need besides.

That is the interpreter that installs wheels (and, for a published wheel, the wheelhouse with its dependencies), the
files of the controls, and the helpers that start cells: folders in dist/.carried/, called by their digests.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from py_portable import records
from py_portable.formats import FORMATS, Made
from py_portable.native import key
from py_portable.native.stored import helpers
from py_portable.plan.assemble import Control
from py_portable.records import Record
from py_portable.run.runner import Report
from py_portable.session import Session
from py_portable.store import digest


def record(
    session: Session, lock: str, made: Made, row: Mapping[str, Any], report: Report, *, carry: bool
) -> None:
    """Write the record of an artifact; `lock` is the digest of the lock it was made with.

    Raises ConfigError where nothing in it can be started.
    """
    start = FORMATS[made.format].start(made)
    shown = {bind.source for bind in (*start.binds, *(start.install.binds if start.install else ()))}
    needs: dict[str, str] = {}
    for name, path, sha256 in (
        ("interpreter", made.interpreter, made.interpreter_digest),
        ("wheelhouse", made.wheelhouse, made.wheelhouse_digest),
    ):
        # What else the run has, such as the interpreter of a compiled artifact, no cell of it needs.
        if path and sha256 and path in shown:
            needs[name] = sha256
            if carry:
                node = next(name for name, result in report.results.items() if result.path == path)
                _carry(session, report.keys[node], sha256)
    if carry:
        needs[key()] = _carry_helpers(session)
    place = None if made.format == "file" else made.path.relative_to(session.dist).as_posix()
    told = Record(session.config.sha256, lock, row, place, made.meta, needs)
    records.write(session.dist, made.name, told)


def carry_rest(session: Session, lock: str, controls: Iterable[Control], report: Report) -> None:
    """The controls that were built. What no record names any more is removed."""
    for control in controls:
        result = report.results.get(control.node)
        if result is None:
            continue
        _carry(session, report.keys[control.node], result.digest)
        row = {"sha256": result.digest, "measured_floor": result.meta.get("measured_floor")}
        told = Record(session.config.sha256, lock, row, None, result.meta, {}, control)
        records.write(session.dist, control.name, told)
    found = [records.artifact(session.dist, name) for name in session.config.artifacts]
    named = {sha256 for one in found if one for sha256 in one.carried.values()}
    named |= {one.sha256 for one in records.controls(session.dist)}
    known = {records.carried(session.dist, sha256) for sha256 in named}
    for path in (session.dist / records.CARRIED).glob("*"):
        if path not in known:
            shutil.rmtree(path)


def _carry(session: Session, step_key: str, sha256: str) -> None:
    path = records.carried(session.dist, sha256)
    if not path.exists() or digest(path) != sha256:
        entry = session.store.get(step_key)
        assert entry is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        session.store.restore(entry, ".", path)


def _carry_helpers(session: Session) -> str:
    """An image has no compiler."""
    source = helpers(session.store)
    sha256 = digest(source)
    path = records.carried(session.dist, sha256)
    if not path.exists() or digest(path) != sha256:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(source, path)
    return sha256
