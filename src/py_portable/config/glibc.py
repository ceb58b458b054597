"""The glibc of an image, if the name of the image shows it."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable
from typing import Any

from py_portable import resources

_DEBIAN = re.compile(r"(?:.*/)?debian:([a-z0-9]+)(?:\.[0-9]+)?(?:-slim)?")
_MANYLINUX = re.compile(r"(?:.*/)?manylinux_([0-9]+)_([0-9]+)(?:_[a-z0-9_]+)?(?:[:@].*)?")
_MANYLINUX_OLD = re.compile(r"(?:.*/)?(manylinux(?:1|2010|2014))(?:_[a-z0-9_]+)?(?:[:@].*)?")
_OLD = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}  # PEP 600, legacy aliases


@functools.cache
def debian_releases() -> dict[str, dict[str, Any]]:
    """Release number -> {"suite": "bullseye", "glibc": "2.31", …}, from resources/debian.toml."""
    text = resources.path("debian.toml").read_text("utf-8")
    releases: dict[str, dict[str, Any]] = tomllib.loads(text)["release"]
    return releases


def _debian(tag: str) -> str | None:
    """The release number of a tag such as `11` or `bullseye`."""
    return next((n for n, release in debian_releases().items() if tag in (n, release["suite"])), None)


def known_glibc(image: str) -> str | None:
    """The glibc of a Debian or manylinux image, such as "2.31" for `debian:11`; None where not known."""
    if match := _DEBIAN.fullmatch(image):
        release = _debian(match[1])
        return str(debian_releases()[release]["glibc"]) if release else None
    if match := _MANYLINUX.fullmatch(image):
        return f"{int(match[1])}.{int(match[2])}"
    if match := _MANYLINUX_OLD.fullmatch(image):
        return _OLD[match[1]]
    return None


def canonical_image(image: str) -> str:
    """The common name of an image that has several: `debian:bullseye` is `debian:11`, whatever is installed in it."""
    kind, _, rest = image.partition(":")
    tag, plus, packages = rest.partition("+")
    if kind == "debian" and (release := _debian(tag)):
        return f"debian:{release}{plus}{packages}"
    return image


def with_packages(image: str, packages: Iterable[str]) -> str:
    """What an image is called in which packages are installed; no image's own name has a `+`, but for paths."""
    return "+".join((image, *sorted(packages)))


def version_key(version: str) -> tuple[int, ...]:
    """`2.31` as a value that can be compared."""
    return tuple(int(part) for part in version.split("."))
