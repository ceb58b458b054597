"""Checks whether a resolution is complete: everything that a locked distribution requires is locked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from py_portable.lock.markers import ResolveTarget, holds, parsed


@dataclass(frozen=True)
class Distribution:
    """A locked distribution and the content of its metadata."""

    name: str
    version: str | None
    """None: only building it shows the version, so no requirement is checked against it."""
    requires: tuple[str, ...]
    requires_python: str | None


def missing(
    roots: Iterable[Requirement], locked: Mapping[str, Distribution], target: ResolveTarget, *, root: str
) -> list[str]:
    """One sentence for each requirement that no locked package meets: who requires what, and what is locked instead.

    `root`: who is said to require the `roots`. Extras and markers are respected.
    """
    problems: list[str] = []
    asked: set[tuple[str, str]] = set()
    waiting = [(root, one) for one in roots if holds(one, target, ())]
    while waiting:
        who, wanted = waiting.pop(0)
        name = canonicalize_name(wanted.name)
        found = locked.get(name)
        if found is None:
            problems.append(f"{who} requires {wanted}, but {name} is not locked")
            continue
        if not _meets(found, wanted):
            problems.append(f"{who} requires {wanted}, but {name} {found.version} is locked")
        extras = {canonicalize_name(extra) for extra in wanted.extras}
        for extra in sorted({"", *extras}):
            if (name, extra) in asked:
                continue
            if not extra:
                problems += python_problems(found, target)
            asked.add((name, extra))
            label = f"{found.name} {found.version}"
            for line in found.requires:
                one = parsed(line, label)
                if holds(one, target, (extra,)):
                    waiting.append((label, one))
    return list(dict.fromkeys(problems))


def _meets(found: Distribution, wanted: Requirement) -> bool:
    """A requirement with an address is met by any version of the package from this address."""
    try:
        if found.version is None or wanted.url is not None:
            return True
        return wanted.specifier.contains(found.version, prereleases=True)
    except InvalidVersion:
        return False


def python_problems(found: Distribution, target: ResolveTarget) -> list[str]:
    try:
        allowed = SpecifierSet(found.requires_python or "")
    except InvalidSpecifier:
        return []
    # Without a whole version, a bound such as >=3.13.1 may hold or not.
    if target.full is None or allowed.contains(target.full, prereleases=True):
        return []
    name = " ".join(filter(None, (found.name, found.version)))
    return [f"{name} requires Python {found.requires_python}, but the interpreter is {target.full}"]
