"""The content and the order of the scorecard: first what failed, and how to repeat it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from py_portable.base import printable
from py_portable.base.redact import hide
from py_portable.config.ends import ended
from py_portable.evidence.typed import CellRow
from py_portable.plan.cell import is_control
from py_portable.report.blocks import Block, Fence, Foreign, Heading, Items, Paragraph, Table, Words
from py_portable.report.reasons import meaning
from py_portable.report.summary import (
    Findings,
    Group,
    Lost,
    again,
    build_again,
    folded,
    number,
    of,
    text,
    why,
)
from py_portable.report.what_lint_says import lint

MOST_DETAILS = 20
"""The number of failures that are shown with their last lines; more get one line each, up to MOST_LINES."""
MOST_FIRST = 10
"""The number of failures, and of problems, in the list on the first screen."""
MOST_LINES = 100
MOST_PLACES = 8
MOST_LOST = 5
"""The number of failed steps that are shown with their last lines."""
TAIL_LINES = 8
STEP_LINES = 20
"""The number of lines of a failed step: the compiler's message comes before pip's message about it."""
TAIL_WIDTH = 240


def scorecard(found: Findings) -> list[Block]:
    parts = [_head, _failures, _matrix, _floors, _lint, _controls, _unproven, _benchmark, _ended, _about]
    if found.conclusions.problems and not found.failures:
        # Then it may be what makes the run red: the first screen is for that.
        parts.remove(_unproven)
        parts.insert(parts.index(_matrix), _unproven)
    return [block for part in parts for block in part(found)]


def _lint(found: Findings) -> list[Block]:
    return lint(found.cells)


def _head(found: Findings) -> list[Block]:
    counts = found.conclusions.counts
    told = ", ".join(f"{counts[name]} {name}" for name in sorted(counts)) or "no cell was started"
    return [Heading(1, (f"{found.conclusions.verdict}: {told}",))]


def _failures(found: Findings) -> list[Block]:
    groups, problems = found.failures, found.problems
    if not groups and not problems:
        return []
    blocks: list[Block] = [Heading(2, ("What failed",))]
    # With one failure and nothing else its details say it all.
    if problems or len(groups) > 1:
        shown = [_overview(group) for group in groups[:MOST_FIRST]]
        left = len(groups) - len(shown)
        if left:
            shown.append((f"… and {left} more failures, below",))
        shown += [(Foreign(problem),) for problem in problems[:MOST_FIRST]]
        if len(problems) > MOST_FIRST:
            shown.append((f"… and {len(problems) - MOST_FIRST} more problems, below",))
        blocks.append(Items(tuple(shown), "failures"))
    for lost in found.lost[:MOST_LOST]:
        blocks += _not_built(lost, found.config)
    for group in groups[:MOST_DETAILS]:
        blocks += _detail(group, found.config, _starts(group, found))
    if rest := groups[MOST_DETAILS:]:
        items = [_overview(group) for group in rest[:MOST_LINES]]
        blocks += [Heading(3, ("More failures",)), Items(_more(items, len(rest)), "failures")]
    if more := problems[MOST_FIRST:]:
        items = [(Foreign(problem),) for problem in more[:MOST_LINES]]
        blocks += [Heading(3, ("More problems",)), Items(_more(items, len(more)), "problems")]
    return blocks


def _overview(group: Group) -> Words:
    return (*_who(group), ": ", Foreign(why(group.first)))


def _who(group: Group) -> Words:
    verb = "passed on" if group.first["verdict"] == "XPASS" else "on"
    return Foreign(group.first["artifact"]), f" {verb} ", *_listed(group.places, MOST_PLACES)


def _starts(group: Group, found: Findings) -> Words:
    """Which of its artifact's smoke commands, where there are several."""
    name = group.first["artifact"]
    every = {shlex.join(map(str, cell["argv"])) for cell in found.cells if cell["artifact"] == name}
    if len(every) < 2:
        return ()
    own = dict.fromkeys(shlex.join(map(str, cell["argv"])) for cell in group.cells)
    return " Smoke command: ", *_listed([one or "(no arguments)" for one in own], MOST_PLACES), "."


