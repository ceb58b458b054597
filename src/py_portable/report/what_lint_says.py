"""What the tools by which distributions look at packages said of them."""

from __future__ import annotations

from collections.abc import Iterable

from py_portable.evidence.typed import CellRow
from py_portable.report.blocks import Block, Foreign, Heading, Items, Words
from py_portable.report.summary import text

MOST_SHOWN = 20
"""Of each kind, of one package on one image."""


def lint(cells: Iterable[CellRow]) -> list[Block]:
    """Its tool and what it counted for each package, and then each of these."""
    items: list[Words] = []
    for cell in cells:
        for stage in cell.get("stages") or ():
            if stage["stage"] != "lint":
                continue
            who = Foreign(cell["artifact"]), " on ", Foreign(cell["image"])
            items.append((*who, ": ", Foreign(text(stage.get("detail")))))
            for kind, what in (("errors", "error"), ("warnings", "warning")):
                found = stage.get(kind) or ()
                items += [(*who, f", {what}: ", Foreign(text(one))) for one in found[:MOST_SHOWN]]
                if len(found) > MOST_SHOWN:
                    items.append((*who, f": {len(found) - MOST_SHOWN} more {what}s"))
    return [Heading(2, ("What lint says",)), Items(tuple(items), "warnings")] if items else []
