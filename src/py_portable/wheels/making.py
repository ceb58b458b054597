"""From the lock to a wheelhouse: files fetched, sdists compiled in the baseline, wheels repaired, all checked."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from py_portable.base import process
from py_portable.base.regular import copy_regular
from py_portable.engines.engine import Bind
from py_portable.errors import UnmetError
from py_portable.inspect import wheel_check
from py_portable.inspect.elf.floor import wheel_floor
from py_portable.inspect.elf.members import elf_members
from py_portable.inspect.elf.reader import read
from py_portable.inspect.elf.view import ElfError
from py_portable.interpreters.libraries import binds
from py_portable.lock.index import files
from py_portable.lock.index.offers import LockedFile
from py_portable.lock.lockfile import LockedHouse, LockedPackage
from py_portable.steps.context import BuildFailed, Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import HouseId, NodeId
from py_portable.wheels import lacking, tracked
from py_portable.wheels.app_source import built_wheels, copy_source, source_digest
from py_portable.wheels.given import Given, bounded, taken
from py_portable.wheels.nodes import COMPILED, OF_APP, of_app

_MOST_SAID = 1 << 20
"""The number of bytes at the end of a log in which errors of a compiler are searched."""


def house_steps(
    house: LockedHouse,
    *,
    place: HouseId,
    image: NodeId,
    interpreter: NodeId,
    tools: NodeId,
    target: Mapping[str, str],
    source: Path | None,
    environment: Mapping[str, str],
    use: Given | None = None,
    libraries: tuple[NodeId, ...] = (),
    repaired: bool = True,
) -> list[Step]:
    """The steps of one wheelhouse, the last of which gives the folder of wheels.

    `target` has python, max_glibc and arch; `libraries` are nodes too. If not `repaired`, its wheels are as they were
    compiled: they take the libraries of the system that they were compiled on.
    """
    common = {"target": dict(target), "env": dict(environment)}
    wheels = [p.file for p in house.packages if p.file.is_wheel]
    fetched = Step(
        name=NodeId("wheels", house=place),
        action=fetch_wheels,
        params={**common, "files": [asdict(file) for file in wheels]},
        lane="io",
    )
    inside = (interpreter, *libraries)
    compiled = [_compile(p, common, place, image, inside) for p in house.packages if not p.file.is_wheel]
    app = [_app(source, house, common, place, image, inside)] if source is not None else []
    if use is not None:
        app = [_given(use, place)]
    parts = (fetched.name, *(step.name for step in (*compiled, *app)))
    whole = Step(
        name=NodeId("wheelhouse", house=place),
        action=repair,
        params={"target": dict(target)},
        needs=(*inside, tools, *parts),
        scripts=("build/repair.py",),
        image=image,
    )
    if not repaired:
        whole = Step(name=whole.name, action=as_compiled, needs=parts)
    return [fetched, *compiled, *app, whole]


def _compile(
    package: LockedPackage,
    common: Mapping[str, Any],
    place: HouseId,
    image: NodeId,
    inside: tuple[NodeId, ...],
) -> Step:
    return Step(
        name=NodeId("wheel", f"{package.file.name}-{package.file.version}", place),
        action=compile_sdist,
        params={**common, "sdist": asdict(package.file), "build": [asdict(file) for file in package.build]},
        needs=inside,
        scripts=("build/wheel.sh",),
        image=image,
    )


def _app(
    source: Path,
    house: LockedHouse,
    common: Mapping[str, Any],
    place: HouseId,
    image: NodeId,
    inside: tuple[NodeId, ...],
) -> Step:
    named = tracked.asked_for(source, (file.name for file in house.app_build))
    return Step(
        name=of_app(place),
        action=compile_app,
        # The path itself is not part of the key, only its contents are.
        params={
            **common,
            "source": source_digest(source, named),
            "build": [asdict(file) for file in house.app_build],
        },
        needs=inside,
        scripts=("build/wheel.sh",),
        image=image,
        locals={"source": source, "named": named},
    )


def _given(use: Given, place: HouseId) -> Step:
    return Step(
        name=of_app(place),
        action=take_wheel,
        params={"file": use.path.name, "sha256": use.sha256},
        lane="io",
        locals={"path": use.path},
    )


def take_wheel(ctx: Context) -> None:
    taken(ctx.locals["path"], ctx.params["sha256"], ctx.out)


def fetch_wheels(ctx: Context) -> None:
    _gather(ctx, ctx.params["files"], ctx.out)


def compile_sdist(ctx: Context) -> None:
    source = _gather(ctx, [ctx.params["sdist"]], ctx.work / "source")
    _compile_wheel(ctx, source)


def compile_app(ctx: Context) -> None:
    origin: Path = ctx.locals["source"]
    if origin.name.endswith(".whl"):
        copy_regular(origin, ctx.out / origin.name)
        bounded(ctx.out / origin.name)
        return
    folder = ctx.work / "source"
    folder.mkdir()
    # Always under the same name, because compilers write paths into their output.
    copy_source(origin, folder / ("app" if origin.is_dir() else origin.name), ctx.locals["named"])
    _compile_wheel(ctx, folder)


def repair(ctx: Context) -> Mapping[str, Any]:
    """Repair the wheels that were compiled here, then check every wheel against its tag."""
    platform = _repaired(ctx)
    findings = wheel_check.check(ctx.out, [platform, "any"])
    if findings:
        raise UnmetError(
            f"the wheelhouse has wheels that break the promise of their tags: {', '.join(f.wheel for f in findings)}",
            tail="\n".join(f"{f.wheel}: {detail}" for f in findings for detail in f.details),
            log=ctx.log,
        )
    return _told(ctx)


def repair_without(ctx: Context) -> Mapping[str, Any]:
    """The same without a check, and without the libraries `lacks` and what only they need, for a control.

    If no wheel needs one of these, the wheels as they were compiled: they lack whatever the packages bring.
    """
    lacks = set(ctx.params["lacks"])
    _repaired(ctx, *(f"--exclude={soname}" for soname in ctx.params["lacks"]))
    if any(lacks & _needed(wheel) for wheel in ctx.out.glob("*.whl")):
        return _told(ctx)
    for wheel in ctx.out.glob("*.whl"):
        wheel.unlink()
    return as_compiled(ctx)


def _needed(wheel: Path) -> set[str]:
    found: set[str] = set()
    for name, data in elf_members(wheel):
        if not isinstance(data, ElfError):
            found.update(read(data, name=name).needed)
    return found


def _repaired(ctx: Context, *options: str) -> str:
    """The tag of the platform that they are repaired to."""
    incoming = ctx.work / "incoming"
    incoming.mkdir()
    _collect(ctx, incoming)
    target = ctx.params["target"]
    level = target["max_glibc"].replace(".", "_")
    platform = f"manylinux_{level}_{target['arch']}"
    wheels = sorted(f"/in/wheels/{wheel.name}" for wheel in incoming.iterdir())
    ctx.sandbox(
        "build/repair.py",
        platform,
        *options,
        *wheels,
        binds=(
            Bind(ctx.need("interpreter").path, "/opt/python"),
            Bind(ctx.need("toolbox").path, "/opt/tools"),
            Bind(incoming, "/in/wheels"),
            *binds(ctx),
        ),
        environ={"PYTHONPATH": "/opt/tools"},
        hint="raise wheels.max-glibc, choose an older baseline, or compile the wheel (wheels.no-binary)",
    )
    return platform


def as_compiled(ctx: Context) -> Mapping[str, Any]:
    """The same wheels without a repair or a check: they lack what a repair puts into them."""
    _collect(ctx, ctx.out)
    return _told(ctx)


def _collect(ctx: Context, into: Path) -> None:
    for node, result in ctx.inputs.items():
        if node.kind in ("wheels", *COMPILED):
            for wheel in built_wheels(result.path):
                shutil.copyfile(wheel, into / wheel.name)


def _told(ctx: Context) -> Mapping[str, Any]:
    app = next((result for node, result in ctx.inputs.items() if node.kind == OF_APP), None)
    floors = {wheel.name: wheel_floor(wheel).floor for wheel in sorted(ctx.out.glob("*.whl"))}
    return {"app_wheel": next(app.path.glob("*.whl")).name if app else None, "floors": floors}


def _compile_wheel(ctx: Context, source: Path) -> None:
    build = _gather(ctx, ctx.params["build"], ctx.work / "build")
    ctx.sandbox(
        "build/wheel.sh",
        binds=(
            Bind(ctx.need("interpreter").path, "/opt/python"),
            Bind(source, "/in/source"),
            Bind(build, "/in/build"),
            *binds(ctx),
        ),
        environ={**ctx.params["env"], **ctx.env.pass_env},
        hint=lacking.hint,
    )
    for wheel in built_wheels(ctx.out):
        _whole(wheel, ctx.log)


def _whole(wheel: Path, log: Path) -> None:
    """Refuse a wheel whose build system left out an extension that did not compile.

    Raises BuildFailed for a wheel for this platform
    that contains nothing for it, if the log says why.
    """
    if not wheel.stem.rpartition("-")[2].startswith("linux_") or next(elf_members(wheel), None):
        return
    if lost := lacking.optional(process.last_lines(log, _MOST_SAID)):
        extension, lines = lost
        raise BuildFailed(
            f"{wheel.name} was built without its optional extension {extension}, which did not compile",
            tail=lines,
            log=log,
            hint=lacking.hint(lines),
        )


def _gather(ctx: Context, told: Sequence[Mapping[str, Any]], into: Path) -> Path:
    return files.gather(
        ctx.env.store,
        [LockedFile(**file) for file in told],
        into,
        environ=ctx.env.environ,
        **ctx.params["target"],
    )
