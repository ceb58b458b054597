"""Data that fits the schema and the rules -> Config. Nothing can fail here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from py_portable.config.document import DataPath, Document, Marks
from py_portable.config.model import (
    App,
    Archive,
    Artifact,
    Baseline,
    Build,
    Config,
    ImageSpec,
    InterpreterChoice,
    Portability,
    Publish,
    Smoke,
    Wheels,
)
from py_portable.config.rules import artifacts_of, baselines_of, default_baseline, published
from py_portable.config.schema import formats, resolve, schema

_COMMON = ("format", "from", "baseline", "python", "smoke")


def build(document: Document, raw: bytes, path: Path, base: Path) -> Config:
    """The config of a checked document; `path` and `base` are absolute."""
    data = document.data
    app = _app(data["app"], base)
    return Config(
        path=path,
        base=base,
        version=data["version"],
        app=app,
        python=str(data["python"]),
        interpreter=_interpreter(data.get("interpreter", {}), base),
        baselines={
            name: Baseline(
                name,
                each["image"],
                tuple(each.get("packages", ())),
                each.get("before"),
                tuple(sorted(each.get("libraries", ()))),
            )
            for name, each in baselines_of(data).items()
        },
        build=_build(data.get("build", {})),
        wheels=_wheels(data, base),
        artifacts=_artifacts(data, app, base),
        portability=_portability(data.get("portability", {})),
        sha256=hashlib.sha256(raw).hexdigest(),
        marks=_with_names(document.marks, artifacts_of(data), published(data)),
    )


def _with_names(marks: Marks, made: Mapping[str, tuple[DataPath, Any]], extra: Iterable[str]) -> Marks:
    """An artifact of a bare list can be looked up by its name too, and one of `wheels.publish`."""
    table = dict(marks.table)
    for name in extra:
        table.setdefault(("artifacts", name), table["wheels", "publish", "pythons"])
    for name, (path, _) in made.items():
        table.setdefault(("artifacts", name), marks.table[path])
    return Marks(marks.name, table)


def _app(data: Mapping[str, Any], base: Path) -> App:
    return App(
        source=(base / data["source"]).resolve() if "source" in data else None,
        requirement=data.get("requirement"),
        script=data.get("script"),
        entry_point=data.get("entry-point"),
        extras=tuple(data.get("extras", ())),
        smoke=_smokes(data.get("smoke", ())) or (Smoke(),),
    )


def _smokes(written: Iterable[Mapping[str, Any]]) -> tuple[Smoke, ...]:
    return tuple(
        Smoke(
            args=tuple(each.get("args", ())),
            stdout=tuple(each.get("stdout", ())),
            stderr=tuple(each.get("stderr", ())),
            exit=each.get("exit", 0),
            timeout=float(each.get("timeout", 20)),
        )
        for each in written
    )


def _interpreter(data: Mapping[str, Any], base: Path) -> InterpreterChoice:
    archives = {
        str(python): Archive(
            url=each.get("url"),
            path=(base / each["path"]).absolute() if "path" in each else None,
            sha256=each.get("sha256"),
        )
        for python, each in data.get("archives", {}).items()
    }
    return InterpreterChoice(data.get("provider", "source"), data.get("optimize", False), archives)


def _build(data: Mapping[str, Any]) -> Build:
    return Build(env=dict(data.get("env", {})), pass_env=tuple(data.get("pass-env", ())))


def _wheels(document: Mapping[str, Any], base: Path) -> Wheels:
    data = document.get("wheels", {})
    max_glibc = data.get("max-glibc")

    def by_project(key: str) -> dict[str, tuple[str, ...]]:
        return {_canonical(name): tuple(needs) for name, needs in data.get(key, {}).items()}

    return Wheels(
        max_glibc=None if max_glibc is None else str(max_glibc),
        no_binary=tuple(dict.fromkeys(map(_canonical, data.get("no-binary", ())))),
        metadata=by_project("metadata"),
        build_requires=by_project("build-requires"),
        use=(base / data["use"]).absolute() if "use" in data else None,
        publish=_publish(document),
        unmet=tuple(dict.fromkeys(map(_canonical, data.get("unmet", ())))),
        constraints=tuple(data.get("constraints", ())),
    )


def _publish(document: Mapping[str, Any]) -> Publish | None:
    told = document.get("wheels", {}).get("publish")
    if told is None:
        return None
    baseline = str(told.get("baseline") or default_baseline(document))
    return Publish(tuple(dict.fromkeys(map(str, told["pythons"]))), baseline, told.get("sdist", True))


def _canonical(project: str) -> str:
    """PEP 503's normal form; packaging's function for it costs an import that most configs do not need."""
    return re.sub(r"[-_.]+", "-", project).lower()


def _artifacts(data: Mapping[str, Any], app: App, base: Path) -> dict[str, Artifact]:
    made = artifacts_of(data)
    built: dict[str, Artifact] = {}

    def add(name: str) -> Artifact:
        if name in built:
            return built[name]
        mapping = made[name][1]
        parent = add(mapping["from"]) if "from" in mapping else None
        built[name] = _artifact(name, mapping, parent, data, app, base)
        return built[name]

    for name in made:
        add(name)
    publish = _publish(data)
    for name, python in published(data).items():
        assert publish is not None
        built[name] = Artifact(
            name, "wheel", publish.baseline, python, None, app.smoke, {"extras": app.extras}
        )
    return built


def _artifact(
    name: str,
    mapping: Mapping[str, Any],
    parent: Artifact | None,
    data: Mapping[str, Any],
    app: App,
    base: Path,
) -> Artifact:
    keys = formats()[mapping["format"]]["properties"]
    options = {
        key: _frozen(mapping[key] if key in mapping else resolve(node).get("default"))
        for key, node in keys.items()
        if key not in _COMMON
    }
    if options.get("config"):
        options["config"] = str((base / options["config"]).absolute())
    baseline = mapping.get("baseline") or (parent.baseline if parent else default_baseline(data))
    python = mapping.get("python") or (parent.python if parent else data["python"])
    return Artifact(
        name=name,
        format=mapping["format"],
        baseline=baseline if "baseline" in keys else None,
        python=str(python) if "python" in keys else None,
        from_=mapping.get("from"),
        smoke=_smokes(mapping.get("smoke", ())) or app.smoke,
        options=options,
        path=(base / mapping["path"]).absolute() if "path" in mapping else None,
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _portability(data: Mapping[str, Any]) -> Portability:
    default = schema()["$defs"]["portability"]["properties"]["images"]["default"]
    return Portability(
        images=tuple(_image(each) for each in data.get("images", default)),
        probes=tuple(data.get("probes", ())),
        controls=tuple(data.get("controls", ())),
    )


def _image(written: str | Mapping[str, Any]) -> ImageSpec:
    if isinstance(written, str):
        return ImageSpec(written)
    return ImageSpec(written["image"], written.get("optional", False), written.get("expect", "pass"))
