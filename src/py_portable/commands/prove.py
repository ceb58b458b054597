"""`prove`: the same cells for an executable, a folder or a package that somebody else built, without a config."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from py_portable import formats
from py_portable.base.talk import Talk
from py_portable.config import Smoke
from py_portable.engines.lazy import LazyEngine
from py_portable.engines.static_helpers.stored import helpers
from py_portable.errors import ConfigError, PortableError
from py_portable.evidence.typed import CellResult
from py_portable.formats import FORMATS, Made
from py_portable.formats.package_install import kind_of
from py_portable.inspect.elf import measure
from py_portable.plan import asked
from py_portable.plan.assemble import image_node
from py_portable.project import reproducers
from py_portable.project.circumstances import DEFAULT_EPOCH, cpu_flags
from py_portable.prove import spoiled
from py_portable.prove.bench import Bench, Cell, Tell
from py_portable.steps.context import Environment
from py_portable.steps.graph import ImageNode
from py_portable.steps.runner import Runner
from py_portable.store import Store, default_root, digest


@dataclass(frozen=True)
class ForeignApp:
    """`path`: an executable, a folder with one that is called like it, or a package; `conditions` begin with
    plain. `program`: what is started of a folder or a package. `older`: the package that an upgrade begins with."""

    path: Path
    images: tuple[str, ...]
    conditions: tuple[str, ...]
    smoke: Smoke
    expect: str
    program: str | None = None
    older: Path | None = None


def prove_foreign(foreign: ForeignApp, engine: str, tell: Tell, talk: Talk) -> Sequence[CellResult]:
    """Raises ConfigError if there is nothing at the path that can be started."""
    # Not resolved: a link is started by its own name. "." and ".." are no names to show it by.
    path = Path(os.path.abspath(foreign.path))  # noqa: PTH100
    if not path.exists():
        raise ConfigError("there is no such file or folder", where=str(foreign.path))
    if not (path.is_file() or path.is_dir()) or not path.name:
        raise ConfigError("is neither a file nor the folder of an app", where=str(foreign.path))
    package = kind_of(path)
    if foreign.older and not package:
        raise ConfigError("is not a package, and only packages can be upgraded", where=str(foreign.path))
    if foreign.older and package and not package.recognises(foreign.older):
        what = f"is not a package of the same kind: {foreign.path.name} is a {package.title}"
        raise ConfigError(what, where=str(foreign.older))
    if path.is_file() and not package and not os.access(path, os.X_OK):
        raise ConfigError("is not executable", where=str(foreign.path), hint=f"chmod +x {foreign.path}")
    store = Store(default_root(os.environ))
    lazy = LazyEngine(engine, functools.partial(helpers, store))
    env = Environment(
        store=store, engine=lazy, epoch=DEFAULT_EPOCH, jobs=len(os.sched_getaffinity(0)), on_host=lazy.on_host
    )
    with tempfile.TemporaryDirectory(prefix="py-portable-") as logs:
        return _prove(foreign, _made(path, foreign, Path(logs)), env, lazy, tell, talk, Path(logs))


def _made(path: Path, foreign: ForeignApp, room: Path) -> Made:
    """The artifact that is proven. An older package is copied into `room`, so that nobody can change it meanwhile."""
    meta: dict[str, str] = {"script": foreign.program} if foreign.program else {}
    if foreign.older:
        older = room / "older"
        shutil.copyfile(foreign.older, older)
        meta |= {"older": str(older), "older_sha256": digest(older)}
    return formats.foreign(path, meta)


def _prove(
    foreign: ForeignApp, made: Made, env: Environment, lazy: LazyEngine, tell: Tell, talk: Talk, logs: Path
) -> Sequence[CellResult]:
    path, store = made.path, env.store
    # Before any image is made.
    start = FORMATS[made.format].start(made)
    package = kind_of(path)
    floor = package.look(path, made.sha256).floor if package else measure(path).floor
    nodes = {image_node(name): ImageNode(image_node(name), name) for name in dict.fromkeys(foreign.images)}

    def cells() -> list[Cell]:
        report = Runner(env, talk.step).run(nodes, nodes)
        talk.cures(report.failures)
        return [
            Cell(
                path.name,
                made.format,
                made.sha256,
                start if image is None else FORMATS[made.format].start(made, image),
                foreign.smoke,
                node.image,
                image,
                condition,
                foreign.expect,
                unavailable=_why(report.failures.get(node.name)),
                asked=asked.foreign(foreign.smoke),
                measured_floor=floor,
                made=made,
            )
            for node in nodes.values()
            for image in (report.images.get(node.name),)
            for condition in foreign.conditions
        ]

    wanted = cells()
    chosen, info, _ = lazy.chosen
    bench = Bench(chosen, info, helpers(store), store, cpu_flags(), logs)
    scripts = store.cache("reproduce")
    return spoiled.run(
        wanted,
        bench,
        lambda result: tell(reproducers.written(result, scripts)),
        cells,
    )


def _why(problem: PortableError | None) -> str | None:
    return problem.what if problem else None
