"""Which Pythons are on an image, where its name and its packages tell it."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Collection, Mapping

from py_portable import resources
from py_portable.config.glibc import canonical_image
from py_portable.config.model import ImageSpec

_OWN_VERSION = re.compile(r"python([0-9]+\.[0-9]+)")


def has_python(spec: ImageSpec, wanted: Collection[str]) -> bool | None:
    """Whether one of these, such as "3.11", is on the image; None where nothing tells it.

    Of an image whose own root has no Python it is known, unless a package is installed of which nobody knows what else
    it brings.
    """
    kind, _, tag = canonical_image(spec.image.removesuffix("-slim")).partition(":")
    release = _python3().get(kind, {}).get(tag)
    if release is None:
        return None
    unknown = False
    for package in spec.packages:
        own = _OWN_VERSION.fullmatch(package)
        if (release if package == "python3" else own and own[1]) in wanted:
            return True
        unknown = unknown or not (own or package == "python3")
    return None if unknown else False


def python_of(image: str) -> str | None:
    """What the package python3 of an image such as `debian:12` is; None where that is not known."""
    kind, _, tag = canonical_image(image).partition(":")
    return _python3().get(kind, {}).get(tag)


@functools.cache
def _python3() -> Mapping[str, Mapping[str, str]]:
    """Distribution -> release -> what its package python3 is."""
    return tomllib.loads(resources.path("pythons.toml").read_text("utf-8"))
