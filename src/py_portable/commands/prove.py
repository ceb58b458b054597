"""`prove`: the same cells for an executable or a folder that somebody else built, without a config."""

from __future__ import annotations

import functools
import os
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
from py_portable.evidence.merge import CellResult
from py_portable.formats import FORMATS
from py_portable.inspect.elf import measure
from py_portable.plan import asked
from py_portable.project.circumstances import DEFAULT_EPOCH, cpu_flags
from py_portable.prove import spoiled
from py_portable.prove.bench import Bench, Cell, Tell
from py_portable.steps.context import Environment
from py_portable.steps.graph import ImageNode
from py_portable.steps.runner import Runner
from py_portable.store import Store, default_root


@dataclass(frozen=True)
class ForeignApp:
    """`path`: an executable, or a folder with one that is called like it; `conditions` begin with plain."""

    path: Path
    images: tuple[str, ...]
    conditions: tuple[str, ...]
    smoke: Smoke
    expect: str


def prove_foreign(foreign: ForeignApp, engine: str, tell: Tell, talk: Talk) -> Sequence[CellResult]:
    """Raises ConfigError where there is nothing to start at the path."""
    # Not resolved: a link is started by its own name. "." and ".." are no names to show it by.
    path = Path(os.path.abspath(foreign.path))  # noqa: PTH100
    if not path.exists():
        raise ConfigError("there is no such file or folder", where=str(foreign.path))
    if not (path.is_file() or path.is_dir()) or not path.name:
        raise ConfigError("is neither a file nor a folder of an app", where=str(foreign.path))
    if path.is_file() and not os.access(path, os.X_OK):
        raise ConfigError("is not executable", where=str(foreign.path), hint=f"chmod +x {foreign.path}")
    store = Store(default_root(os.environ))
    lazy = LazyEngine(engine, functools.partial(helpers, store))
    env = Environment(
        store=store, engine=lazy, epoch=DEFAULT_EPOCH, jobs=len(os.sched_getaffinity(0)), on_host=lazy.on_host
    )
    made, floor = formats.foreign(path), measure(path).floor
    # Before any image is made.
    start = FORMATS[made.format].start(made)
    nodes = {name: ImageNode(name, name) for name in dict.fromkeys(foreign.images)}

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
                name,
                image,
                condition,
                foreign.expect,
                unavailable=_why(report.failures.get(name)),
                asked=asked.foreign(foreign.smoke),
                measured_floor=floor,
                made=made,
            )
            for name in nodes
            for image in (report.images.get(name),)
            for condition in foreign.conditions
        ]

    wanted = cells()
    chosen, info, _ = lazy.chosen
    with tempfile.TemporaryDirectory(prefix="py-portable-") as logs:
        bench = Bench(chosen, info, helpers(store), store, cpu_flags(), Path(logs))
        return spoiled.run(wanted, bench, tell, cells)


def _why(problem: PortableError | None) -> str | None:
    return problem.what if problem else None
