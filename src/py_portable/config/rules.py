"""Rules across fields. They read data that already fits the schema, and return the problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from py_portable.config.artifact_rules import Artifacts, baselines_of, default_baseline, image_name
from py_portable.config.document import Document
from py_portable.config.glibc import canonical_image, known_glibc, version_key
from py_portable.config.kinds import is_file
from py_portable.config.problems import DataPath, Problem, listed, show
from py_portable.config.schema import Schema


def problems(document: Document, base: Path, schema: Schema) -> list[Problem]:
    """All problems across the fields of a document that the schema accepts."""
    rules = _Rules(document, base, schema)
    found = [
        *rules.app(),
        *rules.requirements(),
        *rules.artifacts.problems(),
        *rules.libraries(),
        *rules.interpreter(),
        *rules.glibc(),
        *rules.images(),
        *rules.smokes(),
        *rules.own_wheels(),
    ]
    # What one line of the file asks for several times is wrong once.
    return list(dict.fromkeys(found))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be read
        return False


class _Rules:
    def __init__(self, document: Document, base: Path, schema: Schema) -> None:
        self.wrong = document.problem
        self.marks = document.marks
        self.data: dict[str, Any] = document.data
        self.base = base
        self.artifacts = Artifacts(document, base, schema)
        self.default = default_baseline(self.data)

    def app(self) -> Iterator[Problem]:
        app = self.data["app"]
        either = "give only one of the two"
        if "source" in app and "requirement" in app:
            yield self.wrong(
                ("app", "requirement"), f"cannot be used together with source: {either}", key=True
            )
        if "source" not in app and "requirement" not in app:
            text = "needs the key source (a folder, an sdist or a wheel) or requirement"
            yield self.wrong(("app",), text, key=True)
        if "script" in app and "entry-point" in app:
            yield self.wrong(
                ("app", "entry-point"), f"cannot be used together with script: {either}", key=True
            )
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
        beside = enumerate(self.data["app"].get("with", ()))
        written += [(("app", "with", number), line) for number, line in beside]
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
                wanted = Requirement(text)
            except InvalidRequirement:
                yield self.wrong(path, f"{show(text)} is not a requirement such as httpie==3.2.4")
                continue
            if wanted.marker and path[:2] == ("app", "with"):
                yield self.wrong(path, "no condition can stand here: what is written is always installed")

    def interpreter(self) -> Iterator[Problem]:
        choice = self.data.get("interpreter", {})
        provider, archives = choice.get("provider", "source"), choice.get("archives", {})
        if choice.get("optimize") and provider != "source":
            text = (
                f"only an interpreter that is compiled here can be optimized, but the provider is {provider}"
            )
            yield self.wrong(("interpreter", "optimize"), text, key=True)
        for one in self.artifacts.all:
            own = one.mapping.get("interpreter", {})
            if own.get("optimize") and own["provider"] != "source":
                text = "only an interpreter that is compiled here can be optimized, but the provider is "
                text += own["provider"]
                yield self.wrong((*one.path, "interpreter", "optimize"), text, key=True)
        theirs = self.artifacts
        carried = [one for one in theirs.all if theirs.built(one) and theirs.provider(one) == "standalone"]
        if not carried and provider != "standalone":
            if "archives" in choice:
                text = f"is for the provider standalone, but the provider is {provider}"
                yield self.wrong(("interpreter", "archives"), text, key=True)
            return
        for python, each in archives.items():
            yield from self.archive(("interpreter", "archives", python), each)
        for python in dict.fromkeys(map(self.artifacts.python, carried)):
            if python not in archives:
                has = f"it has: {listed(archives)}" if archives else "the key archives is missing"
                text = f"an artifact asks for Python {python}, but no archive is named for it; {has}"
                yield self.wrong(("interpreter",), text, key=True)

    def archive(self, path: DataPath, each: Mapping[str, Any]) -> Iterator[Problem]:
        if ("url" in each) == ("path" in each):
            yield self.wrong(path, "needs either url or path, and not both", key=True)
        elif "url" in each and "sha256" not in each:
            yield self.wrong(path, "needs sha256: every download is verified", key=True)
        elif "path" in each and not is_file(self.base / each["path"]):
            text = f"there is no file {show(each['path'])}; relative paths start at this file's folder"
            yield self.wrong((*path, "path"), text)

    def glibc(self) -> Iterator[Problem]:
        wanted = self.data.get("wheels", {}).get("max-glibc")
        if wanted is None:
            return
        used = {one.mapping.get("baseline", self.default) for one in self.artifacts.all}
        for name, baseline in baselines_of(self.data).items():
            floor = known_glibc(baseline["image"])
            if name in used and floor and version_key(wanted) < version_key(floor):
                text = (
                    f"is {wanted}, but the baseline {name} ({baseline['image']}) has glibc {floor}, "
                    "so programs compiled there may need it"
                )
                yield self.wrong(("wheels", "max-glibc"), text)

    def images(self) -> Iterator[Problem]:
        seen: dict[str, tuple[str, DataPath]] = {}
        for i, image in enumerate(self.data.get("portability", {}).get("images", ())):
            path: DataPath = ("portability", "images", i)
            own = image_name(image)
            path = path if isinstance(image, str) else (*path, "image")
            name, first = seen.setdefault(canonical_image(own), (own, path))
            if first != path:
                mark = self.marks.table[first]
                what = own if name == own else f"{own} (it is {name})"
                yield self.wrong(path, f"{what} is listed twice; the first is at {mark.line}:{mark.column}")

    def smokes(self) -> Iterator[Problem]:
        """The arguments of a smoke command identify its cells, so two commands must not have the same ones."""
        owners = [(("app",), self.data["app"]), *((one.path, one.mapping) for one in self.artifacts.all)]
        for owner, mapping in owners:
            seen: dict[tuple[str, ...], DataPath] = {}
            for i, smoke in enumerate(mapping.get("smoke", ())):
                path: DataPath = (*owner, "smoke", i, *(("args",) if "args" in smoke else ()))
                first = seen.setdefault(tuple(smoke.get("args", ())), path)
                if first != path:
                    mark = self.marks.table[first]
                    place = f"{mark.key_line}:{mark.key_column}"
                    text = (
                        f"the same arguments as at {place}: the results of the two smoke commands "
                        "could not be distinguished"
                    )
                    yield self.wrong(path, text, key=True)

    def own_wheels(self) -> Iterator[Problem]:
        """`wheels.use` and `wheels.publish` are about an app that is built here."""
        wheels, app = self.data.get("wheels", {}), self.data["app"]
        for key in ("use", "publish"):
            if key in wheels and ("source" not in app or str(app["source"]).endswith(".whl")):
                text = "needs app.source to be a folder or an sdist: otherwise the app's wheels exist already"
                yield self.wrong(("wheels", key), text, key=True)

    def libraries(self) -> Iterator[Problem]:
        """The libraries of baselines: only an interpreter that is compiled here can use them."""
        provider = self.data.get("interpreter", {}).get("provider", "source")
        for name, each in baselines_of(self.data).items():
            if not each.get("libraries"):
                continue
            if provider != "source":
                text = (
                    f"only an interpreter that is compiled here can use them, but the provider is {provider}"
                )
                yield self.wrong(("baselines", name, "libraries"), text, key=True)
                continue
            for one in self.artifacts.all:
                theirs = self.artifacts.own_or_given(one, "baseline", self.default)
                if (
                    "interpreter" in one.mapping
                    and theirs == name
                    and self.artifacts.provider(one) != "source"
                ):
                    text = f"the baseline {name} has libraries, which only the provider source can use"
                    yield self.wrong((*one.path, "interpreter"), text, key=True)
