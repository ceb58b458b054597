"""Rules across fields. They read data that already fits the schema, and return what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from py_portable.config.document import Document
from py_portable.config.glibc import canonical_image, known_glibc, version_key
from py_portable.config.problems import DataPath, Problem, listed, nearest, show
from py_portable.config.schema import formats, resolve

DEFAULT_BASELINES = {"default": {"image": "debian:11"}}

# What lies beside the artifacts in dist/, whatever its suffix.
RESERVED = ("evidence", "junit", "logs", "publish", "report", "sbom", "sha256sums")


def problems(document: Document, base: Path) -> list[Problem]:
    """All that is wrong across the fields of a document that the schema accepts."""
    rules = _Rules(document, base)
    return [
        *rules.app(),
        *rules.requirements(),
        *rules.names(),
        *rules.baselines(),
        *rules.interpreter(),
        *rules.carried(),
        *rules.made_from(),
        *rules.glibc(),
        *rules.images(),
        *rules.smokes(),
        *rules.own_wheels(),
    ]


def artifacts_of(data: Mapping[str, Any]) -> dict[str, tuple[DataPath, dict[str, Any]]]:
    """Artifact name -> where it stands and its mapping, for both forms of `artifacts`."""
    written = data["artifacts"]
    if isinstance(written, list):
        return {name: (("artifacts", i), {"format": name}) for i, name in enumerate(written)}
    return {name: (("artifacts", name), mapping) for name, mapping in written.items()}


def published(data: Mapping[str, Any]) -> dict[str, str]:
    """Name of each artifact that `wheels.publish` asks for -> its Python."""
    pythons = data.get("wheels", {}).get("publish", {}).get("pythons", ())
    return {f"publish-{python}": str(python) for python in pythons}


def baselines_of(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    baselines: dict[str, dict[str, Any]] = data.get("baselines", DEFAULT_BASELINES)
    return baselines


def default_baseline(data: Mapping[str, Any]) -> str | None:
    """The baseline of an artifact that names none; None where there are several and none is `default`."""
    names = list(baselines_of(data))
    if "default" in names:
        return "default"
    return names[0] if len(names) == 1 else None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be read
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _no(kind: str, name: str, known: Iterable[str]) -> str:
    meant = nearest(name, known)
    better = f"did you mean {show(meant)}?" if meant else f"the {kind}s are: {listed(known)}"
    return f"there is no {kind} {show(name)}; {better}"


class _Rules:
    def __init__(self, document: Document, base: Path) -> None:
        self.wrong = document.problem
        self.marks = document.marks
        self.data: dict[str, Any] = document.data
        self.base = base
        self.made = artifacts_of(self.data)
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
        seen: dict[str, str] = {}
        for name, (path, _) in self.made.items():
            folded = name.casefold()
            first = seen.setdefault(folded, name)
            if first != name:
                yield self.wrong(path, f"differs from {show(first)} only in upper and lower case", key=True)
            if folded.split(".")[0] in RESERVED:
                text = f"the name is taken; the kit's own files in dist/ are: {listed(RESERVED)}"
                yield self.wrong(path, text, key=True)

    def baselines(self) -> Iterator[Problem]:
        known = baselines_of(self.data)
        for path, mapping in self.made.values():
            if "baseline" in mapping:
                if mapping["baseline"] not in known:
                    yield self.wrong((*path, "baseline"), _no("baseline", mapping["baseline"], known))
            elif "from" not in mapping and self.default is None and self.takes(mapping, "baseline"):
                text = f"needs baseline, as none is named default; there are: {listed(known)}"
                yield self.wrong(path, text, key=True)
        provider = self.data.get("interpreter", {}).get("provider", "source")
        for name, each in known.items():
            if each.get("libraries") and provider != "source":
                text = f"only an interpreter that is compiled here takes them, and the provider is {provider}"
                yield self.wrong(("baselines", name, "libraries"), text, key=True)

    @staticmethod
    def takes(mapping: Mapping[str, Any], key: str) -> bool:
        return key in formats()[mapping["format"]]["properties"]

    def interpreter(self) -> Iterator[Problem]:
        choice = self.data.get("interpreter", {})
        provider, archives = choice.get("provider", "source"), choice.get("archives", {})
        if choice.get("optimize") and provider != "source":
            text = f"only what is compiled here can be optimized, and the provider is {provider}"
            yield self.wrong(("interpreter", "optimize"), text, key=True)
        if provider != "standalone":
            if "archives" in choice:
                text = f"is for the provider standalone, and the provider is {provider}"
                yield self.wrong(("interpreter", "archives"), text, key=True)
            return
        for python, each in archives.items():
            yield from self.archive(("interpreter", "archives", python), each)
        pythons = [
            m.get("python", self.data["python"]) for _, m in self.made.values() if self.takes(m, "python")
        ]
        for python in dict.fromkeys(pythons):
            if python not in archives:
                has = f"it has: {listed(archives)}" if archives else "the key archives is missing"
                text = f"an artifact asks for Python {python}, and no archive is named for it; {has}"
                yield self.wrong(("interpreter",), text, key=True)

    def archive(self, path: DataPath, each: Mapping[str, Any]) -> Iterator[Problem]:
        if ("url" in each) == ("path" in each):
            yield self.wrong(path, "needs url or path, one of them", key=True)
        elif "url" in each and "sha256" not in each:
            yield self.wrong(path, "needs sha256: what is fetched is verified", key=True)
        elif "path" in each and not _is_file(self.base / each["path"]):
            text = f"there is no file {show(each['path'])}; relative paths start at this file's folder"
            yield self.wrong((*path, "path"), text)

    def carried(self) -> Iterator[Problem]:
        """PyOxidizer 0.24 is the last one, and what it makes of a newer Python ends by a segmentation fault."""
        for path, mapping in self.made.values():
            if mapping["format"] != "pyoxidizer":
                continue
            parent = self.made.get(mapping.get("from", ""), (path, {}))[1]
            python = str(mapping.get("python") or parent.get("python") or self.data["python"])
            if version_key(python) > version_key("3.11"):
                text = f"PyOxidizer carries no Python after 3.11, and this would be {python}; "
                text += f'say python: "3.11" here, or choose nuitka-standalone for {python}'
                where = (*path, "python") if "python" in mapping else path
                yield self.wrong(where, text, key="python" not in mapping)
            if "config" in mapping and not _is_file(self.base / mapping["config"]):
                text = (
                    f"there is no file {show(mapping['config'])}; relative paths start at this file's folder"
                )
                yield self.wrong((*path, "config"), text)

    def made_from(self) -> Iterator[Problem]:
        source = {name: mapping["from"] for name, (_, mapping) in self.made.items() if "from" in mapping}
        in_circle: set[str] = set()
        for name, wanted in source.items():
            path, _ = self.made[name]
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
        path, mapping = self.made[name]
        parent = self.made[wanted][1]
        allowed = resolve(formats()[mapping["format"]]["properties"]["from"])["x-from"]
        if parent["format"] not in allowed:
            what = f"{mapping['format']} is made from {listed(allowed)}"
            text = f"{what}, but {show(wanted)} is {parent['format']}"
            yield self.wrong((*path, "from"), text)
            return
        for key, default in (("baseline", self.default), ("python", self.data["python"])):
            # `from` takes over both: to say something else would be two answers to one question.
            theirs = parent.get(key, default)
            if key in mapping and mapping[key] != theirs:
                text = f"is {mapping[key]}, but {show(wanted)}, which this is made from, has {theirs}"
                yield self.wrong((*path, key), text)

    def glibc(self) -> Iterator[Problem]:
        wanted = self.data.get("wheels", {}).get("max-glibc")
        if wanted is None:
            return
        used = {mapping.get("baseline", self.default) for _, mapping in self.made.values()}
        if "publish" in self.data["wheels"]:
            used.add(self.data["wheels"]["publish"].get("baseline", self.default))
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

    def smokes(self) -> Iterator[Problem]:
        """A cell is known by its smoke command's arguments, so two with the same could not be told apart."""
        owners: list[tuple[DataPath, dict[str, Any]]] = [(("app",), self.data["app"]), *self.made.values()]
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
        if "publish" not in wheels:
            return
        path: DataPath = ("wheels", "publish")
        for name in published(self.data):
            if name in self.made:
                text = "the name is taken: wheels.publish makes an artifact that is called so"
                yield self.wrong(self.made[name][0], text, key=True)
        known = baselines_of(self.data)
        if "baseline" in wheels["publish"]:
            if wheels["publish"]["baseline"] not in known:
                yield self.wrong((*path, "baseline"), _no("baseline", wheels["publish"]["baseline"], known))
        elif self.default is None:
            text = f"needs baseline, as none is named default; there are: {listed(known)}"
            yield self.wrong(path, text, key=True)
