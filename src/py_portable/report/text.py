"""Blocks as text for a terminal or a log. No line that holds text of an app begins with this text."""

from __future__ import annotations

from collections.abc import Sequence

from py_portable.report.blocks import Block, Fence, Foreign, Heading, Items, Paragraph, Table, Words

MOST_ROWS = 200


def render(blocks: Sequence[Block]) -> str:
    out: list[str] = []
    for block in blocks:
        match block:
            case Heading():
                # Foreign words may come first: only the kit's own text may begin a line.
                told = words(block.words)
                out += [told if isinstance(block.words[0], str) else f"- {told}"]
            case Paragraph():
                out += [words(block.words), ""]
            case Items():
                out += [*(f"  - {words(item)}" for item in block.items), ""]
            case Fence():
                mark = "  $ " if block.language == "sh" else "  | "
                out += [*(f"{mark}{line}" for line in block.shown), ""]
            case Table():
                out += [*_table(block), ""]
    return "\n".join(out).rstrip("\n")


def words(told: Words) -> str:
    return "".join(one.shown if isinstance(one, Foreign) else one for one in told)


def _table(block: Table) -> list[str]:
    rows = [[words(cell) for cell in row] for row in (block.head, *block.rows[:MOST_ROWS])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(block.head))]
    rows.insert(1, ["-" * width for width in widths])
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    left = len(block.rows) - MOST_ROWS
    return [*lines, f"  … and {left} more {block.what}"] if left > 0 else lines
