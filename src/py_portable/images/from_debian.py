"""Debian by mmdebstrap: names such as `debian:11`, and their root file systems in the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from py_portable.engines import ids
from py_portable.engines.static_helpers.stored import helpers
from py_portable.errors import MachineError
from py_portable.images.adding.derive import derive
from py_portable.images.debian import apt
from py_portable.images.debian.bootstrap import Bootstrapped, bootstrap
from py_portable.images.debian.package_archives import MIRROR, PackageArchive, archives
from py_portable.images.debian.recipe import BootstrapSpec
from py_portable.images.debian.releases import Release, find_release, releases
from py_portable.images.entries import Entries, drift
from py_portable.images.failures import ImageUnavailable, NotServed, SourceUnusable
from py_portable.images.image import Image, Request
from py_portable.images.packages import system_packages
from py_portable.store import Store

_log = logging.getLogger(__name__)


class BootstrapSource:
    """Debian by mmdebstrap."""

    name = "bootstrap"

    def __init__(
        self,
        setup: Callable[[], apt.AptSetup] | None = None,
        *,
        make: Callable[..., Bootstrapped] = bootstrap,
        places: Callable[..., tuple[PackageArchive, ...]] = archives,
    ) -> None:
        self._setup = setup or (lambda: apt.read(release.suite for release in releases().values()))
        self._make = make
        self._places = places

    def claims(self, name: str) -> bool:
        return find_release(name) is not None

    def get(self, request: Request, store: Store, prefix: tuple[str, ...]) -> Image:
        release = find_release(request.name)
        assert release is not None
        packages = system_packages("apt", request.needs, request.packages)
        spec = BootstrapSpec(release.suite, packages, check_valid_until=release.valid_until)
        # mmdebstrap would run `before` outside of any sandbox, so `derive` runs it. The identity is checked there.
        plain = replace(request, before=None, locked_identity=None, tree=False) if request.before else request

        def build(work: Path) -> Mapping[str, object]:
            if not ids.available():
                told = ids.detect()
                raise SourceUnusable(f"{request.name} cannot be bootstrapped: {told.reason}", hint=told.cure)
            places = self._archives(release, request.locked_archive)
            make = partial(
                self._make,
                spec,
                work / "out",
                prefix=prefix,
                log=work / "log",
                helpers=partial(_helpers, store),
            )
            place, made = _first_that_serves(request.name, places, make)
            return {
                "archive": None if place.name == MIRROR else place.name,
                "identity": made.identity,
                "glibc": made.glibc,
                "suite": spec.suite,
                "arch": made.arch,
                "tool": made.tool,
                "seconds": round(made.seconds, 1),
                "without_own_ids": made.without_own_ids or None,
                "packages": [list(package) for package in made.packages],
            }

        entry = Entries(store, "images").get(spec.told(), plain, build, prefix=prefix)
        found = str(entry.meta["identity"])
        image = Image(
            name=request.name,
            root=entry.path / "root",
            identity=found,
            source="bootstrap",
            glibc=str(entry.meta["glibc"]),
            suite=release.suite,
            packages=tuple((str(n), str(v), s) for n, v, s in entry.meta["packages"]),
            drifted_from=drift(found, plain),
            archive=entry.meta.get("archive"),
            key=entry.key,
            log=entry.log,
        )
        if not request.before:
            return image
        return derive(
            image,
            replace(request, packages=(), needs=()),
            store,
            prefix,
            setup=lambda: self._archives(release, image.archive)[0].setup,
        )

    def _archives(self, release: Release, locked: str | None) -> tuple[PackageArchive, ...]:
        return self._places(release, self._setup(), datetime.now(UTC).date(), locked)


def setup_of(image: Image) -> apt.AptSetup:
    """How packages are added to a bootstrapped image: from where its own packages came."""
    release = find_release(image.name)
    machine = apt.read(release.suite for release in releases().values())
    if release is None:
        return machine
    return archives(release, machine, datetime.now(UTC).date(), image.archive)[0].setup


def _first_that_serves(
    name: str, places: Sequence[PackageArchive], make: Callable[..., Bootstrapped]
) -> tuple[PackageArchive, Bootstrapped]:
    """Only the bootstrap itself shows whether an archive serves all that its index lists. Raises SourceUnusable where
    none does, so that the image's registry is asked."""
    failed: list[tuple[PackageArchive, ImageUnavailable]] = []
    for place in places:
        if failed:
            _log.warning("%s: %s. Next: %s", name, failed[-1][1].what, place.name)
        try:
            return place, make(setup=place.setup)
        except ImageUnavailable as problem:
            # A mirror out of reach says nothing of the release: then nothing else is tried.
            if place.name == MIRROR and not isinstance(problem, NotServed):
                raise
            failed.append((place, problem))
    told = "; ".join(f"{place.name}: {problem.what}" for place, problem in failed)
    last = failed[-1][1]
    raise SourceUnusable(
        f"{name} cannot be bootstrapped any more: {told}",
        tail=last.tail,
        log=last.log,
        hint='choose a newer release in portable.yaml, such as image: "debian:12"; or name a mirror that has its '
        "packages in the machine's apt configuration",
    )


def _helpers(store: Store) -> Path | None:
    """The static helpers; None where the kit has none for this machine and there is no compiler."""
    try:
        return helpers(store)
    except MachineError:
        return None
