"""A cell of the matrix before it is started, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class PlannedCell:
    """A cell before it is started. `image_glibc` is None where the image's name does not tell it."""

    artifact: str
    format: str
    image: str
    condition: str
    """`plain`, a probe, or `control:NAME`."""
    argv: tuple[str, ...]
    expect: str
    optional: bool = False
    image_glibc: str | None = None
    smoke: str | None = None
    """The digest of what is asked of it (`plan.asked`); None in a plan of an older kit."""
    exit: int | None = None
    """The exit status that is asked for; None likewise."""

    @cached_property
    def key(self) -> str:
        """What makes it the cell it is, as text that a record of it in evidence has, too."""
        return json.dumps([self.artifact, self.image, self.condition, list(self.argv)])

    @property
    def control(self) -> str | None:
        name = self.condition.removeprefix("control:")
        return None if name == self.condition else name

    def told(self) -> dict[str, Any]:
        # Not `asdict`, which copies deeply: a big matrix has tens of thousands.
        told = {name: getattr(self, name) for name in _FIELDS} | {"argv": list(self.argv)}
        # A plan of an older kit has neither, and its digest has to come out as it was.
        for name in ("smoke", "exit"):
            if told[name] is None:
                del told[name]
        return told


_FIELDS = tuple(field.name for field in fields(PlannedCell))


def cell_key(row: Mapping[str, Any]) -> str:
    """The key of a row of evidence's `cells`."""
    return json.dumps([row["artifact"], row["image"], row["condition"], list(row["argv"])])
