"""Records that a build leaves in dist/evidence/as-made/, for machines that start its artifacts.

There is one file for each artifact and each control, so that the files of several build jobs can be put into one dist
folder.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from types import NoneType
from typing import Any

from py_portable.base import printable, shape
from py_portable.base.atomic import write_whole
from py_portable.base.regular import read_regular
from py_portable.errors import ConfigError
from py_portable.evidence.typed import ArtifactRow

FOLDER = "evidence/as-made"
CONTROLS = f"{FOLDER}/controls"
CARRIED = ".carried"
"""The folder in dist/ for the files of `build --carry`, by digest. No artifact can have this name."""
SCHEMA = 1
MAX_BYTES = 1 << 20
_AGAIN = "build again with this version of py-portable, and pass on the dist folder as it is"
_DIGITS = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FLOOR = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,9}")
_TEXT = (str, NoneType)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "config": (str,),
    "lock": (str,),
    "sha256": (str,),
    "floor": _TEXT,
    "meta": (dict,),
    "row": (dict, NoneType),
    "place": _TEXT,
    "carried": (dict, NoneType),
    "compared": (dict, NoneType),
}
_META = (
    "script",
    "distribution",
    "entry_point",
    "sha256",
    "payload",
    "extras",
    "with",
    "package",
    "version",
    "lint_overrides",
)
"""The keys of an artifact's meta that formats need to start it. The others stay with the build."""
_ROW: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "format": (str,),
    "path": (str,),
    "sha256": (str,),
    "bytes": (int,),
    "arch": _TEXT,
    "interpreter": _TEXT,
    "measured_floor": _TEXT,
    "licences": (list, NoneType),
    "seconds": (int, float),
    "cached": (bool,),
}
_MODE = re.compile(r"[0-7]{4}")
_TAG = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


@dataclass(frozen=True)
class BuildRecord:
    """The record of an artifact, or of a control (whose `row` is None).

    `config`, `lock`: digests (64 hex digits) of what it was made from. `sha256`: its own digest; of a control that of
    the folder with its file. `row`: what evidence says of it. `place`: where it lies in dist, None where the config
    tells. `carried`: digests of what its cells need besides: "interpreter", "wheelhouse", and the helpers by their
    key. `compared`: of what `benchmark` compares it with: "interpreter", "wheelhouse".
    """

    config: str
    lock: str
    sha256: str
    floor: str | None
    meta: Mapping[str, Any]
    row: ArtifactRow | None = None
    place: str | None = None
    carried: Mapping[str, str] = field(default_factory=dict)
    compared: Mapping[str, str] = field(default_factory=dict)


def artifact(dist: Path, name: str) -> BuildRecord | None:
    """The record of an artifact; None if there is none. Raises ConfigError if it cannot be read."""
    return _find(dist / FOLDER / f"{name}.json")


def control(dist: Path, name: str) -> BuildRecord | None:
    """The record of a control; None if there is none. Raises ConfigError if it cannot be read."""
    return _find(dist / CONTROLS / f"{name}.json")


def write(dist: Path, name: str, record: BuildRecord) -> None:
    """The record of the artifact `name`, or of the control of that name where it has no row."""
    path = dist / (CONTROLS if record.row is None else FOLDER) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = asdict(record) | {"meta": {key: record.meta[key] for key in _META if key in record.meta}}
    write_whole(path, json.dumps({"schema": SCHEMA, **told}, indent=1, sort_keys=True) + "\n")


def forget(dist: Path, name: str, *, control: bool = False) -> None:
    """Removes the record of an artifact that is built again, since it is no longer true."""
    (dist / (CONTROLS if control else FOLDER) / f"{name}.json").unlink(missing_ok=True)


def carried(dist: Path, digest: str) -> Path:
    """The folder in which a build puts files with this digest."""
    return dist / CARRIED / digest.removeprefix("sha256:")


