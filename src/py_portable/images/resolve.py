"""From the name of an image to a root file system in the store."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

from py_portable import resources
from py_portable.engines import ids
from py_portable.errors import MachineError
from py_portable.images import apt
from py_portable.images.bootstrap import Bootstrapped, bootstrap
from py_portable.images.problems import ImageUnavailable
from py_portable.images.recipe import BootstrapSpec, Package
from py_portable.store import Entry, Store

_NAME = re.compile(r"(?P<distribution>[a-z][a-z0-9._/-]*):(?P<release>[A-Za-z0-9._-]+)")


@dataclass(frozen=True)
class Release:
    """A Debian release of `resources/debian.toml`."""

    number: str
    suite: str
    glibc: str
    valid_until: bool = True
    """False: its Release file expires before mirrors refresh it, so apt must not look at the date."""


@dataclass(frozen=True)
class Image:
    """A root file system and where it came from."""

    name: str
    root: Path
    identity: str
    source: Literal["bootstrap", "host"]
    glibc: str | None
    suite: str | None
    packages: tuple[Package, ...] = ()
    drifted_from: str | None = None
    """The identity that the lock names, where the distribution has moved on and this is not that image."""
    key: str | None = None
    """Its entry in the store."""
    log: Path | None = None


@dataclass(frozen=True)
class Request:
    """What is asked of a source."""

    name: str
    packages: tuple[str, ...] = ()
    before: str | None = None
    locked_identity: str | None = None
    fresh: bool = False
    """Ask the network again what the name means, whatever the store holds."""


class Source(Protocol):
    """A way to get images. A new one is a module and a line in `SOURCES`."""

    def claims(self, name: str) -> bool:
        """Whether this source can make anything of the name, without asking the network."""
        ...

    def get(self, request: Request, store: Store, prefix: tuple[str, ...]) -> Image:
        """Raises ImageUnavailable, MachineError or StepError."""
        ...


@cache
def releases() -> Mapping[str, Release]:
    """Debian's releases by number and by code name."""
    table = tomllib.loads(resources.path("debian.toml").read_text())["release"]
    found: dict[str, Release] = {}
    for number, entry in table.items():
        release = Release(number, entry["suite"], entry["glibc"], entry.get("valid-until", True))
        found[number] = found[release.suite] = release
    return found


def find_release(name: str) -> Release | None:
    """`debian:11`, `debian:bullseye` -> the release; None for any other name."""
    match = _NAME.fullmatch(name)
    return releases().get(match["release"]) if match and match["distribution"] == "debian" else None


class BootstrapSource:
    """Debian by mmdebstrap."""

    def __init__(
        self,
        setup: Callable[[], apt.AptSetup] | None = None,
        *,
        make: Callable[..., Bootstrapped] = bootstrap,
    ) -> None:
        self._setup = setup or (lambda: apt.read(release.suite for release in releases().values()))
        self._make = make

    def claims(self, name: str) -> bool:
        return find_release(name) is not None

    def get(self, request: Request, store: Store, prefix: tuple[str, ...]) -> Image:
        release = find_release(request.name)
        assert release is not None
        spec = BootstrapSpec(
            release.suite, request.packages, request.before, check_valid_until=release.valid_until
        )
        entry = self._entry(spec, request, store, prefix)
        found = str(entry.meta["identity"])
        locked = request.locked_identity
        return Image(
            name=request.name,
            root=entry.path / "root",
            identity=found,
            source="bootstrap",
            glibc=str(entry.meta["glibc"]),
            suite=release.suite,
            packages=tuple((str(n), str(v), s) for n, v, s in entry.meta["packages"]),
            drifted_from=locked if locked and locked != found else None,
            key=entry.key,
            log=entry.log,
        )

    def _entry(self, spec: BootstrapSpec, request: Request, store: Store, prefix: tuple[str, ...]) -> Entry:
        names = _Names(store.cache("images"))
        wanted = f"fresh {time.time_ns()}" if request.fresh else request.locked_identity or "latest"
        # An entry is filed under what was asked for, since what comes of it is known only when it is made.
        # Names lead from an identity to the entry that happens to hold it.
        if not request.fresh:
            known = names.get(request.locked_identity or _recipe(spec, "latest"))
            held = _held(known, request.locked_identity, store)
            if held is not None:
                return held

        built = False

        def build(work: Path) -> Mapping[str, object]:
            nonlocal built
            built = True
            if not ids.available():
                told = ids.detect()
                raise MachineError(f"{request.name} cannot be bootstrapped: {told.reason}", hint=told.cure)
            made = self._make(spec, work / "out", setup=self._setup(), prefix=prefix, log=work / "log")
            return {
                "identity": made.identity,
                "glibc": made.glibc,
                "suite": spec.suite,
                "arch": made.arch,
                "tool": made.tool,
                "seconds": round(made.seconds, 1),
                "packages": [list(package) for package in made.packages],
            }

        entry = store.make(_recipe(spec, wanted), build, prefix=prefix)
        made = str(entry.meta["identity"])
        entry = _held(names.get(made), made, store) or entry
        names.set(made, entry.key)
        if built:
            names.set(_recipe(spec, "latest"), entry.key)
        return entry


def _held(key: str | None, identity: str | None, store: Store) -> Entry | None:
    """The entry of that key, if it is there and holds that identity (None: whichever)."""
    entry = store.get(key) if key else None
    return entry if entry is not None and identity in (None, entry.meta["identity"]) else None


def _recipe(spec: BootstrapSpec, asked: str) -> str:
    told = {"image": spec.told(), "machine": os.uname().machine, "asked": asked}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class _Names:
    """Small files that name store keys. Losing one costs a bootstrap, nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, name: str) -> Path:
        return self._folder / hashlib.sha256(name.encode()).hexdigest()

    def get(self, name: str) -> str | None:
        try:
            text = self._path(name).read_text("ascii")
        except (OSError, ValueError):
            return None
        return text if re.fullmatch(r"[0-9a-f]{64}", text) else None

    def set(self, name: str, key: str) -> None:
        if self.get(name) == key:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(name)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        fresh.write_text(key)
        fresh.replace(path)


SOURCES: dict[str, Source] = {"bootstrap": BootstrapSource()}


def resolve(
    name: str,
    *,
    packages: tuple[str, ...] = (),
    before: str | None = None,
    store: Store,
    locked_identity: str | None = None,
    fresh: bool = False,
    prefix: tuple[str, ...] | None = None,
) -> Image:
    """The image called `name`, from the store where it is there, else made now.

    With `locked_identity` that very image is wanted; where it can no longer be made, the image that could be
    made comes back and its `drifted_from` says which one it is not. `fresh` asks the network again. Raises
    ImageUnavailable (no source, mirror unreachable, suite gone), MachineError (something to install here)
    or StepError (an unknown package, a failing `before`).
    """
    for source in SOURCES.values():
        if source.claims(name):
            if prefix is None:
                prefix = ids.prefix()
            return source.get(Request(name, packages, before, locked_identity, fresh), store, prefix)
    raise ImageUnavailable(_why_not(name), hint=f"images that can be made here: {', '.join(_offered())}")


def _offered() -> list[str]:
    return sorted({f"debian:{release.number}" for release in releases().values()})


def _why_not(name: str) -> str:
    match = _NAME.fullmatch(name)
    if match and match["distribution"] == "debian":
        return f"{name}: no such Debian release is known; known are {', '.join(_offered())}"
    return f"{name}: no registry engine on this machine: only debian:N can be bootstrapped"
