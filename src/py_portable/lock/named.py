"""All requirements of the app. Those that are named by address are fetched; the index is asked for the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from py_portable.base.regular import sha256_of
from py_portable.errors import ConfigError
from py_portable.lock import declared
from py_portable.lock.addressed import Carried, Carrier, Owner, file_name, is_local
from py_portable.lock.app import AppResolver, completed, owner_of
from py_portable.lock.backend import Answer
from py_portable.lock.declared import Said
from py_portable.lock.direct import Direct
from py_portable.lock.index import files
from py_portable.lock.index.ask import quoted
from py_portable.lock.index.offers import LockedFile
from py_portable.lock.markers import parsed
from py_portable.store import Store

LIMITS = "wheels.constraints"
Ask = Callable[[str, Path, str, Said, bool], Answer]


def plain(line: str | Requirement) -> str:
    """A requirement without its address: the file that was fetched has this name, and its address is known
    elsewhere.
    """
    wanted = Requirement(str(line))
    wanted.url = None
    return str(wanted)


@dataclass(frozen=True)
class Named:
    """`roots`: what the app requires. `carried`: what was fetched by address, by project."""

    roots: tuple[Requirement, ...]
    carried: Mapping[str, Carried]
    indexes: Mapping[str, str] = field(default_factory=dict)
    """Project -> the index that [tool.uv.sources] chooses for it."""
    uv: Mapping[str, Any] = field(default_factory=dict)
    limited: frozenset[str] = frozenset()
    """The projects that only a constraint names by address."""

    @staticmethod
    def of(app: AppResolver, store: Store, copy: Callable[[Path, Path], None], ask: Ask) -> Named:
        """Fetch all that is named by address, and what that names in turn. Raises ConfigError, with its place, for
        what is not carried or not available.
        """
        carrier = Carrier(store, app.config.base, app.environ, copy)
        environment = app.target.environment
        roots = app.roots()
        limits = [(Owner(LIMITS), parsed(one, LIMITS)) for one in app.constraints]
        waiting = [*roots, *limits]
        carried: dict[str, Carried] = {}
        indexes: dict[str, str] = {}
        while waiting:
            owner, wanted = waiting.pop(0)
            direct = owner.direct(wanted, environment)
            if isinstance(direct, str):
                indexes[canonicalize_name(wanted.name)] = direct
            elif direct is not None and direct.name not in carried:
                if owner.foreign and is_local(direct):
                    raise ConfigError(
                        f"{owner.where} requires {direct.name} by a path on this machine, "
                        "but only your own project may do this",
                        where=direct.where,
                        hint="if you want this, name it in the app's dependencies or in wheels.constraints",
                    )
                one = _carry(direct, carrier, ask)
                carried[direct.name] = one
                inner = one.owner
                waiting += [(inner, parsed(line, inner.where)) for line in one.said.requires or ()]
            elif direct is not None and not carried[direct.name].same(direct):
                raise ConfigError(
                    f"{direct.name} is named with two addresses; the other one is at "
                    f"{carried[direct.name].direct.where}",
                    where=direct.where,
                )
        uv = app.said.uv if app.said else {}
        limited = frozenset(name for name, one in carried.items() if one.direct.where == LIMITS)
        return Named(tuple(wanted for _, wanted in roots), carried, indexes, uv, limited)

    @cached_property
    def lines(self) -> list[str]:
        """What the index is asked for, except what `project` asks for."""
        return [plain(one) for one in self.roots if canonicalize_name(one.name) not in self.indexes]

    @cached_property
    def constraints(self) -> list[str]:
        return [f"{name} @ {one.path.as_uri()}" for name, one in sorted(self.carried.items())]

    @cached_property
    def overrides(self) -> list[str]:
        """The addresses that constraints name. They may replace addresses that packages of the index name."""
        return [line for line in self.constraints if line.partition(" @ ")[0] in self.limited]

    @cached_property
    def metadata(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(map(plain, one.said.requires or ())) for name, one in self.carried.items()}

    @cached_property
    def versions(self) -> dict[str, str]:
        return {name: one.file.version for name, one in self.carried.items()}

    @cached_property
    def project(self) -> str | None:
        """A pyproject.toml for requirements that come from an index of their own, since a requirement cannot name an
        index.
        """
        if not self.indexes:
            return None
        lines = [plain(one) for one in self.roots if canonicalize_name(one.name) in self.indexes]
        sources = "".join(
            f"{quoted(name)} = {{index = {quoted(index)}}}\n" for name, index in self.indexes.items()
        )
        tables = "".join(
            "[[tool.uv.index]]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in table.items())
            for table in self.uv.get("index", [])
            if isinstance(table, dict)
        )
        return (
            f'[project]\nname = "py-portable-asks"\nversion = "0"\ndependencies = [{", ".join(map(quoted, lines))}]\n'
            f"[tool.uv.sources]\n{sources}{tables}"
        )

    def locked(self, file: LockedFile) -> LockedFile:
        """The file as the lock names it: with its origin if it was fetched by address."""
        one = self.carried.get(file.name)
        return one.file if one and one.file.sha256 == file.sha256 else file


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return quoted(str(value))


def _carry(direct: Direct, carrier: Carrier, ask: Ask) -> Carried:
    store = carrier.store
    with store.scratch("carry") as folder:
        made, origin = carrier.bring(direct, folder)
        sha256 = sha256_of(made)
        said = _said(made, direct)
        if said.requires is None or said.version is None:
            try:
                said = completed(said, ask(direct.name, made, sha256, said, direct.kind == "path"), made.name)
            except ConfigError as problem:
                raise ConfigError(
                    problem.what, where=direct.where, hint=problem.hint, tail=problem.tail
                ) from None
        if said.name != direct.name:
            raise ConfigError(
                f"{direct.name} is required, but the project there is {said.name}", where=direct.where
            )
        version = said.version or ""
        name = file_name(made, direct.name, version)
        try:
            file = LockedFile(direct.name, version, name, sha256, made.stat().st_size, origin)
        except ValueError as problem:
            raise ConfigError(
                f"{direct.name} says that its version is {version!r}: {problem}", where=direct.where
            ) from None
        path = files.keep(store, file, made)
    home = Path(direct.address) / direct.subdirectory
    owner = Owner(name, foreign=not is_local(direct))
    if direct.kind == "path" and home.is_dir():
        owner = owner_of(said, home, carrier.base)
    return Carried(direct, file, path, replace(said, uv={}) if not owner.folder else said, owner)


def _said(made: Path, direct: Direct) -> Said:
    try:
        return declared.said(made)
    except ConfigError as problem:
        raise ConfigError(f"{direct.name} {problem.what}", where=direct.where) from None