def read(path: Path) -> BuildRecord:
    """Reads a record that anybody may have written. Raises ConfigError."""
    try:
        told = shape.parse(_bytes(path), MAX_BYTES)
        if not isinstance(told, dict) or repr(told.pop("schema", None)) != repr(SCHEMA):
            raise ValueError(f"its schema is not {SCHEMA}")
        if unknown := told.keys() - BuildRecord.__dataclass_fields__.keys():
            raise ValueError(f"{min(unknown)!r} is not a key of a record")
        for name, kinds in _TYPES.items():
            if not isinstance(told.get(name), kinds):
                raise ValueError(f"{name} cannot be {_short(told.get(name))}")
        record = BuildRecord(**told)
        _look(record)
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=str(path))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as problem:
        raise ConfigError(
            f"is not the record of a build: {_said(problem)}",
            where=str(path),
            hint=_AGAIN,
        )
    return record


def _said(problem: Exception) -> str:
    """The message of an exception, with the missing key of a KeyError."""
    text = f"it has no {problem}" if isinstance(problem, KeyError) else str(problem)
    return printable.short(printable.line(text), 200)


def _short(value: object) -> str:
    return printable.short(repr(value), 60)


def _find(path: Path) -> BuildRecord | None:
    return read(path) if os.path.lexists(path) else None


def _bytes(path: Path) -> bytes:
    """The bytes of a regular file of limited size; links are refused. Raises OSError, ValueError."""
    return read_regular(path, MAX_BYTES, follow=False)


def _look(record: BuildRecord) -> None:
    """Raises ValueError, KeyError for what `write` does not write; it names the key."""
    for key, digits in (("config", record.config), ("lock", record.lock)):
        _match(_DIGITS, digits, key)
    _match(_DIGEST, record.sha256, "sha256")
    for key, digests in (("carried", record.carried), ("compared", record.compared)):
        for name, digest in digests.items():
            _match(_DIGEST, digest, f"{key}.{printable.short(name, 100)}")
    if record.floor is not None:
        _match(_FLOOR, record.floor, "floor")
    if record.place is not None:
        _inside(record.place, "place")
    for name, value in record.meta.items():
        if name not in _META:
            raise ValueError(f"{name!r} is not a key of an artifact's record")
        for text in value if isinstance(value, list) else (value,):
            # These get into command lines, where neither NUL nor half a character can be.
            if text is not None and not (isinstance(text, str) and text.isprintable()):
                raise ValueError(f"meta.{name} cannot be {_short(text)}")
    for tag in record.meta.get("lint_overrides") or ():
        # It becomes part of a pattern, which must not hide anything else.
        _match(_TAG, tag, "meta.lint_overrides")
    for name in ("payload", "script"):
        if record.meta.get(name) is not None:
            _inside(record.meta[name], f"meta.{name}")
    if record.row is None:
        _inside(record.meta["payload"], "meta.payload")
    else:
        _look_at_row(record, record.row)


def _look_at_row(record: BuildRecord, row: Mapping[str, Any]) -> None:
    # Of a file only, and not in what an older kit wrote.
    if row.keys() - {"mode"} != _ROW.keys():
        raise ValueError("it does not describe the artifact as a build does")
    if "mode" in row:
        _match(_MODE, row["mode"], "row.mode")
    for name, value in row.items():
        if name == "mode":
            continue
        if not isinstance(value, _ROW[name]) or (isinstance(value, bool) and bool not in _ROW[name]):
            raise ValueError(f"row.{name} cannot be {_short(value)}")
    if not all(isinstance(licence, str) for licence in row["licences"] or ()):
        raise ValueError("a licence is not text")
    if row["bytes"] < 0 or not (math.isfinite(row["seconds"]) and row["seconds"] >= 0):
        raise ValueError("its bytes or seconds are not a quantity")
    if (row["sha256"], row["measured_floor"]) != (record.sha256, record.floor):
        raise ValueError("it describes two artifacts")


def _match(pattern: re.Pattern[str], text: Any, key: str) -> None:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(f"{key} cannot be {_short(text)}")


def _inside(place: Any, key: str) -> None:
    """Raises ValueError for a path that leaves its folder."""
    if not isinstance(place, str) or not place or not place.isprintable():
        raise ValueError(f"{key} cannot be {_short(place)}")
    if place.startswith("/") or ".." in PurePosixPath(place).parts:
        raise ValueError(f"{key} is {_short(place)}, which is not a path inside a folder")
