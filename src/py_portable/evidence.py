"""Evidence: what was built and seen, as immutable parts, and their merge."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import Any

from py_portable.errors import ConfigError

SCHEMA = 1
LISTS = ("baselines", "interpreters", "wheels", "artifacts", "failures", "cells", "benchmark", "steps")
_IDENTITY = {
    "baselines": ("name",),
    "interpreters": ("version", "provider", "baseline"),
    "wheels": ("file", "place"),
    "artifacts": ("name",),
    "failures": ("name",),
    "cells": ("artifact", "image", "condition", "argv"),
    "benchmark": ("artifact", "image", "start"),
    "steps": ("name",),
}
VERDICTS = frozenset(("PASS", "FAIL", "XFAIL", "XPASS", "UNPROVEN", "NOT-APPLICABLE"))
_TEXTS = {
    "failures": ("name", "why"),
    "artifacts": ("name", "sha256"),
    "cells": ("artifact", "sha256", "image", "condition", "expect", "verdict"),
}
Part = Mapping[str, Any]


@dataclass(frozen=True)
class CellResult:
    """One start of the app and what came of it, as the evidence tells it."""

    artifact: str
    format: str
    sha256: str
    image: str
    image_identity: str | None
    image_source: str | None
    condition: str
    expect: str
    verdict: str
    reason: str | None
    detail: str | None
    argv: tuple[str, ...]
    install: str | None = None
    exit_status: int | None = None
    stdout_tail: str | None = None
    stderr_tail: str | None = None
    seconds: float | None = None
    left_behind: int | None = None
    """Processes that outlived the app and were ended; -1 where they could not be seen."""
    overhead_seconds: float | None = None
    isolation: str | None = None
    image_glibc: str | None = None
    optional: bool = False
    reproduce: str | None = None
    cached: bool = False
    when: str = field(default_factory=lambda: now())

    def told(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def write_part(folder: Path, command: str, scope: Iterable[str], part: Part) -> Path:
    """Write one part into `folder`/parts, in the place of an earlier one of the same command over the same scope."""
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(json.dumps(sorted(scope)).encode()).hexdigest()[:12]
    path = parts / f"{command}-{name}.json"
    _write(path, {"schema": SCHEMA, "command": command, "when": now(), **part})
    return path


def read(path: Path) -> Part:
    """One part, or the merge of some. Raises ConfigError."""
    try:
        told = json.loads(path.read_bytes())
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=str(path))
    except (ValueError, RecursionError):
        raise ConfigError(
            "is not JSON", where=str(path), hint="give evidence.json or a part that a run wrote"
        )
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        raise ConfigError(f"is not evidence of schema {SCHEMA}", where=str(path))
    for name in LISTS:
        rows = told.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ConfigError(f"{name} is not a list of objects", where=str(path))
        for row in rows:
            for key in _TEXTS.get(name, ()):
                if not isinstance(row.get(key), str):
                    raise ConfigError(f"a row of {name} has no text {key!r}", where=str(path))
            if name == "cells" and row["verdict"] not in VERDICTS:
                raise ConfigError(f"a cell has the verdict {row['verdict']!r}", where=str(path))
            if name == "cells" and not isinstance(row.get("argv"), list):
                raise ConfigError("a cell has no list 'argv'", where=str(path))
            for key in ("image_identity", "image_glibc", "measured_floor"):
                if not isinstance(row.get(key), (str, NoneType)):
                    raise ConfigError(f"a row of {name} has a {key!r} that is no text", where=str(path))
    expected = told.get("expected", [])
    if not isinstance(expected, list) or not all(
        isinstance(cell, list) and len(cell) == 4 for cell in expected
    ):
        raise ConfigError("expected is not a list of cells", where=str(path))
    return told


def read_parts(folder: Path) -> list[Part]:
    return [read(path) for path in sorted((folder / "parts").glob("*.json"))]


def merge(
    parts: Iterable[Part],
    *,
    artifacts: Mapping[str, str] | None = None,
    identities: Mapping[str, str | None] | None = None,
    shards: bool = False,
) -> dict[str, Any]:
    """All parts as one: of two rows about one thing the later one holds, whatever order they come in.

    `artifacts` (name -> sha256) tells which artifacts there are, `identities` which images (None: not known):
    rows about others, or about an older one of the same name, are dropped. `shards`: the parts are of one run,
    so two of them that know one artifact by two digests contradict each other. Raises ConfigError for that, and
    where two parts still know one image by two identities.
    """
    parts = list(parts)
    if shards:
        artifacts = _one_digest(parts)
    merged: dict[str, Any] = {"schema": SCHEMA}
    rows: dict[str, dict[tuple[str, ...], tuple[str, Any]]] = {name: {} for name in LISTS}
    for part in sorted(parts, key=_age):
        # A merge is as old as the newest part of it, so that merges can be merged.
        for name in ("when", "kit", "config", "host"):
            if name in part:
                merged[name] = part[name]
        for name in LISTS:
            for row in part.get(name, ()):
                identity = tuple(json.dumps(row.get(key)) for key in _IDENTITY[name])
                when = str(row.get("when", part.get("when", "")))
                kept = rows[name].get(identity)
                if kept is None or (kept[0], _text(kept[1])) <= (when, _text(row)):
                    rows[name][identity] = (when, row)
    built = {json.loads(name): when for (name,), (when, _) in rows["artifacts"].items()}
    for identity, (when, row) in list(rows["failures"].items()):
        if built.get(row["name"], "") > when:
            del rows["failures"][identity]
    for name in LISTS:
        merged[name] = [row for _, (_, row) in sorted(rows[name].items())]
    every = {json.dumps(cell): cell for part in parts for cell in part.get("expected", ())}
    merged["expected"] = [cell for _, cell in sorted(every.items())]
    merged["expected_cells"] = len(every)
    if artifacts is not None:
        merged["artifacts"] = [a for a in merged["artifacts"] if artifacts.get(a["name"]) == a["sha256"]]
        # A control's file is built for it alone and lies in no dist folder.
        merged["cells"] = [
            c
            for c in merged["cells"]
            if artifacts.get(c["artifact"]) == c["sha256"]
            or (c["condition"].startswith("control:") and c["artifact"] in artifacts)
        ]
    if identities is not None:
        merged["cells"] = [
            c
            for c in merged["cells"]
            if c["image"] in identities
            and (not identities[c["image"]] or c.get("image_identity") in (None, identities[c["image"]]))
        ]
    _one_identity(merged["cells"])
    return merged


def identity_of(cell: Mapping[str, Any]) -> list[Any]:
    """What makes a cell the one it is: artifact, image, condition and the smoke command's words."""
    return [cell["artifact"], cell["image"], cell["condition"], list(cell["argv"])]


def write(path: Path, merged: Part) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, merged)


def _age(part: Part) -> tuple[str, str]:
    return str(part.get("when", "")), _text(part)


def _text(told: Mapping[str, Any]) -> str:
    return json.dumps(told, sort_keys=True)


def _one_digest(parts: Iterable[Part]) -> dict[str, str]:
    known: dict[str, str] = {}
    for row in (row for part in parts for row in part.get("artifacts", ())):
        if known.setdefault(row["name"], row["sha256"]) != row["sha256"]:
            raise ConfigError(
                f"{row['name']} has two digests in this evidence: {known[row['name']]} and {row['sha256']}",
                hint="merge the shards of one run; each must start the artifacts of the same build",
            )
    return known


def _one_identity(cells: Iterable[Mapping[str, Any]]) -> None:
    known: dict[str, str] = {}
    for cell in cells:
        image, identity = cell["image"], cell.get("image_identity")
        if identity and known.setdefault(image, identity) != identity:
            raise ConfigError(
                f"{image} has two identities in this evidence: {known[image]} and {identity}",
                hint="the shards of one run must use one image: make it once and hand it on, or run all again",
            )


def _write(path: Path, told: Part) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w") as stream:
        json.dump(told, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)
