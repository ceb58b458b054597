"""What was seen under another question than the config asks now: it says nothing of today's. Pure.

A question is what `plan.asked` makes a digest of, and what the cell expects. A record of an older kit does not say
which question it answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from py_portable.config import Config
from py_portable.evidence import merge
from py_portable.evidence.merge import Part
from py_portable.plan.asked import question
from py_portable.plan.expected import expects, starts_on
from py_portable.prove.conditions import CONDITIONS

Questions = Mapping[str, tuple[str, str]]
"""Identity of a cell as JSON -> its question's digest, and what it expects. Controls are not among them."""


def questions(config: Config) -> Questions:
    """All that the config may ask, whatever its list of probes says today."""
    found = {}
    for name, artifact in config.artifacts.items():
        asked = {smoke.args: question(config, name, smoke) for smoke in artifact.smoke}
        for args, digest in asked.items():
            for spec in starts_on(config, name):
                for condition in ("plain", *CONDITIONS):
                    found[json.dumps([name, spec.name, condition, list(args)])] = (
                        digest,
                        expects(artifact, spec),
                    )
    return found


def is_stale(cell: Mapping[str, Any], config: Config, now: Questions) -> bool:
    """Whether a record that says something answers another question. What the config does not ask is not stale."""
    if cell["verdict"] == "UNPROVEN":
        return False
    if str(cell["condition"]).startswith("control:"):
        artifact = config.artifacts.get(cell["artifact"])
        smoke = (
            next((one for one in artifact.smoke if list(one.args) == cell["argv"]), None)
            if artifact
            else None
        )
        return smoke is not None and cell.get("smoke") != question(config, cell["artifact"], smoke)
    wanted = now.get(json.dumps(merge.identity_of(cell)))
    return wanted is not None and (cell.get("smoke"), cell["expect"]) != wanted


def split(parts: Iterable[Part], config: Config, now: Questions) -> tuple[list[Part], list[Part]]:
    """The parts with what answers today's questions, and with what does not."""
    answers: list[Part] = []
    old: list[Part] = []
    for part in parts:
        stale = [is_stale(cell, config, now) for cell in part.get("cells", ())]
        cells = list(zip(part.get("cells", ()), stale, strict=True))
        answers.append({**part, "cells": [cell for cell, is_old in cells if not is_old]})
        old.append(
            {"schema": merge.SCHEMA, **_age(part), "cells": [cell for cell, is_old in cells if is_old]}
        )
    return answers, old


def _age(part: Part) -> dict[str, Any]:
    return {name: part[name] for name in ("turn", "when") if name in part}


def mark(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The cell as one of which nothing is known: what was seen stays to be read, its verdict does not."""
    return {
        **cell,
        "verdict": "UNPROVEN",
        "reason": merge.STALE,
        "detail": f"{cell['verdict']} was seen when the config asked something else; start it again",
        "reproduce": None,
        "cached": False,
    }


def marked(told: Part, config: Config) -> Part:
    """Evidence with all that is stale marked."""
    now = questions(config)
    cells = [mark(cell) if is_stale(cell, config, now) else cell for cell in told.get("cells", ())]
    return {**told, "cells": cells}
