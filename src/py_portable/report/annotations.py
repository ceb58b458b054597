"""Failures with their wheel or their line in the config, as GitHub's log commands and GitLab's code quality report.

Sources: GitHub's "Workflow commands" and how the runner's toolkit escapes them; GitLab's "Code Quality report format".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from py_portable.evidence.conclude import not_there
from py_portable.evidence.typed import of_control
from py_portable.report.blocks import Foreign
from py_portable.report.reasons import meaning
from py_portable.report.summary import Findings, Group, Lost, again, build_again, text, why

MOST = 10
"""The number of annotations of one level that GitHub shows for a step."""
MOST_ISSUES = 1000
MOST_PLACES = 8
Where = Callable[[str | None, str | None], tuple[str, int]]
"""The file and line of an artifact (for None: of the whole config), or the wheel because of which it failed."""
_WHEEL = re.compile(r"[A-Za-z0-9][\w.+!-]{0,250}\.whl\b")
Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Note:
    """`key` tells notes apart and is the same in the next run. `wheel`: the file name of one that was named last."""

    level: Level
    artifact: str | None
    title: str
    message: str
    key: str
    wheel: str | None = None


def notes(found: Findings) -> list[Note]:
    """Errors for what does not hold, then warnings for what is unproven."""
    # No command makes a control alone.
    rows = (row for row in found.evidence.get("failures", ()) if not of_control(row))
    lost = {not_there(row): row for row in rows}
    problems = [
        _not_built(told, lost[told], found) if told in lost else Note("error", None, "failed", told, told)
        for told in found.problems
    ]
    return [
        *(_note("error", group, found) for group in found.failures),
        *problems,
        *(_note("warning", group, found) for group in found.unproven),
    ]


def _not_built(told: str, row: Mapping[str, Any], found: Findings) -> Note:
    name, reason, tail = row["name"], text(row["why"]), text(row.get("tail"))
    named = _WHEEL.findall(reason) or _WHEEL.findall(tail)
    command = build_again(Lost((name,), tail), found.config)
    message = "\n".join(Foreign(one).shown for one in (reason, command and f"again: {command}") if one)
    return Note("error", name, f"{name} was not built", message, told, named[-1] if named else None)


def _note(level: Level, group: Group, found: Findings) -> Note:
    cell = group.first
    places = ", ".join(group.places[:MOST_PLACES])
    if len(group.places) > MOST_PLACES:
        places += f" and {len(group.places) - MOST_PLACES} more"
    told = [f"{cell['verdict']}: {why(cell)}", meaning(text(cell.get("reason")))]
    told += [f"again: {command}" for command in again(cell, found.config)[:1] if level == "error"]
    key = json.dumps([level, cell["artifact"], cell["verdict"], cell.get("reason"), cell.get("detail")])
    message = "\n".join(Foreign(one).shown for one in told if one)
    return Note(level, cell["artifact"], f"{cell['artifact']} on {places}", message, key)


def github(told: Sequence[Note], where: Where) -> list[str]:
    """As many log commands as are shown; the last one of a level says how many are not."""
    lines = []
    for level in ("error", "warning"):
        own = [note for note in told if note.level == level]
        most = MOST if len(own) <= MOST else MOST - 1
        for note in own[:most]:
            file, line = where(note.artifact, note.wheel)
            place = f"file={_property(file)},line={line},title={_property(note.title)}"
            lines.append(f"::{level} {place}::{_data(note.message)}")
        if len(own) > most:
            lines.append(f"::{level} title=py-portable::{len(own) - most} more are in the report")
    return lines


def codequality(told: Sequence[Note], where: Where) -> str:
    """JSON for `artifacts: reports: codequality`."""
    issues = []
    for note in told[:MOST_ISSUES]:
        file, line = where(note.artifact, note.wheel)
        issues.append(
            {
                "description": f"{Foreign(note.title).shown}: {_joined(note.message)}",
                "check_name": "py-portable",
                "fingerprint": hashlib.sha256(note.key.encode("utf-8", "backslashreplace")).hexdigest(),
                "severity": "critical" if note.level == "error" else "minor",
                "location": {"path": Foreign(file).shown, "lines": {"begin": line}},
            }
        )
    return json.dumps(issues, indent=1) + "\n"


def _joined(message: str) -> str:
    return " ".join(Foreign(line).shown for line in message.split("\n"))


def _data(message: str) -> str:
    """The text of a log command: only our own line breaks are line breaks."""
    return "%0A".join(Foreign(line).shown.replace("%", "%25") for line in message.split("\n"))


def _property(told: str) -> str:
    return Foreign(told).shown.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
