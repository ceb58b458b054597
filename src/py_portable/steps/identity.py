"""What a node of the plan is told apart by: a value with fields."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class HouseId:
    """What wheels and interpreters are made for: a Python in a baseline. `choice`: the interpreter, where it is not
    the usual one there. A library has no Python."""

    python: str
    baseline: str
    choice: str = ""

    def __str__(self) -> str:
        return _words(self.python, f"({', '.join(filter(None, (self.baseline, self.choice)))})")


@dataclass(frozen=True)
class NodeId:
    """Which node of the plan it is. Its text is what people, locks and evidence call it; nobody takes that apart."""

    kind: str
    subject: str = ""
    house: HouseId | None = None
    variant: str = ""
    """What tells it from the one that is called so without it."""
    control: NodeId | None = None
    """The control that it is made for, where what it is made of is not what artifacts are made of."""

    def __str__(self) -> str:
        if self.control:
            return f"{replace(self, control=None)} for {self.control}"
        if self.house:
            python, rest = self.house.python, str(replace(self.house, python=""))
            return _words(self.kind, self.subject, python, self.variant, rest)
        return _words(self.kind, self.subject, self.variant)


def _words(*words: str) -> str:
    return " ".join(filter(None, words))
