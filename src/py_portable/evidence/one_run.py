"""Checks of evidence that claims to come from one run, and the cells that are missing in it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from py_portable.errors import ConfigError
from py_portable.evidence import follows
from py_portable.evidence.typed import CellRow, Evidence
from py_portable.plan import shards
from py_portable.plan.cell import CellId, PlannedCell
from py_portable.plan.shards import Sharding


def one_config(parts: Iterable[Evidence]) -> None:
    """Raises ConfigError where there are two."""
    known = sorted({part["config"]["sha256"] for part in parts if part.get("config")})
    if len(known) > 1:
        raise ConfigError(
            f"this evidence comes from two configs: {known[0]} and {known[1]}",
            hint="merge only shards of one run; all of them must use the same portable.yaml",
        )


def one_plan(parts: Sequence[Evidence]) -> Sharding | None:
    """The plan of the shards. Raises ConfigError if there are two, or if it is missing."""
    plans = {part["plan"]["digest"]: part["plan"] for part in parts if part.get("plan")}
    named: dict[str, str] = {}
    for row in (row for part in parts for row in part.get("shards", ())):
        named[row["plan"]] = min(row["name"], named.get(row["plan"], row["name"]))
    digests = sorted({*plans, *named})
    if len(digests) > 1:
        who = [
            f"{digest[:19]}…" + (f" (of {named[digest]})" if digest in named else "") for digest in digests
        ]
        raise ConfigError(
            f"this evidence comes from two plans: {who[0]} and {who[1]}",
            hint="merge only shards of one run; all its jobs must use the same plan.json",
        )
    if not digests:
        return None
    if digests[0] not in plans:
        raise ConfigError(
            f"the plan of {named[digests[0]]} is not in this evidence",
            hint="add plan.json: without it, missing shards cannot be found",
        )
    plan = shards.parse(plans[digests[0]], "the plan")
    for row in (row for part in parts for row in part.get("shards", ())):
        plan.shard(row["name"])
    return plan


def one_record(one: CellRow, other: CellRow) -> None:
    """Raises ConfigError if two records of one cell differ."""
    texts = {json.dumps(cell, sort_keys=True): cell for cell in (one, other)}
    if len(texts) == 1:
        return
    first, second = (cell for _, cell in sorted(texts.items()))
    what = [f"{cell['verdict']} ({cell.get('when', 'no time')})" for cell in (first, second)]
    raise ConfigError(
        f"{CellId.of(one)} has two records in this evidence: {what[0]} and {what[1]}",
        hint="if a shard ran twice, use the evidence of one of its runs",
    )


def one_digest(parts: Iterable[Evidence]) -> dict[str, str]:
    """Artifact -> digest. Raises ConfigError if an artifact has two digests."""
    known: dict[str, str] = {}
    rows = {(row["name"], row["sha256"]): row for part in parts for row in part.get("artifacts", ())}
    for _, row in sorted(rows.items()):
        if known.setdefault(row["name"], row["sha256"]) != row["sha256"]:
            raise ConfigError(
                f"{row['name']} has two digests in this evidence: {known[row['name']]} and {row['sha256']}",
                hint="merge only shards of one run; all of them must start the artifacts of the same build",
            )
    return known


def one_identity(cells: Iterable[CellRow]) -> None:
    """The identities of images. Raises ConfigError if an image has two."""
    known: dict[str, str] = {}
    for cell in cells:
        image, identity = cell["image"], cell.get("image_identity")
        if identity and known.setdefault(image, identity) != identity:
            raise ConfigError(
                f"{image} has two identities in this evidence: {known[image]} and {identity}",
                hint="all shards of a run must use the same image: make it once and give it to all "
                "jobs, or run everything again",
            )


def as_planned(cells: Iterable[CellRow], plan: Sharding | None, digests: Mapping[str, str]) -> None:
    """Raises ConfigError where a cell is not the plan's, is of another artifact than was built (`digests`), or where
    its verdict does not follow from its own record: a shard's word is not taken for what can be worked out again.
    """
    planned = {cell.id: (shard.name, cell) for shard in plan.shards for cell in shard.cells} if plan else {}
    wrong = []
    for row in cells:
        shard, cell = planned.get(CellId.of(row), ("", None))
        name = str(CellId.of(row))
        where = f"{shard}: {name}" if shard else name
        if plan and cell is None:
            wrong.append(f"{name} {' '.join(row['argv'])}: is not a cell of the plan".replace(" :", ":"))
            continue
        differ = _differ(row, cell) if cell else None
        built = digests.get(row["artifact"])
        if (
            not differ
            and plan
            and not (cell and cell.control)
            and built
            and row["sha256"] not in (built, "none")
        ):
            differ = f"sha256 is {row['sha256']}, the build's is {built}"
        if problem := differ or follows.why_not(row, cell.exit if cell else None):
            wrong.append(f"{where}: {problem}")
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ConfigError(
            f"{min(wrong)}{more}",
            hint="py-portable did not write this evidence in the job of that shard: run the job again, "
            "and find out what else can write there",
        )


def _differ(row: CellRow, cell: PlannedCell) -> str | None:
    """The field in which a record differs from the cell in the plan. A field that an older kit did not write is
    ignored."""
    for name in ("format", "expect", "optional", "smoke"):
        planned = getattr(cell, name)
        seen = row.get(name, planned if name != "smoke" else None)
        if planned is not None and seen != planned:
            return f"{name} is {json.dumps(seen)}, the plan says {json.dumps(planned)}"
    return None


def missing(merged: Evidence, plan: Sharding) -> Iterator[tuple[PlannedCell, str]]:
    """The cells of the plan without a record, and why."""
    there = {row["name"] for row in merged["shards"]}
    known = {CellId.of(cell) for cell in merged["cells"]}
    failures = {row["name"]: row["why"] for row in merged["failures"]}
    for shard in plan.shards:
        for cell in shard.cells:
            if cell.id in known:
                continue
            if shard.name not in there:
                yield cell, f"shard missing: {shard.name}"
            else:
                why = f": {failures[cell.artifact]}" if cell.artifact in failures else ""
                yield cell, f"{shard.name} did not start it{why}"
