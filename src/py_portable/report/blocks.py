"""What a report is made of. Text that nobody vouches for is marked, so that whoever writes it down escapes it."""

from __future__ import annotations

from dataclasses import dataclass

from py_portable.base import printable
from py_portable.base.redact import hide

MOST_CHARACTERS = 400
"""Of a foreign text within a line: more is not read."""


@dataclass(frozen=True)
class Foreign:
    """Something out of the evidence: a name, a path, what an app said."""

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
    """`what`: how they are called where not all of them fit."""

    items: tuple[Words, ...]
    what: str = "items"


@dataclass(frozen=True)
class Fence:
    """Lines as they are: a command, or what an app said."""

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
