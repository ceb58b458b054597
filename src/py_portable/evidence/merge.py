"""Evidence of what was built and observed: immutable parts, and their merge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from py_portable.base.atomic import write_whole
from py_portable.base.regular import read_regular
from py_portable.base.shape import MOST_BYTES
from py_portable.errors import ConfigError
from py_portable.evidence import one_run
from py_portable.evidence.reading import read
from py_portable.evidence.typed import (
    IDENTITY,
    MISSING,
    ROWS,
    SCHEMA,
    CellResult,
    CellRow,
    Evidence,
    now,
)
from py_portable.plan.cell import CellId, is_control
from py_portable.plan.shards import Sharding

MOST_TURNS = 1 << 53
_Age = tuple[int, str]
_Row = Mapping[str, Any]


def write_part(folder: Path, command: str, scope: Iterable[str], part: Evidence) -> Path:
    """Write one part into `folder`/parts. It replaces an earlier part of the same command with the same scope.

    Its turn is one more than the highest turn there, so it counts as later, whatever the clocks of the machines said.
    Raises ConfigError if no higher turn is possible.
    """
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(json.dumps(sorted(scope)).encode()).hexdigest()[:12]
    path = parts / f"{command}-{name}.json"
    turn = 1 + max((_turn(one) for one in parts.glob("*.json")), default=0)
    if turn > MOST_TURNS:
        raise ConfigError(
            "the parts in it have the highest possible number", where=str(parts), hint="remove the folder"
        )
    _write(path, {"schema": SCHEMA, "command": command, "when": now(), **part, "turn": turn})
    return path


def _turn(path: Path) -> int:
    """The turn of a part; 0 if this kit cannot read it. The error is reported when all parts are read."""
    try:
        told = json.loads(read_regular(path, MOST_BYTES))
        turn = told.get("turn") if isinstance(told, dict) else 0
    except (OSError, ValueError, RecursionError):
        return 0
    return turn if type(turn) is int and 0 < turn <= MOST_TURNS else 0


def read_parts(folder: Path) -> list[Evidence]:
    return [read(path) for path in sorted((folder / "parts").glob("*.json"))]


def merge(
    parts: Iterable[Evidence],
    *,
    artifacts: Mapping[str, str] | None = None,
    identities: Mapping[str, str | None] | None = None,
    shards: bool = False,
) -> Evidence:
    """All parts as one, the same whatever order they come in; of two rows about one thing the later one holds: that of
    the later turn in a dist folder, and of one turn (or of none) that of the later time.

    `artifacts` (name -> sha256) tells which artifacts there are, `identities` which images (None: not known):
    rows about others, or about an older one of the same name, are dropped. Raises ConfigError where two parts
    still know one image by two identities.

    `shards`: the parts are of one run. Nothing is later than anything else in it, and what contradicts itself is
    refused: two configs, plans, digests of an artifact or records of a cell, a verdict that its own record does not
    bear out. With a plan among the parts each cell is held against it, and its cells that have no record are UNPROVEN;
    without the plan that a shard names, ConfigError is raised.
    """
    parts = list(parts)
    plan = None
    if shards:
        one_run.one_config(parts)
        artifacts, plan = one_run.one_digest(parts), one_run.one_plan(parts)
        parts = [_without_missing(part) for part in parts]
    merged: dict[str, Any] = {"schema": SCHEMA}
    rows: dict[str, dict[Any, tuple[_Age, Any]]] = {name: {} for name in ROWS}
    for part in cast(list[Mapping[str, Any]], sorted(parts, key=_age)):
        # A merge is as old as the newest part of it, so that merges can be merged.
        for name in ("when", "kit", "config", "host", *(() if shards else ("turn",))):
            if name in part and (
                not shards or name not in merged or _text(merged[name]) <= _text(part[name])
            ):
                merged[name] = part[name]
        for name in ROWS:
            for row in part.get(name, ()):
                age, row = _dated(row, part, name, shards)
                identity = IDENTITY[name](row)
                kept = rows[name].get(identity)
                if shards and name == "cells" and kept is not None:
                    one_run.one_record(kept[1], cast(CellRow, row))
                if kept is None or (kept[0], _text(kept[1])) <= (age, _text(row)):
                    rows[name][identity] = (age, row)
    if shards:
        one_run.as_planned([row for _, row in rows["cells"].values()], plan, artifacts or {})
    built = {row["name"]: age for age, row in rows["artifacts"].values()}
    for identity, (age, row) in list(rows["failures"].items()):
        if built.get(row["name"], age) > age:
            del rows["failures"][identity]
        elif not shards and built.get(row["name"], age) < age:
            # What an earlier build left is another thing than what was asked for.
            del rows["artifacts"][identity]
    if not shards:
        rows["shards"] = _of_newest_plan(rows["shards"])
    for name in ROWS:
        merged[name] = [row for _, (_, row) in sorted(rows[name].items())]
    every = {CellId.read(cell) for part in parts for cell in part.get("expected", ())}
    merged["expected"] = [cell.told() for cell in sorted(every)]
    if artifacts is not None:
        merged["artifacts"] = [a for a in merged["artifacts"] if artifacts.get(a["name"]) == a["sha256"]]
        # A control's file is built for it alone and lies in no dist folder. Of one run a part may well have cells of
        # an artifact that another part tells of.
        merged["cells"] = [
            c
            for c in merged["cells"]
            if artifacts.get(c["artifact"], c["sha256"] if shards else None) == c["sha256"]
            or (is_control(c) and (shards or c["artifact"] in artifacts))
        ]
    if identities is not None:
        merged["cells"] = [
            c
            for c in merged["cells"]
            if c["image"] in identities
            and (not identities[c["image"]] or c.get("image_identity") in (None, identities[c["image"]]))
        ]
    one_run.one_identity(merged["cells"])
    if plan:
        merged = _with_missing(merged, plan)
    merged["expected_cells"] = len(merged["expected"])
    return cast(Evidence, merged)


def write(path: Path, merged: Evidence) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, merged)


def _age(part: Evidence) -> tuple[int, str, str]:
    return part.get("turn", 0), str(part.get("when", "")), _text(part)


def _dated(row: _Row, part: _Row, name: str, shards: bool) -> tuple[_Age, _Row]:
    """A row with what tells it from later ones. A cell keeps its turn in a merge; among the shards of one run, which
    are of several folders, turns say nothing."""
    if shards:
        undated = {key: value for key, value in row.items() if key != "turn"} if name == "cells" else row
        return (0, str(row.get("when", ""))), undated
    turn = part.get("turn", 0)
    if name == "cells":
        turn = row.get("turn", turn)
        row = {**row, "turn": turn} if turn else row
    return (turn, str(row.get("when", part.get("when", "")))), row


def _text(told: Any) -> str:
    return json.dumps(told, sort_keys=True)


def _of_newest_plan(rows: dict[Any, tuple[_Age, Any]]) -> dict[Any, tuple[_Age, Any]]:
    """Drops parts of an earlier plan's shards that are left in a dist folder."""
    newest = max(((age, row["plan"]) for age, row in rows.values()), default=((0, ""), ""))[1]
    return {key: (age, row) for key, (age, row) in rows.items() if row["plan"] == newest}


