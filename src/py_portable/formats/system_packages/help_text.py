"""Reads what a program says with `--help`, as argparse, click and their kin lay it out. Pure.

The text is foreign: whatever it holds, the result is lines of printable characters.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MOST_LINES = 2000
_MOST_COLUMNS = 500
_USAGE = re.compile(r"usage:\s*(.*)", re.IGNORECASE)
_TITLE = re.compile(r"\S.{0,58}:")
_ENTRY = re.compile(r"(?P<term>-\S*(?: \S+)*|[^\s-][^.!?\n]{0,60}?)(?: {2,}(?P<text>\S.*))?")
_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?![\w-])")
_COMMAND = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_CHOICES = re.compile(r"\{([^{}\s]+)\}")
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_DRAWN = re.compile("[\u2500-\u257f]")
_DEEPER = 4
"""How much further in than a term its explanation begins at least. The subcommands of argparse are 2 further in."""


@dataclass(frozen=True)
class Passage:
    """A list of terms with their explanations, or else lines, in which only the indentation that all share is gone."""

    lines: tuple[str, ...] = ()
    entries: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Passage, ...]


@dataclass(frozen=True)
class Help:
    """`usage`: one line for each way to start it; `about`: what stands before the first section."""

    usage: tuple[str, ...]
    about: tuple[Passage, ...] = ()
    sections: tuple[Section, ...] = field(default=())

    @property
    def options(self) -> tuple[str, ...]:
        """All that begin with a hyphen, in their order."""
        terms = (term for term, _ in self._entries() if term.startswith("-"))
        return tuple(dict.fromkeys(word for term in terms for word in _OPTION.findall(term)))

    @property
    def commands(self) -> tuple[str, ...]:
        """What may be commands: argparse lists other choices in the same way."""
        found: list[str] = []
        for section in self.sections:
            listed = "command" in section.title.lower()
            for term, _ in (pair for block in section.blocks for pair in block.entries):
                choices = _CHOICES.fullmatch(term)
                found += choices[1].split(",") if choices else [term.split()[0]] if listed else []
        return tuple(dict.fromkeys(word for word in found if _COMMAND.fullmatch(word)))

    def _entries(self) -> Iterator[tuple[str, str]]:
        blocks = (*self.about, *(block for section in self.sections for block in section.blocks))
        return (pair for block in blocks for pair in block.entries)


def read(text: str) -> Help | None:
    """None for a text that does not begin with how the program is used."""
    lines = _cleaned(text)
    while lines and not lines[0]:
        lines.pop(0)
    begins = _USAGE.match(lines[0]) if lines else None
    if begins is None:
        return None
    end = next((at for at, line in enumerate(lines) if at and not line), len(lines))
    usage = _usage([begins[1], *(line.strip() for line in lines[1:end])])
    rest = lines[end:]
    if not usage:
        return None
    if any(map(_DRAWN.search, rest)):
        # Boxes are drawn around it: it is shown as it is.
        return Help(usage, (Passage(tuple(_trimmed(rest))),))
    about, *sections = _parts(rest)
    return Help(
        usage, tuple(_blocks(about[1])), tuple(Section(title, tuple(_blocks(own))) for title, own in sections)
    )


def _cleaned(text: str) -> list[str]:
    lines = _ESCAPE.sub("", text).replace("\r\n", "\n").split("\n")[:MOST_LINES]
    plain = ("".join(one for one in line.expandtabs() if one.isprintable()) for line in lines)
    return [line[:_MOST_COLUMNS].rstrip() for line in plain]


def _usage(lines: list[str]) -> tuple[str, ...]:
    """A line that begins as the first one, with the program's name, is another way; others go on where one ended."""
    lines = [line for line in lines if line]
    ways: list[str] = []
    for line in lines:
        if not ways or line.split()[0] == lines[0].split()[0]:
            ways.append(line)
        else:
            ways[-1] += f" {line}"
    return tuple(ways)


def _parts(lines: list[str]) -> list[tuple[str, list[str]]]:
    """The title and the lines of each section; first comes what has no title."""
    parts: list[tuple[str, list[str]]] = [("", [])]
    for at, line in enumerate(lines):
        after = next((one for one in lines[at + 1 :] if one), "")
        if _TITLE.fullmatch(line) and after.startswith(" "):
            parts.append((line[:-1], []))
        else:
            parts[-1][1].append(line)
    return parts


def _blocks(lines: Iterable[str]) -> Iterator[Passage]:
    own: list[str] = []
    for line in (*lines, ""):
        if line:
            own.append(line)
        elif own:
            yield _block(textwrap.dedent("\n".join(own)).split("\n"))
            own = []


def _block(lines: list[str]) -> Passage:
    terms = [line for line in lines if not line.startswith(" " * _DEEPER)]
    found = [_ENTRY.fullmatch(line.strip()) for line in terms]
    bare = all(len(line.split()) == 1 for line in lines)
    marked = any(
        line.strip().startswith(("-", "{")) or (one and one["text"])
        for line, one in zip(terms, found, strict=True)
    )
    if not all(found) or not (marked or bare) or lines[0].startswith(" "):
        return Passage(lines=tuple(lines))
    entries: list[tuple[str, str]] = []
    for line in lines:
        one = _ENTRY.fullmatch(line.strip())
        if line.startswith(" " * _DEEPER):
            term, text = entries[-1]
            entries[-1] = (term, f"{text} {line.strip()}".strip())
        elif one:
            entries.append((one["term"], one["text"] or ""))
    return Passage(entries=tuple(entries))


def _trimmed(lines: list[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).strip("\n").split("\n")
