"""What is added to an image, by which package manager, and the identity of what comes of it. Pure but for lookups."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from py_portable import resources
from py_portable.engines import stage
from py_portable.errors import ConfigError, MachineError

SCRIPT = "images/add.sh"
Manager = Literal["apt", "dnf", "zypper", "apk", "none"]
Installed = tuple[str, str, str]
"""Name, version, architecture."""

_PROGRAMS: Mapping[str, Manager] = {
    "apt-get": "apt",
    "zypper": "zypper",
    "dnf": "dnf",
    "microdnf": "dnf",
    "yum": "dnf",
    "apk": "apk",
}
_FOLDERS = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")
# No version, no option, no pattern, no file; and a last "-" would make apt remove the package.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*(?<!-)")
_LIBC = re.compile(r"(?:\d+:)?(\d+\.\d+)")


@dataclass(frozen=True)
class Additions:
    """What is asked for on top of an image. Raises ConfigError for what can be no package's name."""

    base: str
    """The identity of the image it is added to."""
    packages: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    before: str | None = None
    if_there: tuple[str, ...] = ()
    """Packages that are installed as far as the image's repositories have them."""

    def __post_init__(self) -> None:
        for name in (*self.packages, *self.if_there):
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{name!r} is not the name of a package",
                    hint="letters, digits, '.', '_', '+', '~' and '-'; no version, no option, no pattern",
                )

    def told(self) -> Mapping[str, object]:
        """Everything that decides the result but the network, as JSON."""
        return {
            "base": self.base,
            "packages": sorted(set(self.packages)),
            "needs": sorted(set(self.needs)),
            "before": hashlib.sha256(self.before.encode()).hexdigest() if self.before else None,
            "script": resources.sha256(SCRIPT),
            **({"if_there": sorted(set(self.if_there))} if self.if_there else {}),
        }

    def identity(self, installed: Sequence[Installed]) -> str:
        """`sha256:…` over the canonical JSON of what was asked for and what is installed."""
        made = {**self.told(), "installed": sorted(list(package) for package in installed)}
        text = json.dumps(made, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def find_manager(root: Path) -> Manager:
    """The package manager that the image has, "none" where it has none that is known here."""
    for program, manager in _PROGRAMS.items():
        for folder in _FOLDERS:
            place = inside(root, f"{folder}/{program}")
            if place is not None and os.path.lexists(place):
                return manager
    return "none"


def inside(root: Path, name: str) -> Path | None:
    """Where an absolute name of the image lies here, its links followed inside the image; None for a loop."""
    try:
        return root / stage.inside(root, name)[1:]
    except MachineError:
        return None


def os_release(root: Path) -> Mapping[str, str]:
    """os-release(5) of an image; empty where it has none."""
    for name in ("/etc/os-release", "/usr/lib/os-release"):
        place = inside(root, name)
        text = read_bounded(place, 1 << 16) if place is not None else b""
        pairs = (line.partition("=") for line in text.decode("utf-8", "replace").splitlines())
        found = {name.strip(): value.strip().strip("\"'") for name, equals, value in pairs if equals}
        if found:
            return found
    return {}


def read_bounded(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of a regular file that others wrote; b"" for a link or anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        with os.fdopen(fd, "rb", closefd=False) as stream:
            return stream.read(limit)
    finally:
        os.close(fd)


def parse_installed(text: str) -> tuple[Installed, ...]:
    """What the script listed, sorted: rows `ii NAME VERSION ARCH` between tabs, or apk's P, V and A lines."""
    found: set[Installed] = set()
    stanza: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split("\t")
        if len(words) == 4 and words[0].startswith("ii"):
            found.add((words[1], words[2], words[3]))
        elif len(words) == 2 and words[0] in ("P", "V", "A"):
            stanza = {words[0]: words[1]} if words[0] == "P" else {**stanza, words[0]: words[1]}
            if "P" in stanza and len(stanza) == 3:
                found.add((stanza["P"], stanza["V"], stanza["A"]))
    return tuple(sorted(found))


def glibc_of(installed: Sequence[Installed]) -> str | None:
    """`2.28` from the version of the package that holds glibc, None where there is none."""
    for name, version, _ in installed:
        match = _LIBC.match(version) if name in ("libc6", "glibc") else None
        if match:
            return match[1]
    return None
