"""Checks whether each engine really starts a program on this machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from py_portable.doctor import managers, needs
from py_portable.doctor.findings import DoctorFinding, lacking
from py_portable.doctor.machine import Machine
from py_portable.engines import builds
from py_portable.engines.engine import Engine, EngineInfo
from py_portable.errors import MachineError

_PROGRAMS = {"bubblewrap": "bwrap", "docker": "docker", "podman": "podman"}
_PACKAGES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "bubblewrap": dict.fromkeys(managers.MANAGERS, ("bubblewrap",)),
    "docker": {
        "apt-get": ("docker.io",),
        "dnf": ("moby-engine",),
        "zypper": ("docker",),
        "pacman": ("docker",),
    },
    "podman": dict.fromkeys(managers.MANAGERS, ("podman",)),
}
"""The packages that contain an engine, by package manager."""
_BY_NAME = "native"
"""Isolates nothing, so `auto` never takes it."""


def examine(
    engines: Iterable[Engine],
    machine: Machine,
    *,
    enough: Callable[[Collection[str]], bool] = lambda names: False,
) -> tuple[tuple[DoctorFinding, ...], frozenset[str]]:
    """A finding for each engine, in the registry's order, then whether one of them isolates fully; and the names of
    those that do.

    One engine that works is enough, so no single one is required. The others are left out as soon as `enough` says
    that the names so far will do, to save their time.
    """
    found: list[DoctorFinding] = []
    infos: list[EngineInfo] = []
    full: list[str] = []
    for engine in engines:
        try:
            info = engine.probe()
        except MachineError as problem:
            found.append(_silent(engine.name, problem, machine))
            continue
        infos.append(info)
        builds_, refusal = _builds(engine)
        lacks = f"; cannot isolate or limit: {', '.join(info.lacks)}" if info.lacks else ""
        what = f"{info.version}, isolation {info.isolation}{lacks}{builds_}"
        found.append(DoctorFinding(f"engine {info.name}", True, what, required=False))
        found += refusal
        if info.isolation == "full" and not refusal:
            full.append(info.name)
            if enough(full):
                break
    return (*found, _some(infos, full, found, machine)), frozenset(full)


def _silent(name: str, problem: MachineError, machine: Machine) -> DoctorFinding:
    what, cause = "does not start", problem.what
    tool = managers.manager(machine)
    if tool and name in _PROGRAMS and _PROGRAMS[name] not in machine.programs:
        if needs.confined(machine):
            return DoctorFinding(f"engine {name}", False, what, cause, required=False)
        packages = _PACKAGES[name][tool.program]
        line = managers.line(machine, packages)
        return DoctorFinding(f"engine {name}", False, what, cause, line, required=False, packages=packages)
    return DoctorFinding(f"engine {name}", False, what, cause, problem.hint, required=False)


def _builds(engine: Engine) -> tuple[str, list[DoctorFinding]]:
    """The isolation that builds there lack, and a finding if no build would be started."""
    try:
        lacks = builds.look(engine)
    except MachineError as problem:
        name = f"builds on {engine.name}"
        return "", [DoctorFinding(name, False, "are not started", problem.what, problem.hint, required=False)]
    reasons = sorted(set(lacks.values()))
    said = [f"{', '.join(a for a in sorted(lacks) if lacks[a] == reason)} ({reason})" for reason in reasons]
    return f"; not isolated in builds: {'; '.join(said)}" if said else "", []


def _some(
    infos: Sequence[EngineInfo], full: Sequence[str], found: Sequence[DoctorFinding], machine: Machine
) -> DoctorFinding:
    name, what = "an engine", "an engine that fully isolates an app"
    if full:
        return DoctorFinding(name, True, f"{what}: {full[0]}")
    silent = [finding for finding in found if not finding.ok]
    cause = "; ".join(f"{finding.name}: {finding.cause}" for finding in silent)
    first = next((finding for finding in silent if finding.cure), None)
    cure, packages = (first.cure, first.packages) if first else (None, ())
    if not infos:
        return DoctorFinding(name, False, what, f"none works here: {cause}", cure, packages=packages)
    names = ", ".join(info.name for info in infos)
    partly, required = f"only {names}, so some cells stay unproven", False
    if names == _BY_NAME:
        partly = f"only {names} works here, and it is used only if you name it with --engine"
        # What else is lacking is what an engine takes, and says better what to do.
        required = not machine.asks_for_native and not lacking(needs.system(machine, full))
        cure, packages = (None, ()) if needs.confined(machine) else (cure, packages)
    cause = f"{partly}; {cause}" if cause else partly
    return DoctorFinding(name, False, what, cause, cure, required, packages)
