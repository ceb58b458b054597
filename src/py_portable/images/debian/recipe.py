"""What mmdebstrap is told for a root file system, and the identity of what comes of it. Pure."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from py_portable import resources
from py_portable.errors import ConfigError
from py_portable.images.debian import apt

EPOCH = 1735689600
"""Times inside a root are at most this (2025-01-01): the same root whenever it is made."""
TIMEOUT_SECONDS = 1200.0
HOOKS = ("bootstrap/setup.sh", "bootstrap/packages.sh", "bootstrap/finish.sh")
_FORMER_HOOK = "d2e6d3d1e57e66e56c924f85eed0ec430ae52dc348f151cfd815e9f51c0c6635"
"""Stands for a hook that ran `before`, which an engine runs now: other roots keep the identity that locks name."""
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_SUITE = re.compile(r"[a-z][a-z0-9-]*")
_DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)

Mode = Literal["root", "unshare"]
Package = tuple[str, str, str | None]
"""Name, version, sha256 of its .deb (None: the mirror's lists have none)."""


@dataclass(frozen=True)
class BootstrapSpec:
    """What is to be made. Raises ConfigError for a name that no suite or package can have."""

    suite: str
    packages: tuple[str, ...] = ()
    epoch: int = EPOCH
    check_valid_until: bool = True
    timeout: float = field(default=TIMEOUT_SECONDS, compare=False)
    """Seconds."""

    def __post_init__(self) -> None:
        if not _SUITE.fullmatch(self.suite):
            raise ConfigError(f"{self.suite!r} is not the name of a suite")
        for name in self.packages:
            if not _PACKAGE.fullmatch(name):
                raise ConfigError(
                    f"{name!r} is not the name of a Debian package",
                    hint="lower case letters, digits, '+', '-' and '.'; no version, no option",
                )

    def told(self) -> Mapping[str, object]:
        """Everything in the specification that decides the result, as JSON."""
        return {
            "suite": self.suite,
            "packages": sorted(set(self.packages)),
            "before": None,
            "epoch": self.epoch,
            "hooks": hooks_digest(),
        }


@dataclass(frozen=True)
class Recipe:
    """The command line, and the files it reads (name in the work place -> text; they may hold logins)."""

    argv: tuple[str, ...]
    files: Mapping[str, str] = field(repr=False)


def hooks_digest() -> str:
    """sha256 over the hooks and the options that are the same for every root."""
    setup, packages, finish = (resources.sha256(name) for name in HOOKS)
    told = [setup, packages, _FORMER_HOOK, finish, *_DPKG_OPTIONS]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def recipe(spec: BootstrapSpec, setup: apt.AptSetup, *, mode: Mode, place: Path) -> Recipe:
    """How mmdebstrap makes `place/root.tar` (pure). Nothing of the user's stands in a shell line."""
    settings = [*setup.settings, *setup.netrc]
    if not spec.check_valid_until:
        settings.append(("Acquire::Check-Valid-Until", "false"))
    keyrings = (apt.DEBIAN_KEYRING,) if _has_own_keyring(setup) else ()
    lines = apt.source_lines(setup, spec.suite, keyrings=keyrings)
    files = {"apt.conf": "".join(f'{name} "{value}";\n' for name, value in settings)}
    for name in HOOKS:
        files[Path(name).name] = resources.path(name).read_text()

    def hook(stage: str, text: str) -> str:
        return f"--{stage}-hook={text}"

    def script(name: str) -> str:
        return f'sh {shlex.quote(str(place / name))} "$1"'

    def upload(name: str, target: str) -> str:
        return f"upload {shlex.quote(str(place / name))} {target}"

    words = [
        "mmdebstrap",
        f"--mode={mode}",
        "--variant=minbase",
        "--format=tar",
        "--skip=output/dev",
        *(f"--dpkgopt={option}" for option in _DPKG_OPTIONS),
        hook("setup", upload("apt.conf", "/etc/apt/apt.conf.d/99py-portable")),
        hook("setup", script("setup.sh")),
        hook("customize", script("packages.sh")),
    ]
    if spec.packages:
        words.insert(4, f"--include={','.join(sorted(set(spec.packages)))}")
    words.append(
        hook("customize", f"download /run/py-portable/packages {shlex.quote(str(place / 'packages'))}")
    )
    words += [hook("customize", script("finish.sh")), spec.suite, str(place / "root.tar")]
    if lines:
        files["sources.list"] = "\n".join(lines) + "\n"
        words.append(str(place / "sources.list"))
    return Recipe(tuple(words), files)


def _has_own_keyring(setup: apt.AptSetup) -> bool:
    return apt.DEBIAN_KEYRING.is_file() and setup.archive is not None


def parse_packages(text: str) -> tuple[tuple[Package, ...], str]:
    """What the packages hook wrote -> the installed packages, sorted, and their architecture.

    Where the hook ran twice, the last state counts and digests of both are used. Raises ValueError.
    """
    digests: dict[tuple[str, str, str], str] = {}
    installed: dict[str, tuple[str, str, str]] = {}
    stanza: dict[str, str] = {}
    fresh = True
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        if key == "Installed":
            if not fresh:
                installed, fresh = {}, True
            status, name, version, arch = value.split()
            if status.startswith("ii"):
                installed[f"{name}:{arch}"] = (name, version, arch)
            continue
        fresh = False
        stanza = {key: value} if key == "Package" else {**stanza, key: value}
        if len(stanza) == 4:
            digests[stanza["Package"], stanza["Version"], stanza["Architecture"]] = stanza["SHA256"]
    native = [arch for name, _, arch in installed.values() if name == "libc6"]
    if not native:
        raise ValueError("no libc6 among the installed packages")
    packages = ((n, v, digests.get((n, v, a))) for n, v, a in installed.values())
    return tuple(sorted(packages, key=lambda p: (p[0], p[1], p[2] or ""))), native[0]


def identity(spec: BootstrapSpec, packages: tuple[Package, ...], arch: str, tool: str) -> str:
    """`sha256:…` over the canonical JSON of what the root is made of and by what."""
    # What is installed counts, not which of it was asked for by name.
    made = {**spec.told(), "packages": [list(package) for package in packages], "arch": arch, "tool": tool}
    text = json.dumps(made, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def glibc_of(packages: tuple[Package, ...]) -> str:
    """`2.31` from libc6's version `2.31-13+deb11u11`."""
    version = next(version for name, version, _ in packages if name == "libc6")
    match = re.match(r"(?:\d+:)?(\d+\.\d+)", version)
    if not match:
        raise ValueError(f"libc6 has the version {version}")
    return match[1]
