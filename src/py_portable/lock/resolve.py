"""Asks the index once what the app's requirements mean, and what compiling its sdists requires."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from py_portable.config import Config
from py_portable.errors import ConfigError
from py_portable.index import ask, files
from py_portable.index.model import LockedFile, Offer
from py_portable.lock import source
from py_portable.lock.choose import choose
from py_portable.lock.model import LockedHouse, LockedPackage
from py_portable.regular import sha256_of
from py_portable.store import Store

MAX_SILENT_SDISTS = 50
_BUILD_FAILED = re.compile(
    r"Failed to (?:build|download and build|prepare)[^`]*`([A-Za-z0-9._-]+)==([^`\s]+)`"
)


@dataclass(frozen=True)
class Target:
    """What a resolution is for."""

    python: str
    max_glibc: str
    arch: str


@dataclass(frozen=True)
class Resolver:
    config: Config
    store: Store
    target: Target
    environ: Mapping[str, str]

    def inputs(self) -> str:
        """The digest of all that a resolution depends on: a lock with another one is out of date."""
        app = self.config.app
        told = {
            "target": [self.target.python, self.target.max_glibc, self.target.arch],
            "requirement": app.requirement,
            "extras": list(app.extras),
            "no-binary": sorted(map(canonicalize_name, self.config.wheels.no_binary)),
            "metadata": _plain(self.config.wheels.metadata),
            "build-requires": _plain(self.config.wheels.build_requires),
            "source": self._source_fingerprint(),
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def resolve(self, old: LockedHouse | None = None, update: Collection[str] = ()) -> LockedHouse:
        """A new resolution; versions of `old` stay where they can, but for the names in `update` ("*": all)."""
        loose = {canonicalize_name(name) for name in update}
        pins = [
            f"{p.file.name}=={p.file.version}"
            for p in (old.packages if old and "*" not in update else ())
            if p.file.name not in loose
        ]
        try:
            offers = self._offers(pins)
        except ask.ResolveError:
            if not pins:
                raise
            offers = self._offers([])
        files.remember(self.store, offers)
        app = self._app_name()
        chosen = choose(
            (offer for offer in offers if self.config.app.requirement or offer.name != app),
            python=self.target.python,
            max_glibc=self.target.max_glibc,
            arch=self.target.arch,
            no_binary=self.config.wheels.no_binary,
        )
        packages = tuple(self._with_build(file) for file in chosen)
        path = self.config.app.source
        app_build: tuple[LockedFile, ...] = ()
        if path is not None and not path.name.endswith(".whl"):
            requires = source.build_requires(path) if path.is_dir() else source.sdist_build_requires(path)
            app_build = self._build_files(app or "", requires)
        return LockedHouse(self.inputs(), packages, app_build)

    def _source_fingerprint(self) -> Any:
        path = self.config.app.source
        if path is None:
            return None
        if path.is_dir():
            return source.dependencies_fingerprint(path)
        return sha256_of(path)

    def _builds(self) -> bool:
        """Whether the app's own build system has to be run to know what it depends on."""
        path = self.config.app.source
        return path is not None and path.is_dir() and not source.is_static(path)

    def _app_name(self) -> str | None:
        app = self.config.app
        if app.requirement:
            return canonicalize_name(Requirement(app.requirement).name)
        assert app.source is not None
        return source.distribution_name(app.source)

    def _requirements(self) -> tuple[str | Path, ...]:
        app = self.config.app
        extras = f"[{','.join(app.extras)}]" if app.extras else ""
        if app.requirement:
            wanted = Requirement(app.requirement)
            wanted.extras |= set(app.extras)
            return (str(wanted),)
        assert app.source is not None
        if app.source.is_dir():
            return source.dependency_files(app.source)
        return (f"{source.distribution_name(app.source)}{extras} @ {app.source.resolve().as_uri()}",)

    def _offers(self, pins: list[str]) -> list[Offer]:
        """Resolve; where uv would have to build an sdist to know its dependencies, read what the sdist says."""
        metadata: dict[str, tuple[str, ...]] = {
            canonicalize_name(n): tuple(r) for n, r in self.config.wheels.metadata.items()
        }
        for _ in range(MAX_SILENT_SDISTS):
            try:
                return self._ask(
                    self._requirements(), self.config.app.extras, pins, metadata, builds=self._builds()
                )
            except ask.ResolveError as problem:
                failed = _BUILD_FAILED.search(problem.tail or "")
                name = canonicalize_name(failed[1]) if failed else ""
                if not failed or name in metadata:
                    raise
                metadata[name] = self._told_by_sdist(name, failed[2])
        raise ConfigError("too many sdists that do not tell their dependencies", where="wheels.metadata")

    def _told_by_sdist(self, name: str, version: str) -> tuple[str, ...]:
        offers = self._ask([f"{name}=={version}"], (), [], {name: ()}, deps=False)
        files.remember(self.store, offers)
        sdist = next((o for o in offers if o.name == name and not o.is_wheel), None)
        told: tuple[str, ...] | None = None
        if sdist is not None:
            file = LockedFile(sdist.name, sdist.version, sdist.file, sdist.sha256, sdist.size)
            told = self._read(file, source.sdist_requires)
        if told is None:
            raise ConfigError(
                f"{name} {version} does not tell its dependencies without being built",
                where="wheels.metadata",
                hint=f"say them in the config: wheels: {{metadata: {{{name}: [...]}}}}",
            )
        return told

    def _ask(
        self,
        requirements: Any,
        extras: Any,
        pins: list[str],
        metadata: Mapping[str, Any],
        deps: bool = True,
        builds: bool = False,
    ) -> list[Offer]:
        return ask.offers(
            requirements,
            python=self.target.python,
            max_glibc=self.target.max_glibc,
            arch=self.target.arch,
            cache=self.store.cache("uv"),
            environ=self.environ,
            extras=extras,
            constraints=pins,
            metadata=metadata,
            deps=deps,
            builds=builds,
        )

    def _with_build(self, file: LockedFile) -> LockedPackage:
        if file.is_wheel:
            return LockedPackage(file)
        return LockedPackage(
            file, self._build_files(file.name, self._read(file, source.sdist_build_requires))
        )

    def _build_files(self, name: str, requires: Iterable[str]) -> tuple[LockedFile, ...]:
        told: dict[str, tuple[str, ...]] = {
            canonicalize_name(n): tuple(r) for n, r in self.config.wheels.build_requires.items()
        }
        # setuptools before 70.1 asks for wheel by itself when it makes one.
        offers = self._ask([*requires, *told.get(name, ()), "wheel"], (), [], {})
        files.remember(self.store, offers)
        target = self.target
        return tuple(
            choose(offers, python=target.python, max_glibc=target.max_glibc, arch=target.arch, no_binary=())
        )

    def _read(self, file: LockedFile, read: Any) -> Any:
        with tempfile.TemporaryDirectory(prefix="py-portable-") as name:
            folder = files.gather(
                self.store,
                [file],
                Path(name) / "sdist",
                python=self.target.python,
                max_glibc=self.target.max_glibc,
                arch=self.target.arch,
                environ=self.environ,
            )
            return read(folder / file.file)


def _plain(told: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    return {canonicalize_name(name): list(values) for name, values in told.items()}
