"""The parts of a report. Foreign text is marked, so that the code that writes it escapes it."""

from __future__ import annotations

from dataclasses import dataclass

from py_portable.base import printable
from py_portable.base.redact import hide

MOST_CHARACTERS = 400
"""The most characters of a foreign text within a line."""


@dataclass(frozen=True)
class Foreign:
    """A text from the evidence: a name, a path, or output of an app."""

    text: str

    @property
    def shown(self) -> str:
        """One printable line of bounded length, without logins."""
        return printable.short(hide(printable.line(self.text)), MOST_CHARACTERS)


Words = tuple["str | Foreign", ...]
"""A line; `str` is the kit's own text."""


@dataclass(frozen=True)
class Heading:
    level: int
    words: Words


@dataclass(frozen=True)
class Paragraph:
    words: Words


@dataclass(frozen=True)
class Items:
    """`what`: the word for its rows, if not all of them fit."""

    items: tuple[Words, ...]
    what: str = "items"


@dataclass(frozen=True)
class Fence:
    """Unchanged lines: a command, or output of an app."""

    text: tuple[str, ...]
    language: str = "text"

    @property
    def shown(self) -> list[str]:
        return [hide(printable.line(one)) for one in self.text]


@dataclass(frozen=True)
class Table:
    head: tuple[Words, ...]
    rows: tuple[tuple[Words, ...], ...]
    what: str = "rows"


Block = Heading | Paragraph | Items | Fence | Table
