"""Checks that what is installed is what its metadata asks for: nothing is missing, and nothing conflicts.

The interpreter of the artifact runs this, since markers and Requires-Python are compared with that interpreter.
"""

import importlib.metadata
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName, default_environment
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version
except ImportError:  # in a sandbox, where pip is
    from pip._vendor.packaging.markers import (  # type: ignore[assignment]
        Marker,
        UndefinedComparison,
        UndefinedEnvironmentName,
        default_environment,
    )
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement  # type: ignore[assignment]
    from pip._vendor.packaging.specifiers import InvalidSpecifier, SpecifierSet  # type: ignore[assignment]
    from pip._vendor.packaging.version import InvalidVersion, Version  # type: ignore[assignment]

MARK = "what is installed is not what its metadata asks for"
"""The beginning of the last line of a failure."""


def normal(name: str) -> str:
    """The form in which names of distributions and of extras are compared (PEP 503, PEP 685)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Installed:
    """A distribution and what its metadata asks for: `Requires-Dist` as it is written, and `Requires-Python`."""

    name: str
    version: str
    requires: "tuple[str, ...]" = ()
    python: "str | None" = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def unmet(
    there: "Iterable[Installed]",
    asked: "Mapping[str, Iterable[str]]",
    environment: "Mapping[str, str] | None" = None,
) -> "dict[str, list[str]]":
    """What is missing or does not fit: project -> clauses that say who asks for it.

    `asked`: distributions whose extras were asked for. `environment`: the values for markers, if they are not those of
    this interpreter. Requirements that cannot be parsed, and versions older than PEP 440, are ignored.
    """
    env = {**{str(k): str(v) for k, v in default_environment().items()}, **(environment or {})}
    found = {normal(one.name): one for one in there}
    problems: dict[str, list[str]] = {}
    for one in found.values():
        if one.python and not _fits(one.python, env["python_full_version"]):
            text = f"{one} is for Python {one.python}, and this is {env['python_full_version']}"
            problems.setdefault("python", []).append(text)
    left = [(name, "") for name in sorted(found)]
    left += [(normal(name), normal(extra)) for name, extras in asked.items() for extra in sorted(extras)]
    seen: set[tuple[str, str]] = set()
    while left:
        name, extra = left.pop(0)
        if (name, extra) in seen or name not in found:
            continue
        seen.add((name, extra))
        one = found[name]
        for wanted in filter(None, map(_parsed, one.requires)):
            if not _holds(wanted, env, extra):
                continue
            target = normal(wanted.name)
            left += [(target, normal(more)) for more in sorted(wanted.extras)]
            clause = _clause(one, extra, wanted, found.get(target))
            if clause and clause not in problems.setdefault(target, []):
                problems[target].append(clause)
    return {target: clauses for target, clauses in problems.items() if clauses}


def _parsed(text: str) -> "Any":
    try:
        return Requirement(text)
    except (InvalidRequirement, ValueError):
        return None


def _holds(wanted: "Any", env: "Mapping[str, str]", extra: str) -> bool:
    """Whether a requirement holds. With an extra this is only what the extra adds: the rest is checked without one."""
    marker: Marker | None = wanted.marker
    if marker is None:
        return not extra
    if _true(marker, {**env, "extra": ""}):
        return not extra
    return any(_true(marker, {**env, "extra": one}) for one in _spellings(extra, marker))


def _true(marker: "Any", env: "Mapping[str, str]") -> bool:
    """A comparison that is impossible, such as one of a kernel's release with a version, counts as false."""
    try:
        return bool(marker.evaluate(dict(env)))
    except (UndefinedComparison, UndefinedEnvironmentName, InvalidVersion):
        return False


def _spellings(extra: str, marker: "Any") -> "set[str]":
    """All spellings of an extra in the marker: older versions of packaging compare names of extras letter by letter."""
    written = re.findall(r"""extra\s*==\s*["']([^"']+)["']""", str(marker))
    return {extra, *(one for one in written if normal(one) == extra)} if extra else set()


def _clause(one: Installed, extra: str, wanted: "Any", there: "Installed | None") -> "str | None":
    who = f"{one.name}[{extra}] {one.version}" if extra else str(one)
    asks = f"{wanted.name}{wanted.specifier}"
    if there is None:
        return f"{who} asks for {asks}, which is not installed"
    if wanted.url or _fits(wanted.specifier, there.version):
        return None
    return f"{who} asks for {asks}, but {there} is installed"


def _fits(specifier: "Any", version: str) -> bool:
    try:
        return bool(SpecifierSet(str(specifier)).contains(Version(version), prereleases=True))
    except (InvalidSpecifier, InvalidVersion):
        return True


def read(site: Path) -> "list[Installed]":
    """All distributions in a folder."""
    return [
        Installed(
            str(d.metadata["Name"]),
            d.version,
            tuple(d.metadata.get_all("Requires-Dist") or ()),
            # Not by its key: from Python 3.15 on a missing key is an error.
            next(iter(d.metadata.get_all("Requires-Python") or ()), None),
        )
        for d in importlib.metadata.distributions(path=[str(site)])
    ]


def check(site: Path, asked: "Mapping[str, Iterable[str]]", accepted: "Iterable[str]" = ()) -> None:
    """End the program if something is missing or does not fit, and is not in `accepted`. The last line names all of
    it. `asked`: distributions with the extras that were asked for.
    """
    known = {normal(name) for name in accepted}
    problems = unmet(read(site), asked)
    clauses = [one for target, all_of in sorted(problems.items()) if target not in known for one in all_of]
    if clauses:
        sys.exit(f"{MARK}: {'; '.join(clauses)}")