def _detail(group: Group, config: str, starts: Words) -> list[Block]:
    cell = group.first
    said = printable.last(hide(text(cell.get("stderr_tail"))), TAIL_LINES, TAIL_WIDTH)
    stream = "stderr"
    if not said:
        said, stream = printable.last(hide(text(cell.get("stdout_tail"))), TAIL_LINES, TAIL_WIDTH), "stdout"
    own = meaning(text(cell.get("reason")))
    blocks: list[Block] = [
        Heading(3, _who(group)),
        Paragraph((f"{cell['verdict']}: ", Foreign(why(cell)), f". {own}" if own else "", *starts)),
    ]
    if commands := again(cell, config):
        where = (
            "To repeat it (the second line only on the machine of the run):"
            if len(commands) > 1
            else "Again:"
        )
        blocks += [Paragraph((where,)), Fence(commands, "sh")]
    if said:
        status = cell.get("exit_status")
        ended = f" (exit status {status})" if type(status) is int else ""
        blocks += [Paragraph((f"Its last lines on {stream}{ended}:",)), Fence(tuple(said))]
    return blocks


def _not_built(lost: Lost, config: str) -> list[Block]:
    blocks: list[Block] = [Heading(3, ("Not built: ", *_listed(lost.artifacts, MOST_PLACES)))]
    if command := build_again(lost, config):
        blocks += [Paragraph(("Again:",)), Fence((command,), "sh")]
    said = printable.last(hide(lost.tail), STEP_LINES, TAIL_WIDTH)
    return [*blocks, Paragraph(("The last lines of the step that failed:",)), Fence(tuple(said))]


def _matrix(found: Findings) -> list[Block]:
    own: dict[tuple[str, str], list[CellRow]] = {}
    for cell in found.cells:
        if not is_control(cell):
            own.setdefault((cell["artifact"], cell["image"]), []).append(cell)
    if not own:
        return []
    artifacts = list(dict.fromkeys(artifact for artifact, _ in own))
    images = list(dict.fromkeys(image for _, image in own))
    # The longer side goes down: what does not fit a page is cut by rows.
    down, across = (artifacts, images) if len(artifacts) > len(images) else (images, artifacts)
    corner = "artifact" if down is artifacts else "image"
    rows = tuple(
        (
            (Foreign(one),),
            *(_folded(own.get((one, other) if down is artifacts else (other, one))) for other in across),
        )
        for one in down
    )
    conditions = list(dict.fromkeys(cell["condition"] for cells in own.values() for cell in cells))
    return [
        Heading(2, ("Cells",)),
        Paragraph(("Verdicts of all conditions in one word: ", *_listed(conditions, MOST_LINES), ".")),
        Table(((corner,), *((Foreign(name),) for name in across)), rows, "rows of the cells"),
    ]


def _folded(cells: Sequence[CellRow] | None) -> Words:
    return (folded(cells) if cells else "-",)


def _floors(found: Findings) -> list[Block]:
    conclusions = found.conclusions
    artifacts = {row["name"]: row for row in found.evidence.get("artifacts", ())}
    if not artifacts:
        return []
    rows = tuple(
        (
            (Foreign(name),),
            (Foreign(text(row.get("format")) or "-"),),
            (_bytes(row.get("bytes")),),
            _glibc(conclusions.measured.get(name)),
            _glibc(conclusions.proven[name].floor),
            _listed(conclusions.proven[name].holes, MOST_PLACES) or ("-",),
        )
        for name, row in artifacts.items()
    )
    head = ("artifact", "format", "size", "measured floor", "proven floor", "holes")
    return [Heading(2, ("Artifacts",)), Table(tuple((one,) for one in head), rows, "artifacts")]


def _controls(found: Findings) -> list[Block]:
    controls = found.conclusions.controls
    if not controls:
        return []
    rows = tuple(
        ((Foreign(c.name),), (Foreign(c.artifact),), (c.verdict,), (Foreign(c.detail),)) for c in controls
    )
    head = ("control", "artifact", "verdict", "what was seen")
    return [
        Heading(2, ("Controls",)),
        Paragraph(("These starts must fail. XFAIL means that they did, so a PASS means something.",)),
        Table(tuple((one,) for one in head), rows, "controls"),
    ]


