"""Rules of artifacts: their names, where they are built, what they are made from, and what their formats say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from py_portable.config.document import Document
from py_portable.config.glibc import canonical_image, with_packages
from py_portable.config.kinds import OF_DISTRIBUTION, Kind, Stands, Written, artifacts, own_baselines, parents
from py_portable.config.problems import Problem, listed, nearest, show, show_path
from py_portable.config.schema import Schema

DEFAULT_BASELINES = {"default": {"image": "debian:11"}}

# What lies beside the artifacts in dist/, whatever its suffix.
RESERVED = ("evidence", "junit", "logs", "publish", "report", "sbom", "sha256sums")


def baselines_of(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    baselines: dict[str, dict[str, Any]] = data.get("baselines", DEFAULT_BASELINES)
    return baselines


def default_baseline(data: Mapping[str, Any]) -> str | None:
    """The baseline of an artifact that names none. It is None if there are several and none is called `default`."""
    names = list(baselines_of(data))
    if "default" in names:
        return "default"
    return names[0] if len(names) == 1 else None


def image_names(data: Mapping[str, Any], schema: Schema) -> dict[str, str]:
    """The images that apps are started on, by their common name: `debian:bullseye` is found as `debian:11`."""
    images = data.get("portability", {}).get("images", schema.default_images)
    return {canonical_image(name): name for name in map(image_name, images)}


def image_name(written: str | Mapping[str, Any]) -> str:
    """What an entry of `portability.images` is called by other keys."""
    return (
        written if isinstance(written, str) else with_packages(written["image"], written.get("packages", ()))
    )


def no_such(kind: str, name: str, known: Iterable[str]) -> str:
    meant = nearest(name, known)
    better = f"did you mean {show(meant)}?" if meant else f"the {kind}s are: {listed(known)}"
    return f"there is no {kind} {show(name)}; {better}"


class Artifacts:
    """All artifacts of a document, and the problems they have."""

    def __init__(self, document: Document, base: Path, schema: Schema) -> None:
        self.document = document
        self.wrong = document.problem
        self.data: dict[str, Any] = document.data
        self.base = base
        self.kinds = schema.kinds
        self.all = artifacts(self.data, schema.kinds)
        self.images_by_name = image_names(self.data, schema)
        self.made = {one.name: one for one in reversed(self.all)}
        self.default = default_baseline(self.data)

    def problems(self) -> list[Problem]:
        return [
            *self.names(),
            *self.baselines(),
            *self.of_formats(),
            *self.made_from(),
            *self.expectations(),
        ]

    def kind(self, one: Stands) -> Kind:
        return self.kinds[one.mapping["format"]]

    def built(self, one: Stands) -> bool:
        """Whether it is built here, in a baseline and with an interpreter."""
        return self.kind(one).interpreter != "none"

    def python(self, one: Stands) -> str:
        return str(self.own_or_given(one, "python", self.data["python"]))

    def provider(self, one: Stands) -> str:
        if self.kind(one).interpreter in OF_DISTRIBUTION:
            return "system"
        choice = self.own_or_given(one, "interpreter", self.data.get("interpreter", {}))
        return str(choice.get("provider", "source"))

    def own_or_given(self, one: Stands, key: str, default: Any) -> Any:
        """The value of a key in the artifact, else in the one it is made from, else the given default."""
        seen: list[Stands] = []
        while key not in one.mapping and one.mapping.get("from") in self.made and one not in seen:
            seen.append(one)
            one = self.made[one.mapping["from"]]
        return one.mapping.get(key, default)

    def names(self) -> Iterator[Problem]:
        seen: dict[str, Stands] = {}
        for one in self.all:
            name, path, folded = one.name, one.path, one.name.casefold()
            first = seen.setdefault(folded, one)
            if first.name != name:
                text = f"differs from {show(first.name)} only in upper and lower case"
                yield self.wrong(path, text, key=True)
            elif first is not one:
                text = f"this name is reserved: {show_path(path)} makes an artifact with this name"
                yield self.wrong(first.path, text, key=True)
            if folded.split(".")[0] in RESERVED:
                text = f"this name is reserved; py-portable's own files in dist/ are: {listed(RESERVED)}"
                yield self.wrong(path, text, key=True)

    def baselines(self) -> Iterator[Problem]:
        known = baselines_of(self.data)
        own = own_baselines(self.all, known.get(self.default or "", {}), self.kinds)
        for name in sorted(own.keys() & known.keys()):
            text = f"this name is reserved: {show_path(self.made[name].path)} has a baseline with this name"
            yield self.wrong(("baselines", name), text, key=True)
        for one in self.all:
            if "baseline" in one.mapping:
                if one.mapping["baseline"] not in {*known, *own}:
                    text = no_such("baseline", one.mapping["baseline"], known)
                    yield self.wrong((*one.path, "baseline"), text)
            elif "from" not in one.mapping and self.default is None and self.built(one):
                text = f"needs the key baseline, because no baseline is named default; there are: {listed(known)}"
                yield self.wrong(one.path, text, key=True)

    def made_from(self) -> Iterator[Problem]:
        source = {one.name: one.mapping["from"] for one in self.all if "from" in one.mapping}
        in_circle: set[str] = set()
        for name, wanted in source.items():
            path = self.made[name].path
            if wanted not in self.made:
                yield self.wrong((*path, "from"), no_such("artifact", wanted, self.made))
                continue
            trail = [name]
            while trail[-1] in source and source[trail[-1]] not in trail:
                trail.append(source[trail[-1]])
            if source.get(trail[-1]) != name:
                yield from self.parent(name, wanted)
            elif name not in in_circle:
                in_circle.update(trail)
                yield self.wrong(
                    (*path, "from"), f"the artifact is made from itself: {' from '.join([*trail, name])}"
                )

    def parent(self, name: str, wanted: str) -> Iterator[Problem]:
        path, mapping = self.made[name].path, self.made[name].mapping
        parent = self.made[wanted]
        allowed = parents(self.kind(self.made[name]), self.kinds)
        if self.kind(parent).name not in allowed:
            what = f"{mapping['format']} is made from {listed(allowed)}"
            text = f"{what}, but {show(wanted)} is {self.kind(parent).name}"
            yield self.wrong((*path, "from"), text)
            return
        if "interpreter" in mapping:
            text = f"this artifact has the interpreter of {show(wanted)}, from which it is made: set it there"
            yield self.wrong((*path, "interpreter"), text, key=True)
        for key, default in (("baseline", self.default), ("python", self.data["python"])):
            # `from` takes over both: to say something else would be two answers to one question.
            theirs = self.own_or_given(parent, key, default)
            if key in mapping and mapping[key] != theirs:
                text = (
                    f"is {mapping[key]}, but {show(wanted)}, from which this artifact is made, has {theirs}"
                )
                yield self.wrong((*path, key), text)

    def of_formats(self) -> Iterator[Problem]:
        for one in self.all:
            told = Written(self.document, self.base, one.path, one.mapping, self.python(one))
            yield from self.kind(one).problems(told)

    def expectations(self) -> Iterator[Problem]:
        probes = self.data.get("portability", {}).get("probes", ())
        for one in self.all:
            for name in one.mapping.get("expect", ()):
                if canonical_image(name) not in self.images_by_name and name not in probes:
                    text = no_such("image", name, (*self.images_by_name.values(), *probes))
                    yield self.wrong((*one.path, "expect", name), text, key=True)
