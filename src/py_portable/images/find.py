"""From the name of an image to a root file system in the store."""

from __future__ import annotations

from collections.abc import Iterable

from py_portable.engines import ids
from py_portable.engines.engine import Engine
from py_portable.errors import ConfigError, MachineError, PortableError
from py_portable.images.failures import ImageUnavailable, SourceUnusable
from py_portable.images.from_archive import ArchiveSource
from py_portable.images.from_debian import BootstrapSource
from py_portable.images.from_registry import RegistrySource
from py_portable.images.image import Image, ImageSource, Request
from py_portable.images.registry.reference import parse
from py_portable.store import Store

SOURCES: dict[str, ImageSource] = {
    source.name: source for source in (BootstrapSource(), ArchiveSource(), RegistrySource())
}
"""The first that claims a name is asked for it; the next one only where that one cannot work here at all."""


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
    locked_archive: str | None = None,
    fresh: bool = False,
    tree: bool = True,
    prefix: tuple[str, ...] | None = None,
) -> Image:
    """The image called `name`, from the store where it is there, else made now.

    With `locked_identity` that very image is wanted; where it can no longer be made, the image that could be made
    comes back and its `drifted_from` says which one it is not. With `locked_origin` the name came from a registry, and
    that digest is asked for there. With `locked_archive` packages are fetched from there first. `fresh` asks the
    network again. `tree` False: only what is known about the image is wanted, and its files are not checked. Raises
    ImageUnavailable (no source, registry or mirror unreachable), MachineError (something to install here, or nothing
    serves the release any more), ConfigError (a malformed name or setting) or StepError (an unknown package, a failing
    `before`).
    """
    request = Request(
        name,
        packages,
        before,
        locked_identity,
        fresh,
        needs,
        locked_origin,
        locked_archive,
        engine,
        tree=tree,
    )
    asked = claiming(request, SOURCES.values())
    if not asked:
        raise _unknown(name)
    if prefix is None:
        prefix = ids.prefix()
    failed: list[tuple[str, PortableError]] = []
    for source in asked:
        try:
            return source.get(request, store, prefix)
        except SourceUnusable as problem:
            failed.append((source.name, problem))
        except PortableError as problem:
            if not failed:
                raise
            failed.append((source.name, problem))
            break
    raise _all_failed(name, failed)


def claiming(request: Request, sources: Iterable[ImageSource]) -> list[ImageSource]:
    """The sources to ask, in order: what the lock says came from a registry is asked for there first."""
    found = [source for source in sources if source.claims(request.name)]
    if request.locked_origin and not request.fresh:
        found.sort(key=lambda source: source.name != RegistrySource.name)
    return found


def _all_failed(name: str, failed: list[tuple[str, PortableError]]) -> PortableError:
    first = failed[0][1]
    if len(failed) == 1:
        return first
    reasons = "; ".join(f"{source}: {problem.what.removeprefix(f'{name}: ')}" for source, problem in failed)
    return MachineError(
        f"{name} is not available here: {reasons}",
        tail=failed[-1][1].tail,
        log=failed[-1][1].log,
        hint="one of these is enough:\n" + "\n".join(p.hint for _, p in failed if p.hint),
    )


def _unknown(name: str) -> PortableError:
    try:
        parse(name)
    except ConfigError as problem:
        return problem
    return ImageUnavailable(f"{name}: no source of images has this name")
