"""Blocks as Markdown for GitHub and GitLab, within a bound. Foreign text is code wherever it stands.

Sources: CommonMark 0.31 (code spans, entities, fences), the GitHub Flavored Markdown specification (tables,
autolinks, what a mention is).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from py_portable.report.blocks import Block, Fence, Foreign, Heading, Items, Paragraph, Table, Words

MOST_BYTES = 900_000
"""A job summary of GitHub can have 1 MiB, and other steps write into it, too."""
_NOTE_BYTES = 2_000


def render(blocks: Sequence[Block], most: int = MOST_BYTES) -> str:
    """If it does not fit into `most` bytes of UTF-8, rows are cut from the end, and the text says so."""
    room, out, lost = most - _NOTE_BYTES, list[str](), dict[str, int]()
    for block in blocks:
        head, rows, what = _pieces(block)
        need = _size(head) + 1
        kept = list[str]()
        if need <= room:
            room -= need
            for row in rows:
                if _size([row]) > room:
                    break
                room -= _size([row])
                kept.append(row)
            out += [*head, *kept, ""]
            missing = len(rows) - len(kept)
        else:
            missing = len(rows) or 1
        if missing:
            lost[what] = lost.get(what, 0) + missing
            room = 0
    if lost:
        told = ", ".join(f"{count} {what}" for what, count in lost.items())
        out += [f"Shortened to {most} bytes: {told}. evidence.json has everything.", ""]
    return "\n".join(out)


def _pieces(block: Block) -> tuple[list[str], list[str], str]:
    """Lines that stand together, lines that may be cut from the end, and what those are."""
    match block:
        case Heading():
            return [f"{'#' * block.level} {words(block.words)}"], [], "headings"
        case Paragraph():
            return [words(block.words)], [], "paragraphs"
        case Items():
            return [], [f"- {words(item)}" for item in block.items], block.what
        case Fence():
            return fence(block), [], "outputs and commands"
        case Table():
            rule = ["---"] * len(block.head)
            return (
                [_row(block.head), _row([(one,) for one in rule])],
                [_row(row) for row in block.rows],
                block.what,
            )


def _row(cells: Sequence[Words]) -> str:
    return f"| {' | '.join(words(cell) for cell in cells)} |"


def words(told: Words) -> str:
    return "".join(code(one.shown) if isinstance(one, Foreign) else one for one in told)


def code(text: str) -> str:
    """A printable line as inline code that shows it letter by letter, in a table too."""
    if not text.strip():
        return "(empty)" if not text else "(blanks)"
    if not re.search(r"[`|\\]", text) and text == text.strip():
        return f"`{text}`"
    # A backtick would end a code span, a bar a table's cell, a backslash might guard either: entities do none of it.
    # "@" stands alone, so that no address and no mention can be found around it.
    inner = "".join(c if c.isalnum() or c == " " or ord(c) > 127 else f"&#{ord(c)};" for c in text)
    return f"<code>{inner.replace('&#64;', '<span>&#64;</span>')}</code>"


def fence(block: Fence) -> list[str]:
    shown = block.shown
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    mark = "`" * max(3, longest + 1)
    return [f"{mark}{block.language}", *shown, mark]


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)
