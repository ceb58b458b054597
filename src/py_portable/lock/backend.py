"""The questions to a source's build backend. A backend is foreign code, and this module never runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from py_portable.errors import ConfigError
from py_portable.lock.declared import Backend
from py_portable.lock.index.offers import LockedFile

BuildFiles = Callable[[str | None, tuple[str, ...]], Sequence[LockedFile]]
"""(a Python other than the target's, or None; what the backend requires beside what it declares) -> what is installed
for the backend to run."""


@dataclass(frozen=True)
class Question:
    """A question to the backend of `source`, a folder or an sdist, whose digest is `digest`."""

    name: str
    """Its name in messages."""
    source: Path
    digest: str
    backend: Backend
    python: str
    """The full version of the Python that runs the backend."""
    metadata: bool
    """Whether its metadata is wanted, too, and not only the requirements of its build."""
    own: bool
    """Whether it is source of the user's own, which may be run on this machine where there is no sandbox."""
    build: BuildFiles = field(compare=False, repr=False)


@dataclass(frozen=True)
class Answer:
    """`requires`: what building a wheel needs in addition to build-system.requires. `metadata`: the text of
    METADATA.
    """

    requires: tuple[str, ...] = ()
    metadata: str | None = None


class Unasked(ConfigError):
    """A build backend would have to be asked, but this command runs none."""


class Asker(Protocol):
    """Runs build backends where they can do no harm, and knows the sources that they are asked about."""

    def recall(self, question: Question) -> Answer | None:
        """An earlier answer for exactly this source; nothing is run."""
        ...

    def ask(self, question: Question) -> Answer:
        """Raises BuildFailed if the backend fails, MachineError or ConfigError if it must not be run here."""
        ...

    def digest(self, source: Path) -> str:
        """The sha256 (hex) over a source as it is copied for a build."""
        ...

    def copy(self, source: Path, into: Path) -> None:
        """Make this copy."""
        ...

    def version(self) -> str | None:
        """The full version of the interpreter, such as 3.13.5, if only the interpreter itself can tell it; None if
        there is no interpreter here.
        """
        ...
