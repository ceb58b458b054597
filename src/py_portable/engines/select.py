"""The registry of engines, and which one a run takes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from py_portable.engines.bubblewrap import Bubblewrap
from py_portable.engines.chroot import Chroot
from py_portable.engines.containers import docker, podman
from py_portable.engines.engine import Engine, EngineInfo, Job
from py_portable.engines.inside import Inside
from py_portable.engines.native import Native
from py_portable.engines.stage import LinkLoop
from py_portable.errors import ConfigError, MachineError

ENGINES: Mapping[str, Callable[[Path | None], Engine]] = {
    "bubblewrap": Bubblewrap,
    "docker": docker,
    "podman": podman,
    "chroot": Chroot,
    "native": Native,
}
BUILD_ENGINES: Mapping[str, Callable[[Path | None], Engine]] = {**ENGINES, "native": Inside}
"""Who runs build steps: `native` does so in the container of this process."""
AUTO = ("bubblewrap", "docker", "podman", "chroot")
"""What `auto` tries, in this order, for the first that isolates fully, else for the first that works. `native` isolates
nothing, so it must be asked for."""


def every(helpers: Path | None = None) -> tuple[Engine, ...]:
    """All engines in the registry's order."""
    return tuple(make(helpers) for make in ENGINES.values())


def select(
    name: str = "auto",
    helpers: Path | None = None,
    engines: Mapping[str, Callable[[Path | None], Engine]] = ENGINES,
) -> tuple[Engine, EngineInfo, str]:
    """The engine, what its probe saw, and in one sentence why it and not another.

    `helpers`: a folder with the compiled cell-run and canary; None: they are compiled for the probe. Raises
    ConfigError for an unknown name, MachineError where the engine (for `auto`: none of them) works.
    """
    if name and name != "auto":
        if name not in engines:
            raise ConfigError(f"there is no engine named {name}", hint=f"one of: auto, {', '.join(engines)}")
        engine = engines[name](helpers)
        return engine, engine.probe(), f"{name} was chosen"
    refused: list[MachineError] = []
    partial: list[tuple[Engine, EngineInfo]] = []
    for candidate in AUTO:
        engine = engines[candidate](helpers)
        try:
            info = engine.probe()
        except MachineError as problem:
            refused.append(problem)
            continue
        if info.isolation == "full":
            return engine, info, _because(info, refused, [one for _, one in partial])
        partial.append((engine, info))
    if partial:
        engine, info = partial[0]
        return engine, info, _because(info, refused, [])
    raise MachineError(
        "no engine works on this machine: " + "; ".join(problem.what for problem in refused),
        hint=next((problem.hint for problem in refused if problem.hint), None),
        tail=refused[0].tail,
    )


def _because(info: EngineInfo, refused: Iterable[MachineError], partial: Iterable[EngineInfo]) -> str:
    others = [problem.what for problem in refused]
    others += [f"{one.name}: it cannot isolate {', '.join(one.lacks)}" for one in partial]
    what = f"{info.name} is the first one whose canary passed"
    return "; ".join([what, *(f"not used: {other}" for other in others)])


def reproduce(engine: Engine, job: Job) -> str:
    """One line that a person can paste into a shell to run the job; it shows the job's environment.

    Empty where the engine cannot be given the job at all.
    """
    try:
        return shlex.join(engine.argv(job))
    except LinkLoop:
        return ""
