"""What the app requires, and whether a lock was made for these requirements."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from py_portable.base.regular import sha256_of
from py_portable.config import Config
from py_portable.errors import ConfigError
from py_portable.lock import declared
from py_portable.lock.addressed import Owner
from py_portable.lock.backend import Answer
from py_portable.lock.declared import Said
from py_portable.lock.index import constraints
from py_portable.lock.lockfile import LockedHouse
from py_portable.lock.markers import ResolveTarget, parsed, selected


@dataclass(frozen=True)
class AppResolver:
    """The app of a config. `digest` hashes a source as it is copied for a build; `ask` asks a build backend."""

    config: Config
    target: ResolveTarget
    environ: Mapping[str, str]
    digest: Callable[[Path], str]
    ask: Callable[[str, Path, str, Said, bool], Answer]

    # ------------------------------------------------------------------------------- whether a lock is up to date

    def holds(self, old: LockedHouse) -> bool:
        """Whether a new resolution would ask the same questions as `old` did. A backend is asked only if its source
        has changed.
        """
        seen = self.seen()
        return (seen != "" and old.seen == seen) or old.inputs == self.inputs()

    def inputs(self) -> str:
        """The digest of everything on which a resolution depends: a lock with another digest is out of date."""
        return self._hashed(self._app_fact())

    def seen(self) -> str:
        """The same digest, but over the whole source instead of the answer of its build backend; "" if no backend is
        asked.
        """
        return self._hashed({"source": self._source_digest}) if self._asked else ""

    def _hashed(self, fact: Any) -> str:
        app, wheels = self.config.app, self.config.wheels
        told = {
            "target": [self.target.version, self.target.max_glibc, self.target.arch],
            "requirement": app.requirement,
            "extras": list(app.extras),
            **({"with": list(app.with_)} if app.with_ else {}),
            "no-binary": sorted(map(canonicalize_name, wheels.no_binary)),
            "metadata": _listed(wheels.metadata),
            "build-requires": _listed(wheels.build_requires),
            "source": fact,
            "paths": self._path_facts,
            "constraints": list(self.constraints),
            "build-constraints": list(self.build_constraints),
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _app_fact(self) -> Any:
        path, said = self.config.app.source, self.said
        if path is None or said is None:
            return None
        if path.is_file():
            return sha256_of(path)
        fact = {
            "name": said.name,
            "requires": said.requires,
            "requires-python": said.requires_python,
            "backend": asdict(said.backend),
            "uv": json.loads(json.dumps(said.uv, default=str)),
        }
        if self._asked:
            answer = self.answer
            told = declared.said_by_metadata(answer.metadata, str(path)) if answer.metadata else None
            fact |= {"asked": answer.requires, "answered": told and [told.requires, told.requires_python]}
        return fact

    @cached_property
    def constraints(self) -> tuple[str, ...]:
        return (*self.config.wheels.constraints, *constraints.constraints(self.environ))

    @cached_property
    def build_constraints(self) -> tuple[str, ...]:
        return constraints.constraints(self.environ, build=True)

    @cached_property
    def _path_facts(self) -> list[tuple[str, str]]:
        """The digests of the folders and files at which dependencies lie, and of those at which their own dependencies
        lie.
        """
        found: dict[str, str] = {}
        waiting = list(self.named())
        while waiting:
            owner, wanted = waiting.pop(0)
            direct = owner.direct(wanted, self.target.environment)
            if direct is None or isinstance(direct, str) or direct.kind != "path":
                continue
            path = Path(direct.address) / direct.subdirectory
            if direct.address in found or not path.exists():
                continue
            found[direct.address] = self.digest(path) if path.is_dir() else sha256_of(path)
            said = declared.said(path)
            inner = owner_of(said, path, self.config.base)
            waiting += [(inner, parsed(line, inner.where)) for line in said.requires or ()]
        return sorted((direct.rpartition("/")[2], digest) for direct, digest in found.items())

    # ------------------------------------------------------------------------------------------- what the app says

    @cached_property
    def said(self) -> Said | None:
        """The declarations of the app's source; None for an app from an index. Raises ConfigError at app.source."""
        path = self.config.app.source
        if path is None:
            return None
        try:
            return declared.said(path)
        except ConfigError as problem:
            if path.is_dir():
                raise
            where = self.config.where(("app", "source"))
            raise ConfigError(f"{path.name} {problem.what}", where=where, hint=problem.hint) from None

    @cached_property
    def _asked(self) -> bool:
        """Whether the build backend of the app's source is asked anything."""
        said = self.said
        return (
            said is not None
            and self.config.app.source is not None
            and (said.requires is None or (said.asks and said.name not in self.config.wheels.build_requires))
        )

    @cached_property
    def _source_digest(self) -> str:
        path = self.config.app.source
        assert path is not None
        return self.digest(path)

    @cached_property
    def answer(self) -> Answer:
        said, path = self.said, self.config.app.source
        assert said is not None and path is not None
        if not self._asked:
            return Answer()
        return self.ask(said.name or path.name, path, self._source_digest, said, True)

    @cached_property
    def whole(self) -> Said | None:
        """The declarations of the app's source, completed by the answers of its build backend."""
        said = self.said
        return said and completed(said, self.answer, str(self.config.app.source))

    def named(self) -> Iterable[tuple[Owner, Requirement]]:
        """All requirements of the app and the config that are known without asking anything."""
        app = self.config.app
        if app.requirement:
            where = self.config.where(("app", "requirement"))
            yield Owner(where), parsed(app.requirement, where)
        elif self.said is not None and app.source is not None:
            owner = owner_of(self.said, app.source, self.config.base)
            for line in self.said.requires or ():
                yield owner, parsed(line, owner.where)
        yield from self._beside()
        yield from (
            (Owner("wheels.constraints"), parsed(line, "wheels.constraints")) for line in self.constraints
        )

    def _beside(self) -> list[tuple[Owner, Requirement]]:
        """What the config wants beside the app. Relative paths in it start at the folder of the config."""
        config = self.config
        found = []
        for number, line in enumerate(config.app.with_):
            where = config.where(("app", "with", number))
            found.append((Owner(where, config.base), parsed(line, where)))
        return found

    def roots(self) -> list[tuple[Owner, Requirement]]:
        """What is asked for by itself: the app, or what its source requires, and what the config wants beside it."""
        return [*self._of_app(), *self._beside()]

    def _of_app(self) -> list[tuple[Owner, Requirement]]:
        app = self.config.app
        if app.requirement:
            where = self.config.where(("app", "requirement"))
            wanted = parsed(app.requirement, where)
            wanted.extras |= set(app.extras)
            return [(Owner(where), wanted)]
        said, path = self.whole, app.source
        assert said is not None and path is not None
        owner = owner_of(said, path, self.config.base)
        chosen = selected(said.name, said.requires or (), app.extras, self.target, owner.where)
        return [(owner, wanted) for wanted in chosen]


def completed(said: Said, answer: Answer, where: str) -> Said:
    """The declarations of a source, completed by the answers of its build backend."""
    if answer.metadata is None:
        return said
    told = declared.said_by_metadata(answer.metadata, where)
    return Said(
        told.name, told.version, told.requires, told.requires_python, said.backend, said.asks, said.uv
    )


def owner_of(said: Said, path: Path, base: Path) -> Owner:
    """The owner of a source's requirements, for messages and for relative paths."""
    if not path.is_dir():
        return Owner(path.name)
    project = path / "pyproject.toml"
    text = project.read_text("utf-8", "replace") if project.is_file() else ""
    sources = said.uv.get("sources", {})
    return Owner(_shown(project, base), path, sources if isinstance(sources, dict) else {}, text)


def _shown(path: Path, base: Path) -> str:
    return os.path.relpath(path, base) if path.is_relative_to(base.parent) else str(path)


def _listed(told: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    return {canonicalize_name(name): list(values) for name, values in told.items()}
