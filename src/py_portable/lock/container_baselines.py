"""The lock's entries for containers that were baselines: their state before anything was added.

An engine's image of the same name has another identity, which is also in the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from py_portable.errors import ConfigError
from py_portable.lock.lockfile import Lock


def node(image: str) -> str:
    """The lock's name for the container of a job that runs in this image."""
    return f"container {image}"


def learn(lock: Lock, found: Mapping[str, str], say: Callable[[str], None], *, locked_in: str = "") -> Lock:
    """The lock with the identities that were found, by image. `locked_in`: the lock's file, where it must not change.

    Raises ConfigError where it would have to.
    """
    for image, identity in found.items():
        old = lock.images.get(node(image))
        if old in (None, identity):
            continue
        if locked_in:
            raise ConfigError(
                f"{node(image)} is {identity} now, but the lock says {old}: its system, its glibc "
                "or its packages are different",
                where=locked_in,
                hint="name the job's image by its digest, or run without --locked to use the new one",
            )
        say(f"{node(image)}: its image has changed since it was locked; new identity {identity[:19]}…")
    return lock.with_images({node(image): identity for image, identity in found.items()})
