"""Whether each engine starts something real here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from py_portable.doctor.needs import Finding
from py_portable.engines import builds
from py_portable.engines.base import Engine, EngineInfo
from py_portable.errors import MachineError


def examine(engines: Iterable[Engine], *, until_full: bool = False) -> tuple[Finding, ...]:
    """A finding for each engine, in the registry's order, then whether one of them isolates fully.

    One engine that works is enough, so no single one is required; `until_full` stops at the first that
    isolates fully, to save the time of the others.
    """
    found = []
    infos: list[EngineInfo] = []
    for engine in engines:
        try:
            info = engine.probe()
        except MachineError as problem:
            found.append(
                Finding(
                    f"engine {engine.name}",
                    False,
                    "does not start",
                    problem.what,
                    problem.hint,
                    required=False,
                )
            )
            continue
        infos.append(info)
        builds_, refusal = _builds(engine)
        lacks = f"; cannot isolate or limit: {', '.join(info.lacks)}" if info.lacks else ""
        found.append(
            Finding(
                f"engine {info.name}",
                True,
                f"{info.version}, isolation {info.isolation}{lacks}{builds_}",
                required=False,
            )
        )
        found += refusal
        if until_full and info.isolation == "full":
            break
    return (*found, _some(infos, found))


def _builds(engine: Engine) -> tuple[str, list[Finding]]:
    """What builds there lack, and a finding where none would be started."""
    try:
        lacks = builds.look(engine)
    except MachineError as problem:
        name = f"builds on {engine.name}"
        return "", [Finding(name, False, "are not started", problem.what, problem.hint, required=False)]
    reasons = sorted(set(lacks.values()))
    said = [f"{', '.join(a for a in sorted(lacks) if lacks[a] == reason)} ({reason})" for reason in reasons]
    return f"; builds do without: {'; '.join(said)}" if said else "", []


def _some(infos: Sequence[EngineInfo], found: Sequence[Finding]) -> Finding:
    what = "one that keeps an app away from everything else"
    full = next((info for info in infos if info.isolation == "full"), None)
    if full:
        return Finding("an engine", True, f"{what}: {full.name}")
    silent = [finding for finding in found if not finding.ok]
    cause = "; ".join(f"{finding.name}: {finding.cause}" for finding in silent)
    cure = next((finding.cure for finding in silent if finding.cure), None)
    if not infos:
        return Finding("an engine", False, what, f"none starts here: {cause}", cure)
    names = ", ".join(info.name for info in infos)
    partly = f"only {names}, so some cells stay unproven"
    return Finding("an engine", False, what, f"{partly}; {cause}" if cause else partly, cure, required=False)
