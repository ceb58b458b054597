"""Foreign text as lines that neither a terminal nor the log of a CI obeys. A leaf."""

from __future__ import annotations

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]{0,40}m")
# What GitHub's runner reads as a command: "::name" where a line begins (blanks do not count), and "##[name]"
# anywhere in it. Azure's and TeamCity's are like the second one: "##vso[", "##teamcity[".
_FIRST = re.compile(r"^( *):(?=:)")
_ANYWHERE = re.compile(r"##(?=[A-Za-z]*\[)")


def line(text: str) -> str:
    """One line: what is not printable is escaped, and what a runner would take for a command is broken up."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return _FIRST.sub(r"\1: ", _ANYWHERE.sub("# #", shown))


def lines(text: str) -> list[str]:
    """Several lines, as the log of a build: colours are left out."""
    return [line(one) for one in _COLOUR.sub("", text).expandtabs().split("\n")]


def last(text: str, count: int, width: int) -> list[str]:
    """The last lines that say something, none longer than `width` characters."""
    # A carriage return begins a line again, as progress bars do. No more is looked at than can be shown.
    end = text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
    said = [one.rstrip() for one in lines(end[-4 * count * width :]) if one.strip()]
    return [short(one, width) for one in said[-count:]]


def short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
