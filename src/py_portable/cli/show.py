"""How results look in a terminal. Whatever an app, a wheel or an image said is shown without its control codes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from py_portable.base import printable
from py_portable.base.redact import hide
from py_portable.errors import Blocked, PortableError, StepError

if TYPE_CHECKING:
    from py_portable.config import Config
    from py_portable.config.ends import EndedRelease
    from py_portable.evidence.typed import CellResult
    from py_portable.steps.identity import NodeId

SHOWN_PATHS = 3
MOST_ARGUMENTS = 60
"""Characters of a smoke command in the line of a cell."""


def clean(text: str) -> str:
    """One line that neither a terminal nor a CI's log obeys."""
    return printable.line(text)


def lines(text: str) -> str:
    """Several lines, as the log of a build: colours are left out."""
    return "\n".join(printable.lines(text))


def ended_rows(config: Config) -> list[dict[str, str]]:
    """The images of a config whose distribution gets no fixes any more, for --json."""
    return [{"image": one.image, "last": one.last.isoformat()} for one in _ended(config)]


def tell_ended(config: Config) -> None:
    """The same as a line each."""
    for one in _ended(config):
        click.echo(clean(f"Note: {one}."))


def _ended(config: Config) -> tuple[EndedRelease, ...]:
    from py_portable.config.ends import ended_in

    return ended_in(config, datetime.now(UTC).date())


def message(problem: PortableError) -> str:
    """An error as it is shown: whatever is quoted in it, no line but the first begins at the margin."""
    head, *rest = lines(problem.render()).split("\n")
    return "\n".join([head, *(line if line.startswith("  ") else f"  {line}" for line in rest)])


def cell_line(cell: CellResult, *, one_of_several: bool = False) -> str:
    """The line of one cell, as it ends: one line whatever is in its names; no login, nothing a terminal obeys.
    `one_of_several`: the artifact has more than one smoke command, so the line says which one it was."""
    return hide(clean(_cell_line(cell, one_of_several)))


def _cell_line(cell: CellResult, one_of_several: bool) -> str:
    control = cell.id.condition.control
    name = f"{cell.condition.replace(':', ' ')} of {cell.artifact}" if control else cell.artifact
    if one_of_several and not control:
        name += f" ({printable.short(shlex.join(cell.argv), MOST_ARGUMENTS) or 'no arguments'})"
    image = cell.image if control or cell.condition == "plain" else f"{cell.image}, {cell.condition}"
    partial = ["partial isolation"] if cell.isolation == "partial" else []
    where = f"{image}{_bracketed(partial)}"
    why = cell.detail or cell.reason or ""
    again = f"; reproduce: {cell.reproduce}" if cell.reproduce else ""
    match cell.verdict:
        case "PASS":
            took = [f"{cell.seconds:.2f} s"] if cell.seconds is not None else []
            cached = ["cached"] if cell.cached and took else []
            return (
                f"Success: {name} passed on {image}{_bracketed([*took, *cached, *partial])}{_of_stages(cell)}"
            )
        case "XFAIL":
            return f"Success: {name} failed on {where} as it must: {why}"
        case "XPASS":
            return f"Failure: {name} passed on {where}, where it must not: {why}{again}"
        case "FAIL":
            return f"Failure: {name} on {where}: {why}{again}"
        case "NOT-APPLICABLE":
            return f"Not applicable: {name} on {where}: {why}"
        case _:
            return f"Unproven: {name} on {where}: {why}"


def _left(cell: CellResult) -> str:
    """What a removal left, in a few words: all of it is in the evidence and in what --json prints."""
    paths = [path for stage in cell.stages for path in stage.left]
    more = sum(stage.more for stage in cell.stages) + len(paths) - SHOWN_PATHS
    if not paths:
        return ""
    return f"; its removal leaves {', '.join(paths[:SHOWN_PATHS])}" + (
        f" and {more} more" if more > 0 else ""
    )


def _of_stages(cell: CellResult) -> str:
    return _left(cell) + _linted(cell)


def _linted(cell: CellResult) -> str:
    """What a lint tool counted; the report has all that it said."""
    return "".join(f"; {stage.detail}" for stage in cell.stages if stage.stage == "lint" and stage.detail)


def _bracketed(words: Sequence[str]) -> str:
    return f" ({', '.join(words)})" if words else ""


def echo_json(told: Any, *, sort_keys: bool = False) -> None:
    """The same value for whoever parses it, and nothing that the log of a CI would obey: outside of texts JSON has no
    `#`, and no line of it begins with a colon."""
    click.echo(json.dumps(told, indent=1, sort_keys=sort_keys).replace("##", "#\\u0023"))


def echo_cell(cell: CellResult, *, one_of_several: bool = False) -> None:
    colour = {"PASS": "green", "XFAIL": "green", "UNPROVEN": "yellow", "NOT-APPLICABLE": "yellow"}.get(
        cell.verdict, "red"
    )
    word, _, rest = cell_line(cell, one_of_several=one_of_several).partition(":")
    click.echo(click.style(word, fg=colour) + ":" + rest)


def echo_failures(failures: Mapping[NodeId, PortableError]) -> None:
    """Every failure of a run, then which artifacts it cost."""
    for node, problem in failures.items():
        # What lies between a cause and an artifact is of no use to anybody.
        if not isinstance(problem, Blocked) or node.kind == "artifact":
            click.echo(hide(message(problem)), err=True)


def failure_status(failures: Mapping[NodeId, PortableError]) -> int:
    """The exit status that failures come to: a failed step (4) before a lack of the machine (3), before a wrong
    config (2)."""
    own = [problem.exit_code for problem in failures.values() if not isinstance(problem, Blocked)]
    return max(own, default=StepError.exit_code)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns wide enough for what is in them."""
    cells = [list(head), *[[clean(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def size(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
