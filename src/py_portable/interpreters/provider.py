"""The interface of a provider of interpreters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from py_portable.config import InterpreterChoice
from py_portable.steps.graph import Step
from py_portable.steps.identity import HouseId, NodeId

PREFIX = "/opt/python"
"""The path at which every interpreter is used, from any provider."""

Libpython = Literal["static", "shared"]


@dataclass(frozen=True)
class InterpreterRequest:
    """A request for the interpreter of one (baseline, Python): `image` and `tools` name nodes that its steps need."""

    choice: InterpreterChoice
    house: HouseId
    image: NodeId
    tools: NodeId
    libraries: tuple[NodeId, ...] = ()
    """Nodes that make libraries of the baseline's own, see `py_portable.interpreters.libraries`."""


class Provider(Protocol):
    name: str
    needs: tuple[str, ...]
    """The packages that it needs in the baseline's image, besides those for compiling wheels, see
    `images.packages`."""
    libpython: Libpython | None
    """The libpython that its prefix is sure to hold; None: formats that link one get an interpreter from source."""
    of_packages: bool
    """Whether packages that the config names can bring it; else it is made without them, once for all apps."""

    def pin(self, choice: InterpreterChoice, python: str) -> tuple[str, str] | None:
        """(name in the lock, what it stands for) of the Python `python` such as "3.13".

        None if the baseline's image decides. Raises ConfigError if there is no such interpreter.
        """
        ...

    def steps(self, wanted: InterpreterRequest) -> tuple[Step, ...]:
        """The last one gives a prefix for /opt/python; its meta has `version` and `provider`."""
        ...
