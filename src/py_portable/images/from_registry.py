"""Images from registries: a tag becomes a digest once, and a digest a root in the store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from py_portable.engines import daemon
from py_portable.errors import ConfigError
from py_portable.images import root
from py_portable.images.adding.derive import derive
from py_portable.images.failures import SourceUnusable
from py_portable.images.image import Image, Request
from py_portable.images.names import Names
from py_portable.images.registry import aliases, mirrors
from py_portable.images.registry.daemon_pull import DaemonPuller
from py_portable.images.registry.image_manifest import here
from py_portable.images.registry.pull import Pull, Puller
from py_portable.images.registry.reference import is_archive, is_digest, parse
from py_portable.images.registry.skopeo import Skopeo
from py_portable.store import Entry, Store


def puller() -> Puller:
    """The first way to get at a registry that this machine has. Raises SourceUnusable."""
    if shutil.which("skopeo"):
        return Skopeo()
    if program := next(daemon.answering(), None):
        return DaemonPuller(program)
    raise SourceUnusable(
        "images cannot be fetched from a registry here: there is no skopeo, and neither docker nor podman works",
        hint="apt-get install skopeo   (or dnf install skopeo)",
    )


class RegistrySource:
    """Everything that looks like a reference."""

    name = "registry"

    def __init__(self, find: Callable[[], Puller] = puller) -> None:
        self._find = find

    def claims(self, name: str) -> bool:
        try:
            parse(name)
        except ConfigError:
            return False
        return not is_archive(name)

    def get(self, request: Request, store: Store, prefix: tuple[str, ...]) -> Image:
        """Raises ImageUnavailable, MachineError, ConfigError (a mirror, or an origin that is not a digest)."""
        entry = self._entry(request, store, prefix)
        base = root.image(request, entry, "registry", origin=str(entry.meta["identity"]))
        return derive(base, request, store, prefix)

    def _entry(self, request: Request, store: Store, prefix: tuple[str, ...]) -> Entry:
        reference = parse(request.name)
        platform = here()
        names = Names(store.cache("images"))
        # By the name as it was expanded: another version of the kit may mean another image by an alias.
        expanded = aliases.expand(reference)
        known = f"registry {expanded} {platform.architecture} {' '.join(platform.variants)}"
        digest = reference.digest or _locked(request)
        for candidate in (digest,) if digest else _held(request, names.get(known)):
            if candidate and (entry := root.held(store, candidate, platform, request)):
                return entry
        asked = mirrors.apply(expanded, mirrors.read(os.environ))
        wanted = Pull(request.name, asked, platform)
        tool = self._find()
        found = digest or tool.digest(wanted)
        entry = root.keep(
            store,
            prefix,
            request.name,
            found,
            platform,
            lambda room, log: tool.fetch(wanted, found, room, log),
        )
        if not reference.digest:
            names.set(known, found.removeprefix("sha256:"))
        return entry


def _locked(request: Request) -> str | None:
    """The digest that the lock gives the name. Raises ConfigError."""
    locked = None if request.fresh else request.locked_origin
    if locked is not None and not is_digest(locked):
        raise ConfigError(
            f"the lock names as the origin of {request.name} {locked[:100]!r}, which is not a digest",
            hint=f"run: py-portable lock --update {request.name}",
        )
    return locked


def _held(request: Request, known: str | None) -> tuple[str | None, ...]:
    """Digests that serve where the store has them: the locked identity, then what the name meant last time."""
    if request.fresh:
        return ()
    return (request.locked_identity, f"sha256:{known}" if known else None)
