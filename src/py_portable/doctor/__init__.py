"""The doctor: what this machine lacks, why, and the line that mends it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable
from typing import NoReturn

from py_portable.doctor import apt, engines, publishing, rust
from py_portable.doctor.machine import Machine, observe
from py_portable.doctor.needs import Finding, cure, lacking, packages, render, system
from py_portable.engines.base import Engine
from py_portable.errors import MachineError

__all__ = ["Finding", "Machine", "Registry", "ensure", "examine", "fix", "lacking", "observe", "render"]

Registry = Callable[[], Iterable[Engine]]
"""Gives the engines to try. Called late: making them ready may need a compiler that --fix installs first."""


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def examine(
    registry: Registry, machine: Machine | None = None, *, formats: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Look at the machine and start a canary on every engine of `registry`; changes nothing.

    `formats`: those that are to be built here; what only they need is required then.
    """
    return (
        *system(machine or observe()),
        rust.examine(required="pyoxidizer" in formats),
        publishing.examine(),
        *_engines(registry),
    )


def fix(findings: tuple[Finding, ...], machine: Machine, say: Callable[[str], None] = _tell) -> bool:
    """Install the packages that are lacking, where that may be done; True if something was installed.

    It may be done by root on a Debian or one of its family, unless PY_PORTABLE_NO_FIX=1. Elsewhere nothing is
    changed, and what is lacking is raised as MachineError with the line that mends it.
    """
    missing = packages(findings)
    if not missing:
        return False
    if not may_fix(machine):
        refuse(findings, machine)
    apt.install(missing, say, hint=cure(machine, findings))
    return True


def ensure(registry: Registry, say: Callable[[str], None] = _tell) -> tuple[Finding, ...]:
    """What `doctor --fix` does: examine, install, examine again. MachineError if that was not enough.

    Engines are tried in the registry's order, up to the first that isolates fully.
    """
    machine = observe()
    if fix(system(machine), machine, say):
        machine = observe()
    found = system(machine)
    if not lacking(found):
        found += _engines(registry, until_full=True)
    if lacking(found):
        refuse(found, machine)
    return found


def _engines(registry: Registry, *, until_full: bool = False) -> tuple[Finding, ...]:
    try:
        candidates = registry()
    except MachineError as problem:
        return (Finding("an engine", False, "one to start apps with", problem.what, problem.hint),)
    return engines.examine(candidates, until_full=until_full)


def may_fix(machine: Machine) -> bool:
    """Whether the doctor itself may install packages here."""
    return (
        machine.is_root
        and "debian" in machine.family
        and "apt-get" in machine.programs
        and machine.environment.get("PY_PORTABLE_NO_FIX") != "1"
    )


def refuse(findings: tuple[Finding, ...], machine: Machine) -> NoReturn:
    """Raise MachineError naming all that is lacking, with causes and the cure."""
    bad = lacking(findings)
    raise MachineError(
        "this machine lacks " + ", ".join(finding.name for finding in bad),
        tail="\n".join(f"{finding.name}: {finding.cause}" for finding in bad),
        hint=cure(machine, findings) or None,
    )