def _without_missing(part: Evidence) -> Evidence:
    """Drops rows of missing cells: every merge looks again for them, because their shard may have arrived."""
    return {**part, "cells": [c for c in part.get("cells", ()) if c.get("reason") != MISSING]}


def _with_missing(merged: Mapping[str, Any], plan: Sharding) -> dict[str, Any]:
    """`merged` with all cells of the plan; those without a record are UNPROVEN."""
    digests = {row["name"]: row["sha256"] for row in merged["artifacts"]}
    glibcs = {c["image"]: c["image_glibc"] for c in merged["cells"] if c.get("image_glibc")}
    cells = [
        CellResult(
            artifact=cell.artifact,
            format=cell.format,
            sha256="none" if cell.control else digests.get(cell.artifact, "none"),
            image=cell.image,
            image_identity=None,
            image_source=None,
            image_glibc=glibcs.get(cell.image, cell.image_glibc),
            condition=cell.condition,
            expect=cell.expect,
            verdict="UNPROVEN",
            reason=MISSING,
            detail=detail,
            argv=cell.argv,
            optional=cell.optional,
            smoke=cell.smoke,
            when="",
        ).told()
        for cell, detail in one_run.missing(cast(Evidence, merged), plan)
    ]
    cells += merged["cells"]
    every = {CellId.read(cell) for cell in merged["expected"]}
    every |= {cell.id for shard in plan.shards for cell in shard.cells}
    return {
        **merged,
        "plan": plan.told(),
        "cells": sorted(cells, key=CellId.of),
        "expected": [cell.told() for cell in sorted(every)],
    }


def _write(path: Path, told: Evidence) -> None:
    write_whole(path, json.dumps(told, indent=1, sort_keys=True) + "\n", durably=True)
