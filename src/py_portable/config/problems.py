"""Problems of a config, how they are shown, and how they become one ConfigError."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NoReturn

from py_portable.errors import ConfigError

DataPath = tuple[str | int, ...]

MOST = 6
_SNIPPET_WIDTH = 96
_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Problem:
    """One problem. Line and column start at 1 (0: no place); a lower rank comes first."""

    path: DataPath
    text: str
    line: int
    column: int
    rank: int = 1

    @property
    def message(self) -> str:
        return f"{show_path(self.path)}: {self.text}" if self.path else self.text


def fail(
    name: str, lines: Sequence[str], problems: Iterable[Problem], *, hint: str | None = None
) -> NoReturn:
    """Raise ConfigError: the most useful problem first with its line, then a bounded number of others."""
    found = sorted(problems, key=lambda each: (each.rank, each.line, each.column, each.message))
    first = found[0]
    tail = _snippet(lines, first)
    for before, problem in pairwise(found[:MOST]):
        tail.append(f"{problem.line}:{problem.column}: {problem.message}")
        if (before.line, before.column) != (problem.line, problem.column):
            tail += _snippet(lines, problem)
    if len(found) > MOST:
        tail.append(f"and {len(found) - MOST} more")
    where = f"{name}:{first.line}:{first.column}" if first.line else name
    raise ConfigError(first.message, where=where, tail="\n".join(tail) or None, hint=hint)


def _snippet(lines: Sequence[str], problem: Problem) -> list[str]:
    if not 1 <= problem.line <= len(lines):
        return []
    line = lines[problem.line - 1].replace("\t", " ")
    column = min(problem.column - 1, len(line))
    begin = max(0, column - _SNIPPET_WIDTH // 2) if len(line) > _SNIPPET_WIDTH else 0
    number = str(problem.line)
    return [
        f"{number} | {line[begin : begin + _SNIPPET_WIDTH].rstrip()}",
        f"{' ' * len(number)} | {' ' * (column - begin)}^",
    ]


def split_lines(text: str) -> tuple[str, ...]:
    """The lines as YAML and editors count them; never empty."""
    return tuple(_BREAK.split(text))


def show(value: Any) -> str:
    """A value as a message shows it: short, one line, nothing that a terminal would obey."""
    if isinstance(value, str) and type(value) is not str:
        return value  # a Numeral: a number as it is written
    if isinstance(value, str):
        text = json.dumps(value if len(value) <= 60 else value[:57] + "…", ensure_ascii=False)
        return text.replace("\x7f", "\\u007f")
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return str(value)


def show_path(path: DataPath) -> str:
    """("portability", "images", 2, "expect") as `portability.images[2].expect`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        plain = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", part)
        text += ("." if text else "") + (part if plain else show(part))
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that was probably meant."""
    import difflib

    table = {_fold(name): name for name in known}
    found = difflib.get_close_matches(_fold(word[:100]), table, n=1, cutoff=0.6)
    return table[found[0]] if found else None


def _fold(word: str) -> str:
    return word.casefold().replace("_", "-").replace(" ", "-")


def listed(names: Iterable[str]) -> str:
    return ", ".join(names)
