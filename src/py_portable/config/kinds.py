"""What the config knows about formats. Each format describes itself; none is named in this module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from py_portable.config import options
from py_portable.config.document import DataPath, Document
from py_portable.config.problems import Problem, show

Interpreter = Literal["any", "linkable", "system", "release", "none"]
"""The interpreter that an artifact needs: from any provider; with a libpython that can be linked; only the one of the
distribution it is built on; that of a release, in a baseline of its own; or none, since it is not built here."""

OF_DISTRIBUTION = ("system", "release")
"""Those that are the distribution's own."""

FOLDER = "any folder"
"""In `made_from`: every format whose artifact is a folder with a program that runs wherever the folder is put."""


@dataclass(frozen=True)
class Written:
    """An artifact as the file has it, for the rules of its format."""

    document: Document
    base: Path
    path: DataPath
    """The path of its entry in the file."""
    mapping: Mapping[str, Any]
    python: str
    """Its own provider, else the one of the artifact it is made from, else the config's."""

    def wrong(self, key: str, text: str) -> Problem:
        """A problem with the value of one of its keys, or with the whole artifact if that key is not written."""
        there = key in self.mapping
        return self.document.problem((*self.path, key) if there else self.path, text, key=not there)

    def has(self, key: str) -> bool:
        """Whether the file itself says this key, and not only what its format made of another one."""
        return (*self.path, key) in self.document.marks.table

    def not_a_file(self, key: str) -> Iterable[Problem]:
        """A problem if the path at this key does not name a file."""
        if key in self.mapping and not is_file(self.base / self.mapping[key]):
            text = f"there is no file {show(self.mapping[key])}; relative paths start at this file's folder"
            yield self.wrong(key, text)


@dataclass(frozen=True)
class OwnBaseline:
    """The baseline of one artifact alone, which has the artifact's name."""

    image: str
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stands:
    """The place of an artifact in the file, and its keys."""

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

    def own_baseline(self, mapping: Mapping[str, Any], usual: Mapping[str, Any]) -> OwnBaseline | None: ...

    def problems(self, written: Written) -> Iterable[Problem]: ...


Kinds = Mapping[str, Kind]
"""All formats by name, in the order in which they are shown."""


def parents(kind: Kind, kinds: Kinds) -> list[str]:
    """The formats whose artifacts its `from` may name."""
    fit = (*kind.made_from, *kind.shares)
    return [name for name, each in kinds.items() if name in fit or (each.folder and FOLDER in fit)]


def branch(kind: Kind, kinds: Kinds) -> dict[str, Any]:
    """The entry of a format in the schema: its bare name, if no key is required, or a mapping."""
    keys: dict[str, Any] = {"format": {"const": kind.name}}
    if fit := parents(kind, kinds):
        *others, last = fit
        what = f"The {' or '.join(filter(None, (', '.join(others), last)))} artifact it is made from"
        text = f"{what}. It uses the baseline, the Python and the interpreter of that artifact."
        keys["from"] = {"description": text, **options.ref("artifact-name")}
    if kind.interpreter not in ("none", "release"):
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
    """All artifacts of a document that the schema accepts: from `artifacts`, where one entry may give several, and
    from other keys that ask for some. Two of them may have the same name."""
    found = []
    for name, path, mapping in _of_artifacts(data):
        for own, each in kinds[mapping["format"]].fan_out(name, mapping).items():
            found.append(Stands(own, path, each))
    for kind in kinds.values():
        found += kind.implied(data)
    return found


def own_baselines(stand: Iterable[Stands], usual: Mapping[str, Any], kinds: Kinds) -> dict[str, OwnBaseline]:
    """The baselines that artifacts have for themselves, by name. `usual`: the one of artifacts that name none."""
    found = ((one.name, kinds[one.mapping["format"]].own_baseline(one.mapping, usual)) for one in stand)
    return {name: own for name, own in found if own}


def _of_artifacts(data: Mapping[str, Any]) -> Iterable[tuple[str, DataPath, Mapping[str, Any]]]:
    """Name, path and keys of each entry, from both forms of `artifacts`."""
    written = data["artifacts"]
    if isinstance(written, list):
        return ((name, ("artifacts", i), {"format": name}) for i, name in enumerate(written))
    return ((name, ("artifacts", name), mapping) for name, mapping in written.items())


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be read
        return False
