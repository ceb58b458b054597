"""Where the packages of a release are fetched, in the order in which the places are asked. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache

from py_portable import resources
from py_portable.images.debian.apt import AptSetup, Mirror
from py_portable.images.debian.releases import Release

MIRROR = "the machine's mirror"


@dataclass(frozen=True)
class PackageArchive:
    """`name`: as messages and the lock call it."""

    name: str
    setup: AptSetup


def archives(
    release: Release, machine: AptSetup, today: date, locked: str | None = None
) -> tuple[PackageArchive, ...]:
    """The mirror of the machine's apt. Of a release that has ended also the snapshot of the day after its last one,
    and then the archive of old releases, which has no updates. The one that is `locked` comes first.

    Their addresses are in resources/debian.toml.
    """
    found = [PackageArchive(MIRROR, machine)]
    if release.last is not None and release.last < today:
        day = release.last + timedelta(days=1)
        at = f"{day:%Y%m%dT000000Z}"
        snapshot = _elsewhere("snapshot", at=at)
        found.append(PackageArchive(f"the snapshot of {day}", _at(machine, snapshot)))
        old = replace(_at(machine, _elsewhere("old", at=at)), security=None, updates=False)
        found.append(PackageArchive("the archive of old releases", old))
    return tuple(sorted(found, key=lambda one: one.name != locked))


def _at(machine: AptSetup, addresses: Mapping[str, str]) -> AptSetup:
    # Nothing refreshes what has ended; its files are signed as before.
    archive, security = (
        Mirror(addresses[name], check_valid_until=False) if name in addresses else None
        for name in ("archive", "security")
    )
    return replace(machine, archive=archive, security=security)


def _elsewhere(name: str, at: str) -> dict[str, str]:
    return {key: address.format(at=at) for key, address in _addresses()[name].items()}


@cache
def _addresses() -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = tomllib.loads(resources.path("debian.toml").read_text())[
        "elsewhere"
    ]
    return found
