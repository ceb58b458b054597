"""Prepares artifacts to be started on another machine: their records, and with `--carry` what else cells need.

Cells also need the interpreter that installs wheels (and, for a published wheel, the wheelhouse with its
dependencies), the files of the controls, and the helpers that start cells. These are folders in dist/.carried/, named
by their digests. `--carry-all` adds what `benchmark` compares artifacts with.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from py_portable.engines.static_helpers import key
from py_portable.errors import ConfigError, MachineError
from py_portable.evidence import reading
from py_portable.evidence.typed import ArtifactRow
from py_portable.formats import FORMATS, Made
from py_portable.plan import shards
from py_portable.plan.matrix import Control
from py_portable.plan.shards import FILE
from py_portable.project import records
from py_portable.project.records import BuildRecord
from py_portable.project.session import Session
from py_portable.steps.runner import Report
from py_portable.store import digest
from py_portable.store.walk import remove

Carry = Literal["nothing", "cells", "all"]
"""What a build puts into dist/ besides its artifacts: nothing, what cells need, or also what `benchmark` needs."""
_OURS = re.compile(r"[0-9a-f]{64}")


def record(session: Session, lock: str, made: Made, row: ArtifactRow, report: Report, carry: Carry) -> None:
    """Write the record of an artifact; `lock` is the digest of the lock it was made with.

    Raises ConfigError if nothing in it can be started, or if dist/.carried is not a folder.
    """
    start = FORMATS[made.format].start(made)
    shown = {bind.source for bind in (*start.binds, *(start.install.binds if start.install else ()))}
    needs: dict[str, str] = {}
    compared: dict[str, str] = {}
    for name, path, sha256 in (
        ("interpreter", made.interpreter, made.interpreter_digest),
        ("wheelhouse", made.wheelhouse, made.wheelhouse_digest),
    ):
        if path and sha256:
            compared[name] = sha256
            # What else the run has, such as the interpreter of a compiled artifact, no cell of it needs.
            if path in shown:
                needs[name] = sha256
            if carry == "all" or (carry == "cells" and path in shown):
                node = next(name for name, result in report.results.items() if result.path == path)
                _carry(session, report.keys[node], sha256)
    if carry != "nothing":
        needs[key()] = _carry_helpers(session)
    place = (
        None if session.config.artifacts[made.name].path else made.path.relative_to(session.dist).as_posix()
    )
    told = BuildRecord(
        session.config.sha256,
        lock,
        row["sha256"],
        row.get("measured_floor"),
        made.meta,
        row,
        place,
        needs,
        compared,
    )
    records.write(session.dist, made.name, told)


def carry_rest(session: Session, lock: str, controls: Iterable[Control], report: Report) -> None:
    """Write the records of the controls that were built, and remove files that no record names. Raises
    ConfigError."""
    for control in controls:
        result = report.results.get(control.node)
        if result is None:
            continue
        _carry(session, report.keys[control.node], result.digest)
        floor = result.meta.get("measured_floor")
        told = BuildRecord(session.config.sha256, lock, result.digest, floor, result.meta)
        records.write(session.dist, control.name, told)
    config = session.config
    found = [records.artifact(session.dist, name) for name in config.artifacts]
    rest = [records.control(session.dist, name) for name in config.portability.controls]
    named = {sha for one in found if one for sha in (*one.carried.values(), *one.compared.values())}
    named |= {one.sha256 for one in rest if one}
    named |= set(_pinned(session.dist / FILE).values())
    known = {records.carried(session.dist, sha256) for sha256 in named}
    for path in _room(session).glob("*"):
        if _OURS.fullmatch(path.name) and path not in known:
            remove(path)


def pin_helpers(session: Session) -> Mapping[str, str]:
    """For a plan: put the helpers of this machine into dist/ and return their digest by their key, so that a machine
    without a compiler knows which ones it may use. Empty if this machine has none. Raises ConfigError as `record`
    does."""
    try:
        return {key(): _carry_helpers(session)}
    except MachineError:
        return {}


def _pinned(plan: Path) -> Mapping[str, str]:
    try:
        return shards.parse(reading.read(plan)["plan"], str(plan)).helpers
    except (ConfigError, KeyError):
        return {}


def _carry(session: Session, step_key: str, sha256: str) -> None:
    path = _room(session) / records.carried(session.dist, sha256).name
    if not _is(path, sha256):
        entry = session.store.get(step_key)
        assert entry is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        session.store.restore(entry, ".", path)


def _carry_helpers(session: Session) -> str:
    """Put the helpers into dist/, for a machine that has no compiler and for which the kit has none; returns their
    digest."""
    source = session.helpers()
    sha256 = digest(source)
    path = _room(session) / records.carried(session.dist, sha256).name
    if not _is(path, sha256):
        remove(path)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        remove(fresh)
        shutil.copytree(source, fresh)
        fresh.rename(path)
    return sha256


def _is(path: Path, sha256: str) -> bool:
    return path.is_dir() and not path.is_symlink() and digest(path) == sha256


def _room(session: Session) -> Path:
    """Raises ConfigError for a link: py-portable must not replace or remove the files to which it leads."""
    path = session.dist / records.CARRIED
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ConfigError("is not a folder", where=str(path), hint="remove it, or choose another --dist")
    return path
