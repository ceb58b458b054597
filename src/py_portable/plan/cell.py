"""The identity of a cell, and a cell of the matrix before it is started, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

_CONTROL = "control:"


@dataclass(frozen=True)
class ConditionId:
    """`plain`, a probe, or a control. As text a control is `control:NAME`; only this class writes and reads that."""

    name: str
    control: bool = False

    @classmethod
    def read(cls, text: str) -> ConditionId:
        name = text.removeprefix(_CONTROL)
        return cls(name, name != text)

    def __str__(self) -> str:
        return f"{_CONTROL}{self.name}" if self.control else self.name


PLAIN = ConditionId("plain")


@dataclass(frozen=True)
class CellId:
    """Two cells are different if one of these fields differs. `argv` holds the arguments of the smoke command."""

    artifact: str
    image: str
    condition: ConditionId
    argv: tuple[str, ...]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> CellId:
        """The identity of a row in the `cells` of evidence."""
        return cls.read((row["artifact"], row["image"], row["condition"], row["argv"]))

    @classmethod
    def read(cls, told: Any) -> CellId:
        """The identity of a row in the `expected` of evidence."""
        artifact, image, condition, argv = told
        return cls(artifact, image, ConditionId.read(condition), tuple(argv))

    def told(self) -> list[Any]:
        return [self.artifact, self.image, str(self.condition), list(self.argv)]

    def __lt__(self, other: CellId) -> bool:
        return self.told() < other.told()

    def __str__(self) -> str:
        return f"{self.artifact} on {self.image} ({self.condition})"


def is_control(row: Mapping[str, Any]) -> bool:
    """Whether a row in the `cells` of evidence belongs to a control."""
    return ConditionId.read(row["condition"]).control


@dataclass(frozen=True)
class PlannedCell:
    """A cell before it is started. `image_glibc` is None if the name of the image does not show it."""

    artifact: str
    format: str
    image: str
    condition: str
    """As text: see `ConditionId`."""
    argv: tuple[str, ...]
    expect: str
    optional: bool = False
    image_glibc: str | None = None
    smoke: str | None = None
    """The digest of its question (see `plan.asked`); None in a plan of an older kit."""
    exit: int | None = None
    """The expected exit status; None in a plan of an older kit."""

    @cached_property
    def id(self) -> CellId:
        return CellId(self.artifact, self.image, ConditionId.read(self.condition), self.argv)

    @property
    def control(self) -> str | None:
        condition = self.id.condition
        return condition.name if condition.control else None

    def told(self) -> dict[str, Any]:
        # Not `asdict`, which copies deeply: a big matrix has tens of thousands.
        told = {name: getattr(self, name) for name in _FIELDS} | {"argv": list(self.argv)}
        # A plan of an older kit has neither, and its digest has to come out as it was.
        for name in ("smoke", "exit"):
            if told[name] is None:
                del told[name]
        return told


_FIELDS = tuple(field.name for field in fields(PlannedCell))