def _unproven(found: Findings) -> list[Block]:
    if not found.unproven:
        return []
    items: list[Words] = []
    for group in found.unproven[:MOST_LINES]:
        artifacts = list(dict.fromkeys(cell["artifact"] for cell in group.cells))
        own = meaning(text(group.first.get("reason")))
        items.append(
            (
                f"{len(group.cells)} of ",
                *_listed(artifacts, MOST_PLACES),
                " on ",
                *_listed(group.places, MOST_PLACES),
                ": ",
                Foreign(why(group.first)),
                f". {own}" if own else "",
            )
        )
    blocks: list[Block] = [
        Heading(2, ("Unproven",)),
        Items(_more(items, len(found.unproven)), "unproven cells"),
    ]
    held_against = [cell for group in found.unproven for cell in group.cells if not cell.get("optional")]
    if found.conclusions.problems and held_against and (commands := again(held_against[0], found.config)):
        blocks += [Paragraph(("To repeat one of them:",)), Fence(commands[:1], "sh")]
    return blocks


def _benchmark(found: Findings) -> list[Block]:
    rows = found.evidence.get("benchmark", ())
    if not rows:
        return []
    told = tuple(
        (
            (Foreign(text(row.get("artifact"))),),
            (Foreign(text(row.get("image"))),),
            (Foreign(text(row.get("start"))),),
            (Foreign(text(row.get("against")) or "-"),),
            (_interval(row.get("ratio"), 2),),
            (number(of(row.get("wall_ms"), "median"), 1),),
            ("too noisy, do not trust it" if row.get("noisy") else number(row.get("pairs"), 0),),
        )
        for row in rows
    )
    head = ("artifact", "image", "start", "against", "times as long [low, high]", "ms", "pairs")
    return [Heading(2, ("Start-up",)), Table(tuple((one,) for one in head), told, "rows of the benchmark")]


def _ended(found: Findings) -> list[Block]:
    """On the day of the run, so that a report of it always says the same."""
    day = re.match(r"\d{4}-\d\d-\d\d", text(found.evidence.get("when")))
    images = [text(row.get("image")) for row in found.evidence.get("baselines", ())]
    images += [cell["image"].partition("+")[0] for cell in found.cells]
    try:
        rows = ended(images, date.fromisoformat(day[0])) if day else ()
    except ValueError:
        rows = ()
    if not rows:
        return []
    words: Words = ("Distributions that get no fixes any more: ",)
    for row in rows[:MOST_PLACES]:
        words = (*words, *([] if len(words) == 1 else [", "]), Foreign(row.image), f" (since {row.last})")
    return [Paragraph((*words, "."))]


def _about(found: Findings) -> list[Block]:
    words: list[str | Foreign] = [
        "py-portable ",
        Foreign(text(of(found.evidence.get("kit"), "version")) or "-"),
    ]
    for name in ("engine", "os"):
        if told := text(of(found.evidence.get("host"), name)):
            words += [", ", Foreign(told)]
    return [Paragraph((*words, "."))]


def _glibc(version: str | None) -> Words:
    return ("glibc ", Foreign(version)) if version else ("-",)


def _bytes(count: Any) -> str:
    return f"{number(count / 1e6, 1)} MB" if type(count) is int else "-"


def _interval(told: Any, digits: int) -> str:
    median, low, high = (number(of(told, name), digits) for name in ("median", "low", "high"))
    return f"{median} [{low}, {high}]"


def _listed(names: Iterable[str], most: int) -> Words:
    names = list(names)
    words: list[str | Foreign] = []
    for name in names[:most]:
        words += [", ", Foreign(name)] if words else [Foreign(name)]
    if len(names) > most:
        words.append(f" and {len(names) - most} more")
    return tuple(words)


def _more(shown: Sequence[Words], count: int) -> tuple[Words, ...]:
    left = count - len(shown)
    return (*shown, (f"… and {left} more",)) if left else tuple(shown)
