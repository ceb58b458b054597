"""Debian's releases, and the names of images that mean one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache

from py_portable import resources

_NAME = re.compile(r"(?P<distribution>[a-z][a-z0-9._/-]*):(?P<release>[A-Za-z0-9._-]+)")


@dataclass(frozen=True)
class Release:
    """A Debian release of `resources/debian.toml`."""

    number: str
    suite: str
    glibc: str
    image: str = ""
    """Its address in the public registry."""
    valid_until: bool = True
    """False: its Release file expires before mirrors refresh it, so apt must not look at the date."""
    last: date | None = None
    """The day of its last free fix; None where that is not known yet."""


@cache
def releases() -> Mapping[str, Release]:
    """Debian's releases by number and by code name."""
    table = tomllib.loads(resources.path("debian.toml").read_text())["release"]
    ends = tomllib.loads(resources.path("ends.toml").read_text())["debian"]
    found: dict[str, Release] = {}
    for number, entry in table.items():
        release = Release(
            number,
            entry["suite"],
            entry["glibc"],
            entry["image"],
            entry.get("valid-until", True),
            ends.get(number, {}).get("last"),
        )
        found[number] = found[release.suite] = release
    return found


def find_release(name: str) -> Release | None:
    """`debian:11`, `debian:bullseye` -> the release; None for any other name."""
    match = _NAME.fullmatch(name)
    return releases().get(match["release"]) if match and match["distribution"] == "debian" else None
