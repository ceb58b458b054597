"""From the name of an image to a root file system in the store."""

from __future__ import annotations

from py_portable.engines import ids
from py_portable.engines.base import Engine
from py_portable.images.debian import BootstrapSource, releases
from py_portable.images.model import Image, Request, Source
from py_portable.images.problems import ImageUnavailable
from py_portable.store import Store

SOURCES: dict[str, Source] = {"bootstrap": BootstrapSource()}
"""The first that claims a name is asked for it."""


def resolve(
    name: str,
    *,
    packages: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    before: str | None = None,
    store: Store,
    engine: Engine | None = None,
    locked_identity: str | None = None,
    locked_origin: str | None = None,
    fresh: bool = False,
    prefix: tuple[str, ...] | None = None,
) -> Image:
    """The image called `name`, from the store where it is there, else made now.

    With `locked_identity` that very image is wanted; where it can no longer be made, the image that could be
    made comes back and its `drifted_from` says which one it is not. `fresh` asks the network again. Raises
    ImageUnavailable (no source, mirror unreachable, suite gone), MachineError (something to install here)
    or StepError (an unknown package, a failing `before`).
    """
    request = Request(name, packages, before, locked_identity, fresh, needs, locked_origin, engine)
    for source in SOURCES.values():
        if not source.claims(name):
            continue
        if prefix is None:
            prefix = ids.prefix()
        return source.get(request, store, prefix)
    raise ImageUnavailable(_why_not(name), hint=f"images that can be made here: {', '.join(_offered())}")


def _offered() -> list[str]:
    return sorted({f"debian:{release.number}" for release in releases().values()})


def _why_not(name: str) -> str:
    if name.startswith("debian:"):
        return f"{name}: no such Debian release is known; known are {', '.join(_offered())}"
    return f"{name}: no registry engine on this machine: only debian:N can be bootstrapped"
