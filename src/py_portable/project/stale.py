"""Finds results that answer another question than the config asks now, so that they no longer count. Pure.

A question is the digest that `plan.asked` makes, and what the cell expects. The record of an older kit does not say
which question it answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from py_portable.config import Config
from py_portable.evidence.typed import SCHEMA, STALE, CellRow, Evidence
from py_portable.plan.asked import question
from py_portable.plan.cell import CellId, ConditionId, is_control
from py_portable.plan.expected import expects, starts_on
from py_portable.prove.conditions import CONDITIONS

Questions = Mapping[CellId, tuple[str, str]]
"""For each cell, the digest of its question and what it expects. Controls are not included."""


def questions(config: Config) -> Questions:
    """All questions that the config may ask, with any list of probes."""
    found = {}
    for name, artifact in config.artifacts.items():
        asked = {smoke.args: question(config, name, smoke) for smoke in artifact.smoke}
        for args, digest in asked.items():
            for spec in starts_on(config, name):
                for condition in ("plain", *CONDITIONS):
                    cell = CellId(name, spec.name, ConditionId(condition), args)
                    found[cell] = (digest, expects(artifact, spec, condition))
    return found


def is_stale(cell: CellRow, config: Config, now: Questions) -> bool:
    """Whether a record answers another question. A cell that the config does not ask for is not stale."""
    if cell["verdict"] == "UNPROVEN":
        return False
    if is_control(cell):
        artifact = config.artifacts.get(cell["artifact"])
        argv = tuple(cell["argv"])
        # A twin may have more words before those of the smoke command.
        smoke = (
            next((one for one in artifact.smoke if argv[len(argv) - len(one.args) :] == one.args), None)
            if artifact
            else None
        )
        asked = smoke and question(config, cell["artifact"], replace(smoke, args=argv))
        return asked is not None and cell.get("smoke") != asked
    wanted = now.get(CellId.of(cell))
    return wanted is not None and (cell.get("smoke"), cell["expect"]) != wanted


def split(parts: Iterable[Evidence], config: Config, now: Questions) -> tuple[list[Evidence], list[Evidence]]:
    """The parts, divided into records that answer today's questions and records that do not."""
    answers: list[Evidence] = []
    old: list[Evidence] = []
    for part in parts:
        stale = [is_stale(cell, config, now) for cell in part.get("cells", ())]
        cells = list(zip(part.get("cells", ()), stale, strict=True))
        answers.append({**part, "cells": [cell for cell, is_old in cells if not is_old]})
        old.append({**_age(part), "schema": SCHEMA, "cells": [cell for cell, is_old in cells if is_old]})
    return answers, old


def _age(part: Evidence) -> Evidence:
    return cast(Evidence, {name: value for name, value in part.items() if name in ("turn", "when")})


def mark(cell: CellRow) -> CellRow:
    """The cell as UNPROVEN: what was observed can still be read, but its verdict no longer counts."""
    return {
        **cell,
        "verdict": "UNPROVEN",
        "reason": STALE,
        "detail": f"{cell['verdict']} belongs to an earlier question of the config; start it again",
        "reproduce": None,
        "cached": False,
    }


def marked(told: Evidence, config: Config) -> Evidence:
    """The evidence, with all stale records marked."""
    now = questions(config)
    cells = [mark(cell) if is_stale(cell, config, now) else cell for cell in told.get("cells", ())]
    return {**told, "cells": cells}
