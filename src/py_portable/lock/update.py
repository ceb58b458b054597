"""The names that `lock --update` accepts."""

from __future__ import annotations

from collections.abc import Collection

from packaging.utils import canonicalize_name

from py_portable.config.glibc import canonical_image
from py_portable.errors import ConfigError
from py_portable.lock.lockfile import Lock


def check_names(update: Collection[str], lock: Lock, images: Collection[str]) -> None:
    """Raises ConfigError for a name of `lock --update` that is neither a locked package nor one of the images."""
    known = {package.file.name for house in lock.houses.values() for package in house.packages}
    for name in update:
        if name != "*" and canonicalize_name(name) not in known and canonical_image(name) not in images:
            raise ConfigError(
                f"no package or image named {name} is locked",
                where="--update",
                hint=f"there are: {', '.join(sorted(known)) or 'none yet'}; '*' means all",
            )
