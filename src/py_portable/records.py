"""What a build leaves beside its artifacts for those who start them on another machine: dist/evidence/as-made/.

One file an artifact, and one a control, so that what several build jobs left can be put into one dist folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from py_portable.errors import ConfigError
from py_portable.plan.assemble import Control

FOLDER = "evidence/as-made"
CONTROLS = f"{FOLDER}/controls"
CARRIED = ".carried"
"""The folder of dist/ with what `build --carry` put there, by digest. No artifact can be called like it."""
SCHEMA = 1
_AGAIN = "build again with this version of py-portable, and take the dist folder along as it is"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Record:
    """`config`, `lock`: digests (64 hex digits) of what it was made from. `row`: what evidence says of the artifact;
    of a control only its `sha256` and `measured_floor`. `place`: where it lies in dist, None where the config tells.
    `carried`: digests of what its cells need besides, by "interpreter" and "wheelhouse".
    """

    config: str
    lock: str
    row: Mapping[str, Any]
    place: str | None
    meta: Mapping[str, Any]
    carried: Mapping[str, str]
    control: Control | None = None

    @property
    def sha256(self) -> str:
        return str(self.row["sha256"])


def write(dist: Path, name: str, record: Record) -> None:
    """The record of the artifact `name`, or of the control of that name."""
    path = _path(dist, name, control=record.control is not None)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps({"schema": SCHEMA, **asdict(record)}, indent=1, sort_keys=True) + "\n")
    fresh.replace(path)


def forget(dist: Path, name: str) -> None:
    """What is built anew is no longer what its record says, and its control is none any more."""
    _path(dist, name).unlink(missing_ok=True)
    for path in sorted((dist / CONTROLS).glob("*.json")):
        record = read(path)
        if record.control is None or record.control.artifact == name:
            path.unlink(missing_ok=True)


def artifact(dist: Path, name: str) -> Record | None:
    """None where there is no record. Raises ConfigError for one that cannot be read."""
    path = _path(dist, name)
    return read(path) if path.exists() else None


def controls(dist: Path) -> list[Record]:
    """Raises ConfigError."""
    return [read(path) for path in sorted((dist / CONTROLS).glob("*.json"))]


def read(path: Path) -> Record:
    """Looked at as something that anybody may have written. Raises ConfigError."""
    try:
        told = json.loads(path.read_bytes())
        if told.pop("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        control = Control(**_texts(told.pop("control"))) if told["control"] else told.pop("control")
        record = Record(**told, control=control)
        for what in (record.config, record.lock, *record.carried.keys()):
            if not isinstance(what, str):
                raise ValueError(f"{what!r} is not text")
        for digest in (record.row["sha256"], *record.carried.values()):
            if not _DIGEST.fullmatch(digest):
                raise ValueError(f"{digest!r} is not a digest")
        if not isinstance(record.meta, dict) or not isinstance(record.row["measured_floor"], str | None):
            raise ValueError("what it says of the artifact is not what a build says")
        for place in (record.place, record.meta["payload"] if control else None):
            if place is not None:
                _inside(place)
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=str(path))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as problem:
        raise ConfigError(
            f"is not the record of a build: {type(problem).__name__}: {problem}",
            where=str(path),
            hint=_AGAIN,
        )
    return record


def carried(dist: Path, digest: str) -> Path:
    """Where a build puts what has this digest."""
    return dist / CARRIED / digest.removeprefix("sha256:")


def _path(dist: Path, name: str, *, control: bool = False) -> Path:
    return dist / (CONTROLS if control else FOLDER) / f"{name}.json"


def _texts(told: Mapping[str, Any]) -> dict[str, str]:
    for value in told.values():
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not text")
    return dict(told)


def _inside(place: str) -> None:
    """Raises ValueError for a path that leaves its folder."""
    if place.startswith("/") or ".." in PurePosixPath(place).parts or "\0" in place:
        raise ValueError(f"{place!r} is no place in a dist folder")
