"""The package managers that the doctor knows, by how each is asked. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from py_portable.doctor.machine import Machine

LOCK_SECONDS = 300
"""How long apt waits for another one that is at work."""


@dataclass(frozen=True)
class Manager:
    """`install`, `preview` and `refresh` are whole commands but for the packages' names."""

    program: str
    shown: tuple[str, ...]
    """The installing command as a person types it."""
    install: tuple[str, ...]
    preview: tuple[str, ...]
    """Says what an installation would bring, and changes nothing."""
    named: re.Pattern[str]
    """Finds the packages in what `preview` prints, each alone or several with blanks between."""
    refresh: tuple[str, ...] = ()
    """Fetches the lists of packages; empty: it does so by itself."""
    goes_stale: bool = False
    """Whether lists that are there may be too old, so that an installation that failed is worth a second try."""
    preview_as_root: bool = True

    def names(self, printed: str) -> tuple[str, ...]:
        """The packages that would be installed, by what `preview` printed, each once."""
        return tuple(dict.fromkeys(name for found in self.named.findall(printed) for name in found.split()))


_APT_QUIET = ("--quiet", "--no-install-recommends", "--yes")

MANAGERS = {
    manager.program: manager
    for manager in (
        Manager(
            "apt-get",
            ("apt-get", "install", "--yes", "--no-install-recommends"),
            (
                "apt-get",
                f"-oDPkg::Lock::Timeout={LOCK_SECONDS}",
                "-oDpkg::Use-Pty=0",
                "install",
                *_APT_QUIET,
            ),
            ("apt-get", "install", "--simulate", "-oDebug::NoLocking=1", *_APT_QUIET),
            re.compile(r"^Inst (\S+)", re.MULTILINE),
            ("apt-get", "--quiet", "update"),
            goes_stale=True,
            preview_as_root=False,
        ),
        Manager(
            "dnf",
            ("dnf", "install", "--assumeyes"),
            ("dnf", "install", "--assumeyes", "--quiet"),
            ("dnf", "install", "--assumeno"),
            re.compile(r"^ (\S+) +(?:x86_64|aarch64|i686|noarch) ", re.MULTILINE),
        ),
        Manager(
            "zypper",
            ("zypper", "--non-interactive", "install"),
            ("zypper", "--non-interactive", "install"),
            ("zypper", "--non-interactive", "install", "--dry-run"),
            re.compile(r"^The following .*NEW .*:\n((?:  .*\n)+)", re.MULTILINE),
        ),
        Manager(
            "pacman",
            ("pacman", "-S", "--needed", "--noconfirm"),
            ("pacman", "-S", "--needed", "--noconfirm", "--noprogressbar"),
            ("pacman", "-S", "--needed", "--print", "--print-format", "%n"),
            re.compile(r"^([a-z0-9@._+][a-z0-9@._+-]*)$", re.MULTILINE),
            ("pacman", "-Sy", "--noconfirm"),
            preview_as_root=False,
        ),
    )
}

# By the family in os-release: an apt-get on Fedora is there for mmdebstrap and knows none of its packages.
_FAMILIES = {
    "debian": "apt-get",
    "fedora": "dnf",
    "rhel": "dnf",
    "suse": "zypper",
    "opensuse": "zypper",
    "arch": "pacman",
}


def manager(machine: Machine) -> Manager | None:
    """The one that installs this system's packages; None where it is not one that the doctor knows."""
    names = (name for family, name in _FAMILIES.items() if family in machine.family)
    return next((MANAGERS[name] for name in names if name in machine.programs), None)


def line(machine: Machine, packages: Sequence[str], commands: Iterable[Sequence[str]] = ()) -> str:
    """One line to paste into a shell: it installs the packages, then starts each of the commands as root."""
    tool = manager(machine)
    parts: list[Sequence[str]] = []
    if packages and tool:
        if tool.refresh and not machine.package_lists:
            parts.append(tuple(word for word in tool.refresh if word != "--quiet"))
        parts.append((*tool.shown, *packages))
    parts += commands
    return as_root(machine, [shlex.join(part) for part in parts])


def as_root(machine: Machine, lines: Sequence[str]) -> str:
    """The shell lines as one, as this user has to type it. Where there is no sudo, `su` asks for root's password."""
    if machine.is_root:
        return " && ".join(lines)
    if "sudo" in machine.programs:
        return " && ".join(f"sudo {each}" for each in lines)
    return f"su -c {shlex.quote(' && '.join(lines))}" if lines else ""
