"""The app's own wheels for a package index: made by cibuildwheel in the baseline's image, then checked.

cibuildwheel runs on this machine and works in a container of docker or podman; the container has no network, and
what the build system requires comes out of the lock.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from py_portable.base import process
from py_portable.base.redact import scrub
from py_portable.engines.engine import Bind
from py_portable.errors import StepError, UnmetError
from py_portable.inspect import wheel_check
from py_portable.lock import declared
from py_portable.lock.index import files
from py_portable.lock.index.offers import LockedFile
from py_portable.lock.lockfile import LockedHouse
from py_portable.steps.context import BuildFailed, Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId
from py_portable.wheels import cibuildwheel, given, sdist, tracked, twine
from py_portable.wheels.app_source import built_wheels, copy_source, source_digest
from py_portable.wheels.cibuildwheel_engine import NAMES, engine_option, environment, find, swept, tag_of
from py_portable.wheels.given import Given, taken
from py_portable.wheels.nodes import OF_APP

NODE = NodeId("publish wheels")
SDIST = NodeId("publish sdist")
BUILD_SECONDS = 7200.0


def publish_steps(
    houses: Mapping[str, LockedHouse],
    *,
    image: NodeId,
    app_wheel: NodeId,
    interpreter: NodeId,
    target: Mapping[str, str],
    source: Path,
    distribution: str | None,
    sdist: bool,
    environment: Mapping[str, str],
    use: Mapping[str, Given],
) -> list[Step]:
    """The steps, of which the last one gives a folder with the wheels (and the sdist). `houses` and `use` are by
    Python. `target` has max_glibc and arch. `interpreter` and `app_wheel` are nodes of the first Python.
    """
    first = next(iter(houses))
    named = tracked.asked_for(source, (file.name for file in houses[first].app_build))
    common = {"target": dict(target), "env": dict(environment), "source": source_digest(source, named)}
    build = {python: [asdict(file) for file in house.app_build] for python, house in houses.items()}
    made: list[Step] = []
    if sdist:
        made.append(
            Step(
                name=SDIST,
                action=build_sdist,
                params={**common, "python": first, "build": build[first]},
                needs=(interpreter,),
                scripts=("build/sdist.py",),
                image=image,
                locals={"source": source, "named": named},
            )
        )
    params = {**common, "distribution": distribution, "pythons": list(houses)}
    if use:
        params["use"] = {python: [one.path.name, one.sha256] for python, one in use.items()}
        last = Step(
            name=NODE,
            action=take_wheels,
            params=params,
            needs=tuple(step.name for step in made),
            lane="io",
            locals={"paths": {python: one.path for python, one in use.items()}},
        )
    else:
        last = Step(
            name=NODE,
            action=build_wheels,
            params={**params, "build": build, "cibuildwheel": _version()},
            needs=(app_wheel, *(step.name for step in made)),
            image=image,
            locals={"source": source, "named": named},
        )
    return [*made, last]


def _version() -> str | None:
    try:
        return importlib.metadata.version("cibuildwheel")
    except importlib.metadata.PackageNotFoundError:
        return None


def build_sdist(ctx: Context) -> None:
    """If the app is an sdist already, it is used unchanged."""
    origin: Path = ctx.locals["source"]
    if origin.is_file():
        shutil.copyfile(origin, ctx.out / origin.name)
        return
    folder = ctx.work / "source"
    folder.mkdir()
    copy_source(origin, folder / "app", ctx.locals["named"])
    backend, paths = declared.build_backend(origin)
    spec = {"requires": declared.build_requires(origin), "backend": backend, "backend_path": paths}
    ctx.sandbox(
        "build/sdist.py",
        json.dumps(spec),
        binds=(
            Bind(ctx.need("interpreter").path, "/opt/python"),
            Bind(folder, "/in/source"),
            Bind(_gather(ctx, {ctx.params["python"]: ctx.params["build"]}, ctx.work / "build"), "/in/build"),
        ),
        environ={**ctx.params["env"], **ctx.env.pass_env},
    )
    made_sdist(ctx.out)


def made_sdist(folder: Path) -> Path:
    """The sdist that a build left in a folder. Foreign code ran there, so links are refused.

    Raises StepError.
    """
    found = sorted(folder.iterdir())
    for path in found:
        if (
            path.is_symlink()
            or not path.is_file()
            or not re.fullmatch(r"[\w.+!-]+\.(tar\.gz|zip)", path.name)
        ):
            raise StepError(f"{path.name} is not an sdist")
    if len(found) != 1:
        raise StepError(f"{len(found)} sdists were made, expected one")
    return found[0]


def take_wheels(ctx: Context) -> Mapping[str, Any]:
    for name, sha256 in dict(map(tuple, ctx.params["use"].values())).items():
        path = next(one for one in ctx.locals["paths"].values() if one.name == name)
        taken(path, sha256, ctx.out)
    return {"made_by": "given", **_finish(ctx)}


def build_wheels(ctx: Context) -> Mapping[str, Any]:
    """Make a pure wheel with pip, which gives the same result on every system. cibuildwheel refuses to make one."""
    (wheel,) = built_wheels(ctx.need(OF_APP).path)
    if wheel.name.endswith("-none-any.whl"):
        shutil.copyfile(wheel, ctx.out / wheel.name)
        return {"made_by": "pip", **_finish(ctx)}
    return {"made_by": _cibuildwheel(ctx), **_finish(ctx)}


def _cibuildwheel(ctx: Context) -> str:
    assert ctx.image is not None
    twine.require("cibuildwheel")
    pythons = ctx.params["pythons"]
    cibuildwheel.laid_out(ctx.image.root, ctx.image.name, pythons)
    engine = ctx.env.engine.name
    daemon = find(engine if engine in NAMES else None)
    project = _project(ctx)
    _gather(ctx, ctx.params["build"], project / cibuildwheel.REQUIRES)
    tag = tag_of(daemon, ctx.image)
    wheels = ctx.work / "wheels"
    with swept(daemon.program, uuid.uuid4().hex) as labels:
        create = (
            *labels,
            "--rm",
            "--network=none",
            *cibuildwheel.variables(ctx.params["target"], ctx.params["env"], ctx.env.pass_env),
        )
        told = {
            f"CIBW_MANYLINUX_{ctx.params['target']['arch'].upper()}_IMAGE": tag,
            "CIBW_CONTAINER_ENGINE": engine_option(daemon.program, create),
            **cibuildwheel.options(pythons, ctx.params["target"]["arch"]),
            "CIBW_CACHE_PATH": str(ctx.env.store.cache("cibuildwheel")),
            "SOURCE_DATE_EPOCH": str(ctx.env.epoch),
        }
        words = [
            sys.executable,
            "-m",
            "cibuildwheel",
            "--platform",
            "linux",
            "--output-dir",
            str(wheels),
            str(project),
        ]
        try:
            outcome = process.run(
                words,
                cwd=project,
                env={**environment(ctx.env.environ), **ctx.env.pass_env, **told},
                timeout=BUILD_SECONDS,
                log=ctx.log,
            )
        finally:
            scrub(ctx.log, ctx.env.pass_env.values())
    process.require(outcome, what=ctx.name, error=BuildFailed, hint=cibuildwheel.HINT)
    for wheel in built_wheels(wheels):
        shutil.copyfile(wheel, ctx.out / wheel.name)
    return f"cibuildwheel {ctx.params['cibuildwheel']} on {daemon.program} {daemon.version}"


def _project(ctx: Context) -> Path:
    """The working folder that cibuildwheel copies into its container: the sdist unpacked, else the source."""
    project = ctx.work / "project"
    made = [result.path for name, result in ctx.inputs.items() if name == SDIST]
    origin: Path = made_sdist(made[0]) if made else ctx.locals["source"]
    if origin.is_dir():
        copy_source(origin, project, ctx.locals["named"])
        return project
    sdist.unpack_as(origin, ctx.work / "unpacked", project)
    return project


def _gather(ctx: Context, build: Mapping[str, Sequence[Mapping[str, Any]]], into: Path) -> Path:
    into.mkdir(exist_ok=True)
    for python, told in build.items():
        locked = [LockedFile(**file) for file in told]
        target = {**ctx.params["target"], "python": python}
        files.gather(ctx.env.store, locked, into, environ=ctx.env.environ, **target)
    return into


def _finish(ctx: Context) -> Mapping[str, Any]:
    """Check the wheels and the sdist. Returns the wheel of each Python, by its name."""
    target = ctx.params["target"]
    wheels = built_wheels(ctx.out)
    if not wheels:
        raise StepError("no wheel was made", log=ctx.log)
    platform = f"manylinux_{target['max_glibc'].replace('.', '_')}_{target['arch']}"
    findings = wheel_check.check(ctx.out, [platform, "any"])
    if findings:
        raise UnmetError(
            "these wheels cannot be published, because they break the promise of their tags: "
            f"{', '.join(f.wheel for f in findings)}",
            tail="\n".join(f"{f.wheel}: {detail}" for f in findings for detail in f.details),
            log=ctx.log,
            hint="raise wheels.max-glibc, or choose an older baseline",
        )
    for archive in (made_sdist(result.path) for name, result in ctx.inputs.items() if name == SDIST):
        shutil.copyfile(archive, ctx.out / archive.name)
    names = [wheel.name for wheel in wheels]
    chosen = {
        python: given.best(names, ctx.params["distribution"], python=python, where=str(NODE), **target)
        for python in ctx.params["pythons"]
    }
    extra = set(names) - set(chosen.values())
    if extra:
        raise StepError(
            f"nothing would prove {', '.join(sorted(extra))}: it fits none of wheels.publish.pythons"
        )
    twine.strict_check(sorted(ctx.out.iterdir()))
    return {"wheels": chosen}
