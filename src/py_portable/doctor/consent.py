"""Whether the doctor may change this machine, and how it becomes root. Pure, except for the functions that it
gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from py_portable.doctor.machine import Machine

SUDO = ("sudo", "-n")
"""Never asks for a password."""


@dataclass(frozen=True)
class May:
    """`prefix`: the words before a command that root has to start. `ask`: somebody has to agree first. `attached`: the
    commands get the terminal, because sudo asks there for a password."""

    prefix: tuple[str, ...] = ()
    ask: bool = False
    attached: bool = False


@dataclass(frozen=True)
class MayNot:
    """`why` completes the sentence "nothing was installed: …"."""

    why: str


def may_fix(machine: Machine, *, yes: bool, sudo_is_free: Callable[[], bool]) -> May | MayNot:
    """Root may. An ordinary user may with sudo: in a CI job and with `yes` if sudo asks for no password, on a
    terminal after the user has agreed. PY_PORTABLE_NO_FIX=1 forbids all of it.

    `sudo_is_free` tries whether sudo works without a password; called only where that decides something.
    """
    if machine.environment.get("PY_PORTABLE_NO_FIX") == "1":
        return MayNot("PY_PORTABLE_NO_FIX=1 forbids it")
    if machine.is_root:
        return May()
    if "sudo" not in machine.programs:
        return MayNot("this user is not root, and there is no sudo")
    free = sudo_is_free()
    if machine.in_ci or yes:
        if free:
            return May(SUDO)
        if not (yes and machine.terminal):
            return MayNot("sudo asks for a password, or refuses this user")
    if machine.terminal:
        return May(SUDO if free else ("sudo",), ask=not yes, attached=not free)
    return MayNot("sudo is used only on a terminal, in a CI job (CI=true), or with --yes")
