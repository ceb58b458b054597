"""What an image is, what is asked for, and what a source of images is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from py_portable.engines.engine import Engine
from py_portable.images.debian.recipe import Package
from py_portable.store import Store


@dataclass(frozen=True)
class Found:
    """The container as it was before anything was added to it. `identity`: `sha256:…` over system, glibc and packages,
    and over the image's digest where that is known. `checked`: what was compared and is the same. `unknown`: what could
    not be compared, and why."""

    identity: str
    checked: tuple[str, ...]
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """A root file system and where it came from."""

    name: str
    root: Path
    identity: str
    """`sha256:…`: of a registry image the digest that its name stood for, else over what it was made of."""
    source: Literal["bootstrap", "registry", "archive", "host", "container"]
    glibc: str | None
    suite: str | None
    packages: tuple[Package, ...] = ()
    drifted_from: str | None = None
    """The identity that the lock names, where the distribution has moved on and this is not that image."""
    key: str | None = None
    """Its entry in the store."""
    log: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    """What the image's own config sets (a manylinux image puts its compiler on PATH): seen by build steps only."""
    origin: str | None = None
    """The digest that its name stands for in the registry, for the lock; None where it came from no registry."""
    archive: str | None = None
    """Where its packages were fetched, if not from the machine's mirror; see `debian.package_archives`."""
    named: str | None = None
    """The identity of the image that the config names, where packages were added to it for one artifact."""
    found: Found | None = None
    """The container that is used as it (source "container"): what is known of it and what is not."""

    def has(self, program: str) -> bool:
        """Whether a file or a link is at this absolute path of the image."""
        return os.path.lexists(self.root / program.lstrip("/"))


@dataclass(frozen=True)
class Request:
    """What is asked of a source."""

    name: str
    packages: tuple[str, ...] = ()
    """System packages by the name that the image's own package manager knows them by."""
    before: str | None = None
    locked_identity: str | None = None
    fresh: bool = False
    """Ask the network again what the name means, whatever the store holds."""
    needs: tuple[str, ...] = ()
    """What the kit itself needs in it, as names of resources/packages.toml: "compilers", "cpython"."""
    locked_origin: str | None = None
    """The digest that the lock gives the name, whatever is added to the image."""
    locked_archive: str | None = None
    """Where the packages came from when the name was locked; None: from the machine's mirror."""
    engine: Engine | None = None
    """Runs the package manager of an image that packages are added to."""
    locked_container: str | None = None
    """The identity that the lock gives to the container of a job in this image."""
    tree: bool = True
    """Whether its files will be read. If not, an image that the store has is not checked for damage."""
    if_there: tuple[str, ...] = ()
    """System packages that are installed as far as the image's repositories have them."""

    @property
    def plain(self) -> bool:
        """Whether nothing is added to the image."""
        return not (self.packages or self.needs or self.if_there or self.before)


class ImageSource(Protocol):
    """A way to get images. A new one is a module and a line in `SOURCES`."""

    name: str
    """One word for messages: bootstrap, registry, archive."""

    def claims(self, name: str) -> bool:
        """Whether this source can make anything of the name, without asking the network."""
        ...

    def get(self, request: Request, store: Store, prefix: tuple[str, ...]) -> Image:
        """Raises ImageUnavailable, MachineError or StepError."""
        ...
