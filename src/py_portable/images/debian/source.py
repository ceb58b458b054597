"""Debian by mmdebstrap: names such as `debian:11`, and their root file systems in the store."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from py_portable import resources
from py_portable.engines import ids
from py_portable.errors import MachineError
from py_portable.images.debian import apt
from py_portable.images.debian.bootstrap import Bootstrapped, bootstrap
from py_portable.images.debian.recipe import BootstrapSpec
from py_portable.images.entries import Entries, drift
from py_portable.images.model import Image, Request
from py_portable.images.packages import system_packages
from py_portable.store import Store

_NAME = re.compile(r"(?P<distribution>[a-z][a-z0-9._/-]*):(?P<release>[A-Za-z0-9._-]+)")


@dataclass(frozen=True)
class Release:
    """A Debian release of `resources/debian.toml`."""

    number: str
    suite: str
    glibc: str
    valid_until: bool = True
    """False: its Release file expires before mirrors refresh it, so apt must not look at the date."""


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

    name = "bootstrap"

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
        packages = system_packages("apt", request.needs, request.packages)
        spec = BootstrapSpec(release.suite, packages, request.before, check_valid_until=release.valid_until)

        def build(work: Path) -> Mapping[str, object]:
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

        entry = Entries(store, "images").get(spec.told(), request, build, prefix=prefix)
        found = str(entry.meta["identity"])
        return Image(
            name=request.name,
            root=entry.path / "root",
            identity=found,
            source="bootstrap",
            glibc=str(entry.meta["glibc"]),
            suite=release.suite,
            packages=tuple((str(n), str(v), s) for n, v, s in entry.meta["packages"]),
            drifted_from=drift(found, request),
            key=entry.key,
            log=entry.log,
        )
