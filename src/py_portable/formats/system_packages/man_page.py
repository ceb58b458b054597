"""Writes a manual page in the macros of man(7), which groff and mandoc read. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from py_portable.formats.system_packages.help_text import Help, Passage

_CHARACTERS = {
    "\\": r"\(rs",
    "-": r"\-",
    "'": r"\(aq",
    '"': r"\(dq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
    ".": r"\&.",
}
"""What roff would take for something else, or show as another character."""
_LONGEST = 40
"""Longer words may be broken: a line has room for about 78 characters."""


def page(
    program: str, version: str, summary: str, said: Help, commands: Mapping[str, Help], seconds: int
) -> str:
    """The page of a program in section 1. `commands`: what its commands say; `seconds`: its date."""
    when = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    head = " ".join(
        f'"{_text(one)}"' for one in (program.upper(), "1", when, f"{program} {version}", "User Commands")
    )
    lines = [f".TH {head}", ".nh", ".ad l", ".SH NAME", f"{_text(program)} \\- {_text(summary)}"]
    lines += [".SH SYNOPSIS", *_synopsis(said)]
    if said.about:
        lines += [".SH DESCRIPTION", *_blocks(said.about)]
    for section in said.sections:
        lines += [f'.SH "{_text(section.title.upper())}"', *_blocks(section.blocks)]
    for name, own in commands.items():
        lines += [f'.SH "{_text(f"{program} {name}")}"', *_synopsis(own), *_blocks(own.about)]
        for section in own.sections:
            lines += [f'.SS "{_text(section.title)}"', *_blocks(section.blocks)]
    return "\n".join([*lines, ""])


def _synopsis(said: Help) -> Iterator[str]:
    for number, way in enumerate(said.usage):
        first, _, rest = way.partition(" ")
        if number:
            yield ".br"
        yield f"\\fB{_text(first)}\\fP {_text(rest)}".rstrip()


def _blocks(blocks: tuple[Passage, ...]) -> Iterator[str]:
    for block in blocks:
        for term, text in block.entries:
            yield from (".TP", f"\\fB{_text(term)}\\fP", _text(text) or r"\&")
        if not block.entries and any(line.startswith(" ") for line in block.lines):
            # Its lay-out means something.
            yield from (".PP", ".nf", *map(_line, block.lines), ".fi")
        elif not block.entries:
            yield from (".PP", _text(" ".join(block.lines)))


def _text(text: str) -> str:
    """The words of a text. No line of it begins with a character that makes it a request."""
    return " ".join(
        "\\:".join(_line(word[at : at + _LONGEST]) for at in range(0, len(word), _LONGEST))
        for word in text.split()
    )


def _line(text: str) -> str:
    return "".join(map(_character, text)) or r"\&"


def _character(one: str) -> str:
    return _CHARACTERS.get(one) or (one if one.isascii() else f"\\[u{ord(one):04X}]")
