"""How results look in a terminal. Whatever an app, a wheel or an image said is shown without its control codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import click

from py_portable.errors import Blocked, PortableError
from py_portable.evidence import CellResult
from py_portable.redact import hide

_COLOUR = re.compile(r"\x1b\[[0-9;]{0,40}m")


def clean(text: str) -> str:
    """One line with what is not printable escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def lines(text: str) -> str:
    """Several lines, as the log of a build: colours are left out, what else is not printable is escaped."""
    return "\n".join(clean(line) for line in _COLOUR.sub("", text).expandtabs().split("\n"))


def cell_line(cell: CellResult) -> str:
    """The line of one cell, as it ends."""
    condition = (
        "" if cell.condition in ("plain",) or cell.condition.startswith("control:") else f", {cell.condition}"
    )
    artifact = clean(cell.artifact)
    name = f"{cell.condition.replace(':', ' ')} of {artifact}" if ":" in cell.condition else artifact
    where = f"{cell.image}{condition}"
    why = clean(cell.detail or cell.reason or "")
    again = f"; reproduce: {cell.reproduce}" if cell.reproduce else ""
    took = f" ({cell.seconds:.2f} s{', cached' if cell.cached else ''})" if cell.seconds is not None else ""
    match cell.verdict:
        case "PASS":
            return f"Success: {name} passed on {where}{took}"
        case "XFAIL":
            return f"Success: {name} failed on {where} as it must: {why}"
        case "XPASS":
            return f"Failure: {name} passed on {where}, where it must not: {why}{again}"
        case "FAIL":
            return f"Failure: {name} on {where}: {why}{again}"
        case _:
            return f"Unproven: {name} on {where}: {why}"


def echo_cell(cell: CellResult) -> None:
    colour = {"PASS": "green", "XFAIL": "green", "UNPROVEN": "yellow"}.get(cell.verdict, "red")
    word, _, rest = cell_line(cell).partition(":")
    click.echo(click.style(word, fg=colour) + ":" + rest)


def echo_failures(failures: Mapping[str, PortableError]) -> None:
    """Every failure of a run, then which artifacts it cost."""
    for name, problem in failures.items():
        # What lies between a cause and an artifact is of no use to anybody.
        if not isinstance(problem, Blocked) or name.startswith("artifact "):
            click.echo(hide(lines(problem.render())), err=True)


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
