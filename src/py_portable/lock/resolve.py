"""Asks the index once what the app's requirements mean, and what compiling its sdists requires.

No code of a package is run here: for what only a build backend knows there is an `Asker`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from packaging.utils import canonicalize_name

from py_portable.config import Config
from py_portable.errors import ConfigError
from py_portable.lock import declared
from py_portable.lock.addressed import without_login
from py_portable.lock.app import AppResolver, completed
from py_portable.lock.backend import Answer, Asker, Question
from py_portable.lock.choose import choose
from py_portable.lock.complete import Distribution, missing, python_problems
from py_portable.lock.declared import Said
from py_portable.lock.index import ask, files, metadata
from py_portable.lock.index.offers import LockedFile, Offer
from py_portable.lock.lockfile import LockedHouse, LockedPackage
from py_portable.lock.markers import ResolveTarget
from py_portable.lock.named import Named, plain
from py_portable.store import Store

MAX_SILENT_SDISTS = 50
_BUILD_FAILED = re.compile(
    r"Failed to (?:build|download and build|prepare)[^`]*`([A-Za-z0-9._-]+)==([^`\s]+)`"
)


@dataclass(frozen=True)
class Resolver:
    config: Config
    store: Store
    target: ResolveTarget
    environ: Mapping[str, str] = field(repr=False)
    asker: Asker
    _told: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    """The dependencies of sdists from an index, by project."""
    _systems: dict[tuple[tuple[str, ...], str | None], tuple[LockedFile, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """Build systems that were resolved, by their requirements and the Python: many sdists have the same."""

    @cached_property
    def app(self) -> AppResolver:
        return AppResolver(self.config, self.target, self.environ, self.asker.digest, self._ask_backend)

    def inputs(self) -> str:
        """The digest of everything on which a resolution depends: a lock with another digest is out of date."""
        return self.app.inputs()

    def holds(self, old: LockedHouse) -> bool:
        """Whether a new resolution would ask the same questions as `old` did."""
        return self.app.holds(old)

    def provide(self, house: LockedHouse) -> bool:
        """Put archives of folders on this machine into the store, since later steps cannot fetch them. Returns False
        if one is not the archive that is locked.
        """

        def lost() -> bool:
            packed = [file for file in _all(house) if file.origin and file.origin.startswith("path:")]
            return any(files.placed(self.store, file) is None for file in packed)

        if lost():
            self._named()
        return not lost()

    def resolve(self, old: LockedHouse | None = None, update: Collection[str] = ()) -> LockedHouse:
        """A new resolution. Versions of `old` stay if possible, except those of the names in `update` ("*": all).
        Raises ResolveError, or ConfigError, for example if the result is not complete.
        """
        if self.target.full is None and (full := self.asker.version()):
            # Only the interpreter knows it, and checking whether the lock is up to date must not need the interpreter.
            there = replace(self, target=replace(self.target, full=full))
            return replace(there._resolve(old, update), inputs=self.inputs(), seen=self.app.seen())
        return self._resolve(old, update)

    def _resolve(self, old: LockedHouse | None, update: Collection[str]) -> LockedHouse:
        named = self._named()
        loose = {canonicalize_name(name) for name in update}
        pins = [
            f"{p.file.name}=={p.file.version}"
            for p in (old.packages if old and "*" not in update else ())
            if p.file.name not in loose and p.file.origin is None
        ]
        try:
            offers = self._offers(named.lines, named, [*self.app.constraints, *pins])
        except ask.ResolveError:
            if not pins:
                raise
            offers = self._offers(named.lines, named, self.app.constraints)
        app = self.app.whole
        chosen = self._choose(
            [offer for offer in offers if app is None or offer.name != app.name], self.config.wheels.no_binary
        )
        locked = [named.locked(file) for file in chosen]
        self._whole(locked, named)
        packages = tuple(self._with_build(file, named) for file in locked)
        path = self.config.app.source
        app_build: tuple[LockedFile, ...] = ()
        if app is not None and path is not None and not path.name.endswith(".whl"):
            app_build = self._required(app, self.app.answer.requires)
        return LockedHouse(
            self.inputs(), packages, app_build, seen=self.app.seen(), python=self.target.full or ""
        )

    def _choose(self, offers: Iterable[Offer], no_binary: Collection[str]) -> list[LockedFile]:
        target = self.target
        return choose(
            offers, python=target.python, max_glibc=target.max_glibc, arch=target.arch, no_binary=no_binary
        )

    # ---------------------------------------------------------------------------------- asked of the index

    def _named(self) -> Named:
        return Named.of(self.app, self.store, self.asker.copy, self._ask_backend)

    def _offers(
        self,
        lines: Sequence[str],
        named: Named | None = None,
        limits: Sequence[str] = (),
        python: str | None = None,
    ) -> list[Offer]:
        """Resolve; where uv would have to build an sdist to know its dependencies, find out without running it."""
        said: dict[str, tuple[str, ...]] = {
            canonicalize_name(n): tuple(r) for n, r in self.config.wheels.metadata.items()
        }
        for _ in range(MAX_SILENT_SDISTS):
            try:
                offers = self._ask(lines, {**said, **self._told}, named, limits, python)
                files.remember(self.store, (offer for offer in offers if not offer.direct))
                return offers
            except ask.ResolveError as problem:
                failed = _BUILD_FAILED.search(problem.tail or "")
                name = canonicalize_name(failed[1]) if failed else ""
                if not failed or name in said or name in self._told:
                    raise
                self._told[name] = self._told_by_sdist(name, failed[2])
        raise ConfigError("there are too many sdists whose dependencies are unknown", where="wheels.metadata")

    def _told_by_sdist(self, name: str, version: str) -> tuple[str, ...]:
        offers = self._ask([f"{name}=={version}"], {name: ()}, deps=False)
        files.remember(self.store, offers)
        sdist = next((o for o in offers if o.name == name and not o.is_wheel), None)
        if sdist is None:
            raise ConfigError(f"{name} {version} has no sdist in the index", where="wheels.metadata")
        file = LockedFile(sdist.name, sdist.version, sdist.file, sdist.sha256, sdist.size)
        path = self._path(file)
        said = declared.said(path)
        if said.requires is None:
            said = completed(said, self._ask_backend(f"{name} {version}", path, file.sha256, said), file.file)
        assert said.requires is not None
        return said.requires

    def _ask(
        self,
        lines: Sequence[str],
        said: Mapping[str, Sequence[str]],
        named: Named | None = None,
        limits: Sequence[str] = (),
        python: str | None = None,
        deps: bool = True,
    ) -> list[Offer]:
        addresses = named.constraints if named else ()
        own = named.metadata if named else {}
        return ask.offers(
            lines,
            python=python or self.target.version,
            max_glibc=self.target.max_glibc,
            arch=self.target.arch,
            cache=self.store.cache("uv"),
            environ=self.environ,
            constraints=[*(plain(line) for line in limits), *addresses],
            overrides=named.overrides if named else (),
            metadata={**said, **own},
            versions=named.versions if named else {},
            project=named.project if named else None,
            deps=deps,
        )

    # ------------------------------------------------------------------------------ asked of build backends

    def _ask_backend(self, name: str, path: Path, digest: str, said: Said, own: bool = False) -> Answer:
        question = Question(
            name=name,
            source=path,
            digest=digest,
            backend=said.backend,
            python=self.target.version,
            metadata=said.requires is None or (said.version is None and path != self.config.app.source),
            own=own,
            build=lambda python, more: self._required(said, more, python),
        )
        answer = self.asker.recall(question)
        return self.asker.ask(question) if answer is None else answer

    def _required(
        self, said: Said, more: tuple[str, ...] = (), python: str | None = None
    ) -> tuple[LockedFile, ...]:
        """The packages that are needed to build a wheel of it. `more`: packages that its backend asked for."""
        told = self.config.wheels.build_requires.get(said.name or "", ())
        # setuptools before 70.1 asks for wheel by itself when it makes one.
        lines = (*said.backend.requires, *told, *more, "wheel")
        if (lines, python) not in self._systems:
            self._systems[lines, python] = self._build_system(lines, python)
        return self._systems[lines, python]

    def _build_system(self, lines: tuple[str, ...], python: str | None) -> tuple[LockedFile, ...]:
        offers = self._offers(lines, limits=self.app.build_constraints, python=python)
        directs = {offer.sha256: without_login(offer.url) for offer in offers if offer.direct}
        target = self.target
        found = choose(
            offers, python=python or target.python, max_glibc=target.max_glibc, arch=target.arch, no_binary=()
        )
        return tuple(replace(file, origin=directs.get(file.sha256)) for file in found)

    def _with_build(self, file: LockedFile, named: Named) -> LockedPackage:
        if file.is_wheel:
            return LockedPackage(file)
        carried = named.carried.get(file.name)
        said = carried.said if carried else declared.said(self._path(file))
        more: tuple[str, ...] = ()
        if said.asks and file.name not in self.config.wheels.build_requires:
            path = carried.path if carried else self._path(file)
            label = f"{file.name} {file.version}"
            more = self._ask_backend(label, path, file.sha256, said).requires
        return LockedPackage(file, self._required(said, more))

    def _path(self, file: LockedFile) -> Path:
        """The place of the file in the store. It is fetched if it is not there yet."""
        found = files.placed(self.store, file)
        if found is None:
            with self.store.scratch("sdist") as folder:
                target = self.target
                files.gather(
                    self.store,
                    [file],
                    folder / "files",
                    python=target.python,
                    max_glibc=target.max_glibc,
                    arch=target.arch,
                    environ=self.environ,
                )
            found = files.placed(self.store, file)
        assert found is not None
        return found

    # ------------------------------------------------------------------------------------------ the whole of it

    def _whole(self, locked: Sequence[LockedFile], named: Named) -> None:
        """Raises ConfigError if a locked package requires something that is not locked."""
        target = self.target
        texts = metadata.of_wheels(
            self.store,
            [file for file in locked if file.is_wheel],
            environ=self.environ,
            python=target.python,
            max_glibc=target.max_glibc,
            arch=target.arch,
        )
        found = {file.name: self._distribution(file, texts, named) for file in locked}
        app = self.app.whole
        if app is not None and app.name:
            found[app.name] = Distribution(app.name, app.version, (), app.requires_python)
        lost = missing(named.roots, found, target, root=(app and app.name) or "the app")
        if app is not None and app.name:
            lost = [*python_problems(found[app.name], target), *lost]
        if lost:
            raise ConfigError(
                "the resolution is incomplete: " + lost[0],
                where="portable.lock",
                tail="\n".join(lost),
                hint="wheels.metadata, wheels.constraints or an index may contradict the wheels",
            )

    def _distribution(self, file: LockedFile, texts: Mapping[str, str], named: Named) -> Distribution:
        said: Said
        carried = named.carried.get(file.name)
        if carried:
            said = carried.said
        elif file.is_wheel:
            said = declared.said_by_metadata(texts[file.sha256], file.file)
        else:
            said = declared.said(self._path(file))
        requires = self.config.wheels.metadata.get(file.name, self._told.get(file.name, said.requires or ()))
        return Distribution(file.name, file.version, tuple(requires), said.requires_python)


def _all(house: LockedHouse) -> Iterable[LockedFile]:
    for package in house.packages:
        yield from (package.file, *package.build)
    yield from house.app_build
