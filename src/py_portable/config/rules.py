"""Rules across fields. They read data that already fits the schema, and return what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from py_portable.config.document import Document
from py_portable.config.glibc import canonical_image, known_glibc, version_key
from py_portable.config.kinds import Kind, Stands, Written, artifacts, is_file, parents
from py_portable.config.problems import DataPath, Problem, listed, nearest, show, show_path
from py_portable.config.schema import Schema

DEFAULT_BASELINES = {"default": {"image": "debian:11"}}

# What lies beside the artifacts in dist/, whatever its suffix.
RESERVED = ("evidence", "junit", "logs", "publish", "report", "sbom", "sha256sums")


def problems(document: Document, base: Path, schema: Schema) -> list[Problem]:
    """All that is wrong across the fields of a document that the schema accepts."""
    rules = _Rules(document, base, schema)
    found = [
        *rules.app(),
        *rules.requirements(),
        *rules.names(),
        *rules.baselines(),
        *rules.interpreter(),
        *rules.of_formats(),
        *rules.made_from(),
        *rules.glibc(),
        *rules.images(),
        *rules.expectations(),
        *rules.smokes(),
        *rules.own_wheels(),
    ]
    # What one line of the file asks for several times is wrong once.
    return list(dict.fromkeys(found))


def baselines_of(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    baselines: dict[str, dict[str, Any]] = data.get("baselines", DEFAULT_BASELINES)
    return baselines


def default_baseline(data: Mapping[str, Any]) -> str | None:
    """The baseline of an artifact that names none; None where there are several and none is `default`."""
    names = list(baselines_of(data))
    if "default" in names:
        return "default"
    return names[0] if len(names) == 1 else None


def image_names(data: Mapping[str, Any], schema: Schema) -> dict[str, str]:
    """The images that apps are started on, by what is one name for several: `debian:bullseye` is `debian:11`."""
    images = data.get("portability", {}).get("images", schema.default_images)
    named = [image if isinstance(image, str) else image["image"] for image in images]
    return {canonical_image(name): name for name in named}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be read
        return False


def _no(kind: str, name: str, known: Iterable[str]) -> str:
    meant = nearest(name, known)
    better = f"did you mean {show(meant)}?" if meant else f"the {kind}s are: {listed(known)}"
    return f"there is no {kind} {show(name)}; {better}"


class _Rules:
    def __init__(self, document: Document, base: Path, schema: Schema) -> None:
        self.document = document
        self.wrong = document.problem
        self.marks = document.marks
        self.data: dict[str, Any] = document.data
        self.base = base
        self.kinds = schema.kinds
        self.all = artifacts(self.data, schema.kinds)
        self.images_by_name = image_names(self.data, schema)
        self.made = {one.name: one for one in reversed(self.all)}
        self.default = default_baseline(self.data)

    def app(self) -> Iterator[Problem]:
        app = self.data["app"]
        either = "the app is one or the other"
        if "source" in app and "requirement" in app:
            yield self.wrong(("app", "requirement"), f"not together with source: {either}", key=True)
        if "source" not in app and "requirement" not in app:
            text = "needs source (a folder, an sdist or a wheel) or requirement"
            yield self.wrong(("app",), text, key=True)
        if "script" in app and "entry-point" in app:
            yield self.wrong(("app", "entry-point"), f"not together with script: {either}", key=True)
        if "source" in app:
            source = self.base / app["source"]
            if not _exists(source):
                text = f"there is no {show(app['source'])}; relative paths start at this file's folder"
                yield self.wrong(("app", "source"), text)
            elif not source.is_dir() and not source.is_file():
                yield self.wrong(("app", "source"), "is neither a folder nor a regular file")
            elif not source.is_dir() and not source.name.endswith((".whl", ".tar.gz", ".zip")):
                yield self.wrong(("app", "source"), "expected a folder, an sdist (.tar.gz) or a wheel (.whl)")

    def requirements(self) -> Iterator[Problem]:
        written: list[tuple[DataPath, str]] = []
        if "requirement" in self.data["app"]:
            written.append((("app", "requirement"), self.data["app"]["requirement"]))
        for i, limit in enumerate(self.data.get("wheels", {}).get("constraints", ())):
            written.append((("wheels", "constraints", i), limit))
        for key in ("metadata", "build-requires"):
            for project, needs in self.data.get("wheels", {}).get(key, {}).items():
                written += [(("wheels", key, project, i), need) for i, need in enumerate(needs)]
        if not written:
            return
        from packaging.requirements import InvalidRequirement, Requirement

        for path, text in written:
            try:
                Requirement(text)
            except InvalidRequirement:
                yield self.wrong(path, f"{show(text)} is not a requirement such as httpie==3.2.4")

    def names(self) -> Iterator[Problem]:
        seen: dict[str, Stands] = {}
        for one in self.all:
            name, path, folded = one.name, one.path, one.name.casefold()
            first = seen.setdefault(folded, one)
            if first.name != name:
                text = f"differs from {show(first.name)} only in upper and lower case"
                yield self.wrong(path, text, key=True)
            elif first is not one:
                text = f"the name is taken: {show_path(path)} makes an artifact that is called so"
                yield self.wrong(first.path, text, key=True)
            if folded.split(".")[0] in RESERVED:
                text = f"the name is taken; the kit's own files in dist/ are: {listed(RESERVED)}"
                yield self.wrong(path, text, key=True)

    def baselines(self) -> Iterator[Problem]:
        known = baselines_of(self.data)
        for one in self.all:
            if "baseline" in one.mapping:
                if one.mapping["baseline"] not in known:
                    text = _no("baseline", one.mapping["baseline"], known)
                    yield self.wrong((*one.path, "baseline"), text)
            elif "from" not in one.mapping and self.default is None and self.built(one):
                text = f"needs baseline, as none is named default; there are: {listed(known)}"
                yield self.wrong(one.path, text, key=True)
        provider = self.data.get("interpreter", {}).get("provider", "source")
        for one in self.all:
            theirs = self.own_or_given(one, "baseline", self.default)
            if (
                "interpreter" in one.mapping
                and self.provider(one) != "source"
                and (known.get(theirs, {}).get("libraries") and provider == "source")
            ):
                text = f"the baseline {theirs} has libraries, which only the provider source takes"
                yield self.wrong((*one.path, "interpreter"), text, key=True)
        for name, each in known.items():
            if each.get("libraries") and provider != "source":
                text = f"only an interpreter that is compiled here takes them, and the provider is {provider}"
                yield self.wrong(("baselines", name, "libraries"), text, key=True)

    def kind(self, one: Stands) -> Kind:
        return self.kinds[one.mapping["format"]]

    def built(self, one: Stands) -> bool:
        """Whether it is built here, in a baseline and with an interpreter."""
        return self.kind(one).interpreter != "none"

    def interpreter(self) -> Iterator[Problem]:
        choice = self.data.get("interpreter", {})
        provider, archives = choice.get("provider", "source"), choice.get("archives", {})
        if choice.get("optimize") and provider != "source":
            text = f"only what is compiled here can be optimized, and the provider is {provider}"
            yield self.wrong(("interpreter", "optimize"), text, key=True)
        for one in self.all:
            own = one.mapping.get("interpreter", {})
            if own.get("optimize") and own["provider"] != "source":
                text = f"only what is compiled here can be optimized, and the provider is {own['provider']}"
                yield self.wrong((*one.path, "interpreter", "optimize"), text, key=True)
        carried = [one for one in self.all if self.built(one) and self.provider(one) == "standalone"]
        if not carried and provider != "standalone":
            if "archives" in choice:
                text = f"is for the provider standalone, and the provider is {provider}"
                yield self.wrong(("interpreter", "archives"), text, key=True)
            return
        for python, each in archives.items():
            yield from self.archive(("interpreter", "archives", python), each)
        for python in dict.fromkeys(map(self.python, carried)):
            if python not in archives:
                has = f"it has: {listed(archives)}" if archives else "the key archives is missing"
                text = f"an artifact asks for Python {python}, and no archive is named for it; {has}"
                yield self.wrong(("interpreter",), text, key=True)

    def archive(self, path: DataPath, each: Mapping[str, Any]) -> Iterator[Problem]:
        if ("url" in each) == ("path" in each):
            yield self.wrong(path, "needs url or path, one of them", key=True)
        elif "url" in each and "sha256" not in each:
            yield self.wrong(path, "needs sha256: what is fetched is verified", key=True)
        elif "path" in each and not is_file(self.base / each["path"]):
            text = f"there is no file {show(each['path'])}; relative paths start at this file's folder"
            yield self.wrong((*path, "path"), text)

    def of_formats(self) -> Iterator[Problem]:
        for one in self.all:
            told = Written(self.document, self.base, one.path, one.mapping, self.python(one))
            yield from self.kind(one).problems(told)

    def python(self, one: Stands) -> str:
        return str(self.own_or_given(one, "python", self.data["python"]))

    def provider(self, one: Stands) -> str:
        if self.kind(one).interpreter == "system":
            return "system"
        choice = self.own_or_given(one, "interpreter", self.data.get("interpreter", {}))
        return str(choice.get("provider", "source"))

    def own_or_given(self, one: Stands, key: str, default: Any) -> Any:
        """What the artifact says, else what it is made from, else the config."""
        seen: list[Stands] = []
        while key not in one.mapping and one.mapping.get("from") in self.made and one not in seen:
            seen.append(one)
            one = self.made[one.mapping["from"]]
        return one.mapping.get(key, default)

    def made_from(self) -> Iterator[Problem]:
        source = {one.name: one.mapping["from"] for one in self.all if "from" in one.mapping}
        in_circle: set[str] = set()
        for name, wanted in source.items():
            path = self.made[name].path
            if wanted not in self.made:
                yield self.wrong((*path, "from"), _no("artifact", wanted, self.made))
                continue
            trail = [name]
            while trail[-1] in source and source[trail[-1]] not in trail:
                trail.append(source[trail[-1]])
            if source.get(trail[-1]) != name:
                yield from self.parent(name, wanted)
            elif name not in in_circle:
                in_circle.update(trail)
                yield self.wrong((*path, "from"), f"made from itself: {' from '.join([*trail, name])}")

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
            text = f"is that of {show(wanted)}, which this is made from: say it there"
            yield self.wrong((*path, "interpreter"), text, key=True)
        for key, default in (("baseline", self.default), ("python", self.data["python"])):
            # `from` takes over both: to say something else would be two answers to one question.
            theirs = self.own_or_given(parent, key, default)
            if key in mapping and mapping[key] != theirs:
                text = f"is {mapping[key]}, but {show(wanted)}, which this is made from, has {theirs}"
                yield self.wrong((*path, key), text)

    def glibc(self) -> Iterator[Problem]:
        wanted = self.data.get("wheels", {}).get("max-glibc")
        if wanted is None:
            return
        used = {one.mapping.get("baseline", self.default) for one in self.all}
        for name, baseline in baselines_of(self.data).items():
            floor = known_glibc(baseline["image"])
            if name in used and floor and version_key(wanted) < version_key(floor):
                text = (
                    f"is {wanted}, but the baseline {name} ({baseline['image']}) has glibc {floor}: "
                    "what is compiled there may need that"
                )
                yield self.wrong(("wheels", "max-glibc"), text)

    def images(self) -> Iterator[Problem]:
        seen: dict[str, tuple[str, DataPath]] = {}
        for i, image in enumerate(self.data.get("portability", {}).get("images", ())):
            path: DataPath = ("portability", "images", i)
            if not isinstance(image, str):
                path, image = (*path, "image"), image["image"]
            name, first = seen.setdefault(canonical_image(image), (image, path))
            if first != path:
                mark = self.marks.table[first]
                what = image if name == image else f"{image} (it is {name})"
                yield self.wrong(path, f"{what} is listed twice; the first is at {mark.line}:{mark.column}")

    def expectations(self) -> Iterator[Problem]:
        for one in self.all:
            for name in one.mapping.get("expect", ()):
                if canonical_image(name) not in self.images_by_name:
                    text = _no("image", name, self.images_by_name.values())
                    yield self.wrong((*one.path, "expect", name), text, key=True)

    def smokes(self) -> Iterator[Problem]:
        """A cell is known by its smoke command's arguments, so two with the same could not be told apart."""
        owners = [(("app",), self.data["app"]), *((one.path, one.mapping) for one in self.all)]
        for owner, mapping in owners:
            seen: dict[tuple[str, ...], DataPath] = {}
            for i, smoke in enumerate(mapping.get("smoke", ())):
                path: DataPath = (*owner, "smoke", i, *(("args",) if "args" in smoke else ()))
                first = seen.setdefault(tuple(smoke.get("args", ())), path)
                if first != path:
                    mark = self.marks.table[first]
                    place = f"{mark.key_line}:{mark.key_column}"
                    text = f"the same arguments as at {place}: the two smoke commands could not be told apart"
                    yield self.wrong(path, text, key=True)

    def own_wheels(self) -> Iterator[Problem]:
        """`wheels.use` and `wheels.publish` are about an app that is built here."""
        wheels, app = self.data.get("wheels", {}), self.data["app"]
        for key in ("use", "publish"):
            if key in wheels and ("source" not in app or str(app["source"]).endswith(".whl")):
                text = "needs app.source to be a folder or an sdist: an app from elsewhere has its wheels already"
                yield self.wrong(("wheels", key), text, key=True)
