"""Data that fits the schema and the rules -> Config. Nothing can fail here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable.config import options
from py_portable.config.artifact_rules import baselines_of, default_baseline, image_names
from py_portable.config.document import Document, Marks
from py_portable.config.glibc import canonical_image
from py_portable.config.kinds import OF_DISTRIBUTION, Kind, Kinds, Stands, artifacts, own_baselines
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
from py_portable.config.schema import Schema


def build(document: Document, raw: bytes, path: Path, base: Path, schema: Schema) -> Config:
    """The config of a checked document; `path` and `base` are absolute."""
    data = document.data
    stand = artifacts(data, schema.kinds)
    interpreter = _interpreter(data.get("interpreter", {}), base)
    app = _app(data["app"], base)
    return Config(
        path=path,
        base=base,
        version=data["version"],
        app=app,
        python=str(data["python"]),
        interpreter=interpreter,
        baselines=_baselines(data, stand, schema.kinds),
        build=_build(data.get("build", {})),
        wheels=_wheels(data, base),
        artifacts=_artifacts(
            stand, data, _Common(app, interpreter, base, schema.kinds, image_names(data, schema))
        ),
        portability=_portability(data.get("portability", {}), schema.default_images),
        sha256=hashlib.sha256(raw).hexdigest(),
        marks=_with_names(document.marks, stand),
    )


def _baselines(data: Mapping[str, Any], stand: Iterable[Stands], kinds: Kinds) -> dict[str, Baseline]:
    written = baselines_of(data)
    found = {
        name: Baseline(
            name,
            each["image"],
            tuple(each.get("packages", ())),
            each.get("before"),
            tuple(sorted(each.get("libraries", ()))),
        )
        for name, each in written.items()
    }
    usual = written.get(default_baseline(data) or "", {})
    own = own_baselines(stand, usual, kinds)
    return found | {name: Baseline(name, each.image, each.packages, own=True) for name, each in own.items()}


def _with_names(marks: Marks, stand: Iterable[Stands]) -> Marks:
    """Every artifact can be looked up by its name, wherever in the file it stands."""
    table = dict(marks.table)
    for one in stand:
        table.setdefault(("artifacts", one.name), marks.table[one.path])
    return Marks(marks.name, table)


def _app(data: Mapping[str, Any], base: Path) -> App:
    return App(
        source=(base / data["source"]).resolve() if "source" in data else None,
        requirement=data.get("requirement"),
        script=data.get("script"),
        entry_point=data.get("entry-point"),
        extras=tuple(data.get("extras", ())),
        smoke=_smokes(data.get("smoke", ())) or (Smoke(),),
        with_=tuple(data.get("with", ())),
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


@dataclass(frozen=True)
class _Common:
    """What every artifact is read with."""

    app: App
    interpreter: InterpreterChoice
    base: Path
    kinds: Kinds
    images: Mapping[str, str]


def _artifacts(stand: Sequence[Stands], data: Mapping[str, Any], common: _Common) -> dict[str, Artifact]:
    mappings = {one.name: one.mapping for one in stand}
    built: dict[str, Artifact] = {}

    def add(name: str) -> Artifact:
        if name not in built:
            mapping = mappings[name]
            parent = add(mapping["from"]) if "from" in mapping else None
            built[name] = _artifact(name, mapping, parent, data, common)
        return built[name]

    for name in mappings:
        add(name)
    return built


def _artifact(
    name: str,
    mapping: Mapping[str, Any],
    parent: Artifact | None,
    data: Mapping[str, Any],
    common: _Common,
) -> Artifact:
    kind = common.kinds[mapping["format"]]
    baseline = python = None
    if parent and kind.made_from:
        # It carries what that was made with.
        baseline, python = parent.baseline, parent.python
    elif kind.interpreter != "none":
        baseline = mapping.get("baseline") or (parent.baseline if parent else default_baseline(data))
        python = str(mapping.get("python") or (parent.python if parent else data["python"]))
    return Artifact(
        name=name,
        format=kind.name,
        baseline=baseline,
        python=python,
        from_=mapping.get("from"),
        smoke=_smokes(mapping.get("smoke", ())) or common.app.smoke,
        options=options.read(kind.options, mapping, common.base),
        interpreter=_own_interpreter(kind, mapping, parent.interpreter if parent else common.interpreter),
        expect={
            common.images.get(canonical_image(name), name): expected
            for name, expected in mapping.get("expect", {}).items()
        },
        images=tuple(mapping["images"]) if "images" in mapping else None,
    )


def _own_interpreter(kind: Kind, mapping: Mapping[str, Any], given: InterpreterChoice) -> InterpreterChoice:
    if kind.interpreter in OF_DISTRIBUTION:
        return InterpreterChoice("system")
    if "interpreter" not in mapping:
        return given
    own = mapping["interpreter"]
    return InterpreterChoice(own["provider"], own.get("optimize", False), given.archives)


def _portability(data: Mapping[str, Any], default: Sequence[Any]) -> Portability:
    return Portability(
        images=tuple(_image(each) for each in data.get("images", default)),
        probes=tuple(data.get("probes", ())),
        controls=tuple(data.get("controls", ())),
    )


def _image(written: str | Mapping[str, Any]) -> ImageSpec:
    if isinstance(written, str):
        return ImageSpec(written)
    return ImageSpec(
        written["image"],
        written.get("optional", False),
        written.get("expect", "pass"),
        tuple(sorted(written.get("packages", ()))),
    )
