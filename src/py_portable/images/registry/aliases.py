"""Short names: PyPA's build images, from `resources/images.toml`, and Debian's releases, from `debian.toml`."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Mapping
from functools import cache

from py_portable import resources
from py_portable.images.debian.releases import find_release
from py_portable.images.failures import ImageUnavailable
from py_portable.images.registry.reference import Reference, parse


@cache
def table() -> Mapping[str, Mapping[str, str]]:
    """Alias -> machine architecture (as `uname -m` says it) -> reference with PyPA's dated tag."""
    found: dict[str, dict[str, str]] = tomllib.loads(resources.path("images.toml").read_text("utf-8"))[
        "alias"
    ]
    return found


def expand(reference: Reference, machine: str | None = None) -> Reference:
    """The reference that an alias, or the name of a Debian release, stands for; any other is given back as it is.

    `manylinux_2_28` is the image for this machine (`machine`, by default what `uname -m` says) and
    `manylinux_2_28_aarch64` the one for aarch64. A tag or digest behind the alias takes the dated tag's place.
    Raises ImageUnavailable where there is no such image for this architecture.
    """
    if reference.registry:
        return reference
    if reference.digest is None and (release := find_release(str(reference))):
        return parse(release.image)
    machine = machine or platform.machine()
    for alias, images in table().items():
        if reference.repository == alias:
            if machine not in images:
                raise ImageUnavailable(
                    f"{alias}: no image for {machine}; there are: {', '.join(sorted(images))}",
                    hint="use an image that is made for this machine, or a machine that the image is made for",
                )
            wanted = images[machine]
        elif (name := reference.repository.removeprefix(f"{alias}_")) in images:
            wanted = images[name]
        else:
            continue
        found = parse(wanted)
        if reference.tag or reference.digest:
            return Reference(found.repository, found.registry, reference.tag, reference.digest)
        return found
    return reference
