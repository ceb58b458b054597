"""Which requirements hold for a target. Markers are evaluated with the full version of the artifact's interpreter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from py_portable.errors import ConfigError


@dataclass(frozen=True)
class ResolveTarget:
    """What a resolution is for. `python` is written as in the config; `full` is the full version, if it is known."""

    python: str
    max_glibc: str
    arch: str
    full: str | None = None

    @property
    def version(self) -> str:
        return self.full or self.python

    @property
    def environment(self) -> Mapping[str, str]:
        """The marker variables of PEP 508 on such a Linux system. Nothing is known about its kernel."""
        whole = self.full or f"{self.python}.0"
        return {
            "implementation_name": "cpython",
            "implementation_version": whole,
            "os_name": "posix",
            "platform_machine": self.arch,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": whole,
            "python_version": self.python,
            "sys_platform": "linux",
        }


def parsed(line: str, where: str) -> Requirement:
    """Raises ConfigError."""
    try:
        return Requirement(line)
    except InvalidRequirement as problem:
        raise ConfigError(
            f"{line!r} is not a requirement: {str(problem).splitlines()[0]}", where=where
        ) from None


def holds(wanted: Requirement, target: ResolveTarget, extras: Collection[str]) -> bool:
    """Whether its marker is true for the target with any of the extras, or without one."""
    if wanted.marker is None:
        return True
    for extra in ("", *extras):
        try:
            if wanted.marker.evaluate({**target.environment, "extra": extra}):
                return True
        except (UndefinedComparison, UndefinedEnvironmentName, InvalidVersion):
            # packaging before 24.2 reads the release of a kernel as a version.
            return False
    return False


def selected(
    name: str | None, requires: Iterable[str], extras: Iterable[str], target: ResolveTarget, where: str
) -> list[Requirement]:
    """What a project requires with these extras, without markers. An extra may name other extras of the project."""
    every = [parsed(line, where) for line in requires]
    wanted = {canonicalize_name(extra) for extra in extras}
    while True:
        found = [one for one in every if holds(one, target, wanted)]
        own = [one for one in found if name and canonicalize_name(one.name) == name]
        more = {canonicalize_name(extra) for one in own for extra in one.extras} - wanted
        if not more:
            chosen = [one for one in found if one not in own]
            for one in chosen:
                one.marker = None
            return chosen
        wanted |= more
