"""Distributions that get no fixes any more, if the name of an image shows which one it is. Pure but for its table."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from py_portable import resources
from py_portable.config.glibc import debian_releases
from py_portable.config.model import Config

_NAME = re.compile(
    r"(?:[^@]*/)?(?P<system>debian|ubuntu):(?P<release>[a-z]+|[0-9]+(?:\.[0-9]+)*)(?:-[^@+]*)?(?:@.*)?"
)


@dataclass(frozen=True)
class EndedRelease:
    """`image`: its name in the config; `last`: the day of the distribution's last free fix."""

    image: str
    last: date

    def __str__(self) -> str:
        return f"{self.image} has had no fixes since {self.last}, and its packages may no longer be available"


@functools.cache
def _ends() -> dict[str, dict[str, date]]:
    """Distribution -> number of a release -> its last day. Source: resources/ends.toml."""
    table = tomllib.loads(resources.path("ends.toml").read_text("utf-8"))
    return {system: {number: told["last"] for number, told in rows.items()} for system, rows in table.items()}


@functools.cache
def _numbers() -> dict[str, dict[str, str]]:
    """Distribution -> number and code name of a release -> its number, also of those that have no end yet."""
    table = tomllib.loads(resources.path("ends.toml").read_text("utf-8"))
    found = {
        system: {name: number for number, told in rows.items() for name in (number, told["suite"])}
        for system, rows in table.items()
    }
    for number, told in debian_releases().items():
        found["debian"] |= {number: number, told["suite"]: number}
    return found


def release_of(image: str) -> str | None:
    """`debian:12` for debian:bookworm-slim, docker.io/library/debian:12.5 and the like, and the same for Ubuntu; None
    where the name tells no known release."""
    match = _NAME.fullmatch(image)
    if not match:
        return None
    system, release = match["system"], match["release"]
    if system == "debian":
        # A number behind the first point is one of the updates of a release.
        release = release.partition(".")[0]
    number = _numbers()[system].get(release)
    return f"{system}:{number}" if number else None


def last_day(image: str) -> date | None:
    """The day of the last free fix of an image such as `debian:11-slim`; None where its name does not tell it."""
    system, _, number = (release_of(image) or "").partition(":")
    return _ends().get(system, {}).get(number)


def ended(images: Iterable[str], today: date) -> tuple[EndedRelease, ...]:
    """Those of the images whose distribution has ended, each once, in order."""
    found = ((image, last_day(image)) for image in dict.fromkeys(images))
    return tuple(EndedRelease(image, last) for image, last in found if last is not None and last < today)


def ended_in(config: Config, today: date) -> tuple[EndedRelease, ...]:
    """The same of all that a config builds in and starts on."""
    baselines = (baseline.image for baseline in config.baselines.values())
    return ended((*baselines, *(spec.image for spec in config.portability.images)), today)
