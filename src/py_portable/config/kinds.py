"""What the config has to know of the formats that there are: each tells it of itself, and none is named here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from py_portable.config import options
from py_portable.config.document import DataPath, Document
from py_portable.config.problems import Problem, show

Interpreter = Literal["any", "linkable", "system", "none"]
"""The interpreter that an artifact needs: one of any provider; one whose libpython can be linked; that of the
distribution it is built on, and no other; or none, since nothing of it is built here."""

FOLDER = "any folder"
"""In `made_from`: every format whose artifacts are folders with a program that starts where they are put."""


@dataclass(frozen=True)
class Written:
    """An artifact as the file has it, for the rules of its format."""

    document: Document
    base: Path
    path: DataPath
    """Where it stands."""
    mapping: Mapping[str, Any]
    python: str
    """Its own, else that of what it is made from, else the config's."""

    def wrong(self, key: str, text: str) -> Problem:
        """A problem with the value of one of its keys, or with all of it where that key is not written."""
        there = key in self.mapping
        return self.document.problem((*self.path, key) if there else self.path, text, key=not there)

    def has(self, key: str) -> bool:
        """Whether the file itself says this key, and not only what its format made of another one."""
        return (*self.path, key) in self.document.marks.table

    def not_a_file(self, key: str) -> Iterable[Problem]:
        """A problem where the path at this key names no file."""
        if key in self.mapping and not is_file(self.base / self.mapping[key]):
            text = f"there is no file {show(self.mapping[key])}; relative paths start at this file's folder"
            yield self.wrong(key, text)


@dataclass(frozen=True)
class Stands:
    """Where an artifact stands in the file, and what it says there."""

    name: str
    path: DataPath
    mapping: Mapping[str, Any]


class Kind(Protocol):
    """A format, as the config sees it; `py_portable.formats.format.Format` says what each of these is."""

    name: str
    summary: str | None
    options: type
    made_from: tuple[str, ...]
    shares: tuple[str, ...]
    folder: bool
    interpreter: Interpreter

    def fan_out(self, name: str, mapping: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]: ...

    def implied(self, data: Mapping[str, Any]) -> Iterable[Stands]: ...

    def problems(self, written: Written) -> Iterable[Problem]: ...


Kinds = Mapping[str, Kind]
"""All formats by name, in the order in which they are shown."""


def parents(kind: Kind, kinds: Kinds) -> list[str]:
    """The formats whose artifacts its `from` may name."""
    fit = (*kind.made_from, *kind.shares)
    return [name for name, each in kinds.items() if name in fit or (each.folder and FOLDER in fit)]


def branch(kind: Kind, kinds: Kinds) -> dict[str, Any]:
    """Its entry in the schema: the bare name, where no key is required, or a mapping."""
    keys: dict[str, Any] = {"format": {"const": kind.name}}
    if fit := parents(kind, kinds):
        what = f"The {' or '.join(fit)} artifact it is made from"
        text = f"{what}: it takes over that one's baseline, Python and interpreter."
        keys["from"] = {"description": text, **options.ref("artifact-name")}
    if kind.interpreter != "none":
        keys |= {"baseline": options.ref("artifact-baseline"), "python": options.ref("artifact-python")}
    if kind.interpreter in ("any", "linkable"):
        keys["interpreter"] = options.ref("artifact-interpreter")
    keys |= {"smoke": options.ref("artifact-smoke"), "expect": options.ref("artifact-expect")}
    needed = ["format", *(["from"] if kind.made_from else []), *options.required(kind.options)]
    return {
        "title": kind.name,
        "description": kind.summary,
        "if": {"type": "string"},
        "then": {"const": kind.name} if needed == ["format"] else False,
        "else": {
            "required": needed,
            "additionalProperties": False,
            "properties": keys | options.properties(kind.options),
        },
    }


def artifacts(data: Mapping[str, Any], kinds: Kinds) -> list[Stands]:
    """All artifacts of a document that the schema accepts: those of `artifacts`, each of which may give several, and
    those that other keys ask for. Two of them may have one name."""
    found = []
    for name, path, mapping in _of_artifacts(data):
        for own, each in kinds[mapping["format"]].fan_out(name, mapping).items():
            found.append(Stands(own, path, each))
    for kind in kinds.values():
        found += kind.implied(data)
    return found


def _of_artifacts(data: Mapping[str, Any]) -> Iterable[tuple[str, DataPath, Mapping[str, Any]]]:
    """Both forms of `artifacts`."""
    written = data["artifacts"]
    if isinstance(written, list):
        return ((name, ("artifacts", i), {"format": name}) for i, name in enumerate(written))
    return ((name, ("artifacts", name), mapping) for name, mapping in written.items())


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be read
        return False
