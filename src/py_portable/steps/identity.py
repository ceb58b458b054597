"""What a node of the plan is told apart by: a value with fields."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class HouseId:
    """The target of wheels and interpreters: a Python in a baseline. `choice`: the interpreter, if it is not the
    usual one there. A library has no Python."""

    python: str
    baseline: str
    choice: str = ""

    def __str__(self) -> str:
        return _words(self.python, f"({', '.join(filter(None, (self.baseline, self.choice)))})")


@dataclass(frozen=True)
class NodeId:
    """The identity of a node in the plan. Its text is the name for people, locks and evidence; it is never parsed."""

    kind: str
    subject: str = ""
    house: HouseId | None = None
    variant: str = ""
    """What distinguishes it from the node that has the same name without it."""
    control: NodeId | None = None
    """The control for which it is made, if its inputs are not the same as for artifacts."""

    def __str__(self) -> str:
        if self.control:
            return f"{replace(self, control=None)} for {self.control}"
        if self.house:
            python, rest = self.house.python, str(replace(self.house, python=""))
            return _words(self.kind, self.subject, python, self.variant, rest)
        return _words(self.kind, self.subject, self.variant)


def _words(*words: str) -> str:
    return " ".join(filter(None, words))
