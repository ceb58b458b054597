"""The doctor: what this machine lacks, why it is needed, and the line that installs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, NoReturn

from py_portable.doctor import managers, provision
from py_portable.doctor.consent import MayNot, may_fix
from py_portable.doctor.findings import DoctorFinding, commands, lacking, packages, render
from py_portable.doctor.machine import Machine, observe
from py_portable.doctor.needs import cure, line, system
from py_portable.errors import MachineError

if TYPE_CHECKING:
    from py_portable.engines.engine import Engine

__all__ = [
    "DoctorFinding",
    "Machine",
    "Registry",
    "cure",
    "ensure",
    "examine",
    "fix",
    "lacking",
    "line",
    "observe",
    "on_linux",
    "render",
]

Registry = Callable[[], Iterable["Engine"]]
"""Gives the engines to try. It is called late, since preparing them may need a compiler that --fix installs first."""
Say = Callable[[str], None]
Agreed = Callable[[str], bool]
"""Asks the user a question; returns whether the answer was yes."""

ELSEWHERE = (
    "py-portable works on Linux only. On macOS and Windows start it inside a Linux virtual machine (WSL 2, Lima), "
    "or inside a Linux container of Docker Desktop that is started with --privileged; it makes programs for Linux, "
    "and none for macOS or Windows."
)
_TRIES = 2
"""How often to examine the machine, since an engine that was just installed may show what else it needs."""


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _nobody(question: str) -> bool:
    return False


def examine(
    registry: Registry, machine: Machine | None = None, *, formats: Collection[str] = ()
) -> tuple[DoctorFinding, ...]:
    """Look at the machine and start a canary on every engine of `registry`; changes nothing.

    `formats`: those that are to be built here; what only they need is required then. Raises MachineError on another
    system than Linux.
    """
    machine = on_linux(machine or observe())
    from py_portable.doctor import publish_needs

    tried, full = _engines(registry, machine)
    return (
        *system(machine, full),
        *_of_formats(formats),
        publish_needs.examine(),
        *tried,
    )


def _of_formats(wanted: Collection[str]) -> Iterable[DoctorFinding]:
    """The programs that formats work with; those of the wanted ones are required."""
    from py_portable.formats import FORMATS

    for one in FORMATS.values():
        for program in one.programs:
            required = one.name in wanted
            try:
                version = program.look(os.environ)
                yield DoctorFinding(program.name, True, f"{program.purpose}: {version}", required=required)
            except MachineError as problem:
                yield DoctorFinding(
                    program.name, False, program.purpose, problem.what, problem.hint, required=required
                )


def ensure(
    registry: Registry, say: Say = _tell, *, yes: bool = False, agreed: Agreed = _nobody
) -> tuple[DoctorFinding, ...]:
    """What `doctor --fix` does: examine, install, examine again. MachineError if that was not enough.

    Engines are tried in the registry's order, until one is found with which nothing is lacking. `yes`: sudo may be
    used without asking; `agreed` asks whoever sits at the terminal.
    """
    for _ in range(_TRIES):
        machine = on_linux(observe())
        found = _look(registry, machine)
        if not lacking(found):
            return found
        fix(found, machine, say, yes=yes, agreed=agreed)
    machine = observe()
    found = _look(registry, machine)
    if lacking(found):
        refuse(found, machine)
    return found


def fix(
    findings: tuple[DoctorFinding, ...],
    machine: Machine,
    say: Say = _tell,
    *,
    yes: bool = False,
    agreed: Agreed = _nobody,
    sudo_is_free: Callable[[], bool] = provision.sudo_is_free,
) -> bool:
    """Install the missing packages and run the other commands that are needed, if this is allowed; True if something
    was done.

    If it is not allowed or not possible, nothing is changed, and MachineError names what is missing and the line that
    installs it.
    """
    if not lacking(findings):
        return False
    tool = managers.manager(machine)
    work = provision.Provisioning(
        tool, packages(findings), commands(findings), cure(machine, findings), machine.package_lists
    )
    if not (work.packages or work.commands):
        refuse(findings, machine)
    may = may_fix(machine, yes=yes, sudo_is_free=sudo_is_free)
    if isinstance(may, MayNot):
        refuse(findings, machine, may.why)
    if not provision.do(work, may, say, agreed):
        refuse(findings, machine, "the answer was no")
    return True


def _look(registry: Registry, machine: Machine) -> tuple[DoctorFinding, ...]:
    def enough(names: Collection[str]) -> bool:
        return not lacking(system(machine, names))

    tried, full = _engines(registry, machine, enough)
    return (*system(machine, full), *tried)


def _engines(
    registry: Registry, machine: Machine, enough: Callable[[Collection[str]], bool] = lambda names: False
) -> tuple[tuple[DoctorFinding, ...], frozenset[str]]:
    from py_portable.doctor import engines

    try:
        candidates = registry()
    except MachineError as problem:
        finding = DoctorFinding(
            "an engine", False, "an engine to start apps with", problem.what, problem.hint
        )
        return (finding,), frozenset()
    return engines.examine(candidates, machine, enough=enough)


def on_linux(machine: Machine) -> Machine:
    """The machine, if the kit works on it. Otherwise raises MachineError, which says what is possible there."""
    if machine.platform != "Linux":
        raise MachineError(f"this machine runs {machine.platform or 'an unknown system'}", hint=ELSEWHERE)
    return machine


def refuse(findings: tuple[DoctorFinding, ...], machine: Machine, why: str = "") -> NoReturn:
    """Raise MachineError naming all that is lacking, with causes and the cure; `why` nothing was done about it."""
    bad = lacking(findings)
    lines = [f"{finding.name}: {finding.cause}" for finding in bad]
    raise MachineError(
        "this machine lacks " + ", ".join(finding.name for finding in bad),
        tail="\n".join([*lines, *([f"nothing was installed: {why}"] if why else [])]),
        hint=cure(machine, findings) or None,
    )
