"""Installs packages of the system and runs other commands as root. They are listed before anything is changed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from py_portable.base import process
from py_portable.base.capture import Captured
from py_portable.base.process import Outcome
from py_portable.doctor.consent import SUDO, May
from py_portable.doctor.machine import SYSTEM_FOLDERS
from py_portable.doctor.managers import LOCK_SECONDS, Manager
from py_portable.errors import MachineError

SECONDS = 900.0
_SUDO_SECONDS = 20.0
_KEPT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Provisioning:
    """The work to do. `line` is what a person types to do the same."""

    manager: Manager | None
    packages: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    line: str
    lists: bool = True
    """Whether the manager has lists of packages already."""


def sudo_is_free() -> bool:
    """Whether sudo starts something here without asking for a password."""
    try:
        return process.run((*SUDO, "true"), env=_environment(), timeout=_SUDO_SECONDS).ok
    except MachineError:
        return False


def do(work: Provisioning, may: May, say: Callable[[str], None], agreed: Callable[[str], bool]) -> bool:
    """Do it; False if the user did not agree. Raises MachineError with the last lines of the failure, the cause and
    what to do.

    `say` gets the packages and commands before anything is changed, `agreed` a question where somebody has to.
    """
    fetched: list[str] = []
    names = _preview(work, may, say, fetched)
    if work.packages and work.manager:
        say(f"To be installed by {work.manager.program}: {' '.join(names)}")
    for words in work.commands:
        say(f"To be run as root: {shlex.join(words)}")
    if may.ask and not agreed("Do this with sudo?"):
        return False
    if may.attached:
        _log_in(may, work)
    if work.packages and work.manager:
        _install(work, work.manager, may, say, fetched)
    for words in work.commands:
        _require(_root(words, may), f"running {words[0]}", work)
    return True


def _preview(work: Provisioning, may: May, say: Callable[[str], None], fetched: list[str]) -> Sequence[str]:
    """All packages that would be installed, if the manager can say so now; otherwise those that were asked for."""
    if not (work.packages and work.manager):
        return ()
    tool = work.manager
    if tool.refresh and not work.lists and not may.ask:
        fetched.append(_refresh(tool, may, say))
    if tool.preview_as_root and may.attached:
        return work.packages
    prefix = may.prefix if tool.preview_as_root else ()
    shown = process.run((*prefix, *tool.preview, *work.packages), env=_environment(), timeout=SECONDS)
    return tool.names(shown.stdout.text) or work.packages


def _install(
    work: Provisioning, tool: Manager, may: May, say: Callable[[str], None], fetched: list[str]
) -> None:
    if tool.refresh and not work.lists and not fetched:
        fetched.append(_refresh(tool, may, say))
    outcome = _root((*tool.install, *work.packages), may)
    if not outcome.ok and tool.goes_stale and not fetched and not _BUSY.search(_said(outcome)):
        # The usual reason: the lists on this machine name files that the mirror has replaced since.
        fetched.append(_refresh(tool, may, say))
        outcome = _root((*tool.install, *work.packages), may)
    _require(outcome, f"installing {' '.join(work.packages)}", work, "".join(fetched))


def _refresh(tool: Manager, may: May, say: Callable[[str], None]) -> str:
    """The errors while the lists of packages were fetched. A source that does not answer is no reason to stop: the
    installation decides."""
    say(f"Fetching the lists of packages: {shlex.join(tool.refresh)}")
    return _root(tool.refresh, may).stderr.text


def _log_in(may: May, work: Provisioning) -> None:
    """Have sudo ask once, and not again with every command. Raises MachineError where it refuses."""
    # It asks on the terminal that this was started from, so it has to keep that.
    if subprocess.run((*may.prefix, "-v"), env=_environment(), check=False).returncode:
        raise MachineError(
            "sudo refused, so nothing was installed",
            hint=f"ask an administrator to run this:\n{work.line}",
        )


def _root(words: Sequence[str], may: May) -> Outcome:
    """Start it as root. By sudo, which passes no environment on, `env` sets what has to be set."""
    if not may.prefix:
        return process.run(words, env=_environment(), timeout=SECONDS)
    whole = (*may.prefix, "env", *(f"{name}={value}" for name, value in _KEPT.items()), *words)
    if not may.attached:
        return process.run(whole, env=_environment(), timeout=SECONDS)
    # What sudo remembers belongs to the terminal.
    status = subprocess.run(whole, env=_environment(), check=False).returncode
    nothing = Captured(b"", b"", 0)
    return Outcome(whole, status, False, 0.0, nothing, nothing)


def _environment() -> Mapping[str, str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    return {**os.environ, **_KEPT, "PATH": path}


def _said(outcome: Outcome) -> str:
    return outcome.stderr.text + outcome.stdout.text


_BUSY = re.compile(
    r"could not get lock|unable to (?:acquire|lock)|system management is locked|is held by process"
    r"|waiting for process with pid|another app is currently holding",
    re.IGNORECASE,
)
_CAUSES = (
    (
        _BUSY,
        "another package manager is running",
        f"wait until it has finished, then run the same command again (apt itself is given {LOCK_SECONDS} s to wait)",
    ),
    (
        re.compile(r"sudo: (?:a password|a terminal) is required|sudo: .*incorrect password", re.IGNORECASE),
        "sudo asks for a password",
        "",
    ),
    (
        re.compile(
            r"is not in the sudoers file|may not run sudo|is not allowed to (?:run|execute)", re.IGNORECASE
        ),
        "sudo refuses this user",
        "ask an administrator to run this",
    ),
    (re.compile(r"no space left on device|not enough free space", re.IGNORECASE), "the disk is full", ""),
    (
        re.compile(
            r"could not resolve|temporary failure (?:in name resolution|resolving)|could not connect"
            r"|unable to connect|network is unreachable|connection (?:timed out|refused|failed)|curl error"
            r"|cannot download|failed to download|failed retrieving file|could not open or read|name or service",
            re.IGNORECASE,
        ),
        "the package server cannot be reached",
        "check the network, and the proxy in the package manager's own settings",
    ),
    (
        re.compile(
            r"unable to locate package|has no installation candidate|no match for argument|no provider of"
            r"|target not found|unable to find a match|not found in package names",
            re.IGNORECASE,
        ),
        "this system's repositories have no such package",
        "enable the repository that has it (on Ubuntu: universe), or update the system",
    ),
)


def _require(outcome: Outcome, what: str, work: Provisioning, before: str = "") -> None:
    """Raises MachineError with the cause, where it is a known one, the last lines, and what to do. `before`: what an
    earlier command said that this one may have failed of."""
    if outcome.ok:
        return
    said = before + _said(outcome)
    cause, cure = next(((cause, cure) for found, cause, cure in _CAUSES if found.search(said)), ("", ""))
    how = (
        f"did not end within {SECONDS:.0f} s" if outcome.timed_out else f"failed with status {outcome.status}"
    )
    raise MachineError(
        f"{what} {how}" + (f": {cause}" if cause else ""),
        tail=said,
        hint="\n".join(line for line in (cure, work.line) if line),
    )
