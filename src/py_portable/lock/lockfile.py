"""`portable.lock` as data: every name resolved once, with digests. JSON, sorted, one fact a line for diffs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from py_portable.base import printable, shape
from py_portable.base.regular import read_regular
from py_portable.errors import ConfigError
from py_portable.lock.index.offers import LockedFile

VERSION = 1
MAX_BYTES = 64 << 20
"""A lock has about 1 kB for a package."""


@dataclass(frozen=True)
class LockedPackage:
    """The file of a package that is used. `build`: the requirements of the build system, for an sdist."""

    file: LockedFile
    build: tuple[LockedFile, ...] = ()


@dataclass(frozen=True)
class LockedHouse:
    """One resolution: all packages for a (baseline, interpreter). `inputs` is the digest of what was asked."""

    inputs: str
    packages: tuple[LockedPackage, ...]
    app_build: tuple[LockedFile, ...] = ()
    """What the build system of the app's own source requires."""
    seen: str = ""
    """Like `inputs`, but over the whole source instead of the answer of its build backend; "": no backend was asked."""
    python: str = ""
    """The full version of the interpreter with which markers were evaluated; "": it was not known."""


@dataclass(frozen=True)
class Lock:
    """`images`: node -> identity. `pins`: what the kit itself pins (interpreters, build tools) -> version and
    digest. `houses`: "baseline/python" -> its resolution. `origins`: name of a registry image -> digest. `archives`:
    name of a bootstrapped image -> where its packages came from, if not from the machine's mirror."""

    images: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    houses: Mapping[str, LockedHouse] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    archives: Mapping[str, str] = field(default_factory=dict)

    def with_house(self, name: str, house: LockedHouse) -> Lock:
        return replace(self, houses={**self.houses, name: house})

    def with_images(
        self,
        images: Mapping[str, str],
        origins: Mapping[str, str] | None = None,
        archives: Mapping[str, str | None] | None = None,
    ) -> Lock:
        """`archives`: None for an image whose packages come from the machine's mirror."""
        kept = {**self.archives, **(archives or {})}
        return replace(
            self,
            images={**self.images, **images},
            origins={**self.origins, **(origins or {})},
            archives={name: archive for name, archive in kept.items() if archive},
        )


def dumps(lock: Lock) -> str:
    told = {
        "version": VERSION,
        "images": dict(lock.images),
        "origins": dict(lock.origins),
        **({"archives": dict(lock.archives)} if lock.archives else {}),
        "pins": dict(lock.pins),
        "houses": {k: _without_empty(asdict(v)) for k, v in lock.houses.items()},
    }
    return json.dumps(told, indent=1, sort_keys=True) + "\n"


_OPTIONAL = ("origin", "seen", "python")


def _without_empty(told: Any) -> Any:
    if isinstance(told, dict):
        return {k: _without_empty(v) for k, v in told.items() if v or k not in _OPTIONAL}
    return [_without_empty(one) for one in told] if isinstance(told, (list, tuple)) else told


def loads(text: str | bytes, where: str) -> Lock:
    """Raises ConfigError, which names the key, if the text is not a lock of this version."""
    try:
        told = shape.parse(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        version = _part(told, "version", "", (int,))
        if version != VERSION:
            raise ConfigError(f"has version {version}, expected {VERSION}", where=where, hint=_AGAIN)
        return Lock(
            _texts(told.get("images"), "images"),
            _texts(told.get("pins"), "pins"),
            {name: _house(one, f"houses.{name}") for name, one in _part(told, "houses", "", (dict,)).items()},
            _texts(told.get("origins", {}), "origins"),
            _texts(told.get("archives", {}), "archives"),
        )
    except shape.Misfit as problem:
        raise ConfigError(_shown(problem), where=f"{where}{problem.place}", hint=_AGAIN)
    except ValueError as problem:
        raise ConfigError(f"is not a lock: {_shown(problem)}", where=where, hint=_AGAIN)


def _shown(problem: Exception) -> str:
    return printable.short(printable.line(str(problem)), 300)


_AGAIN = "delete the file and run: py-portable lock"


def load(path: Path) -> Lock:
    """The lock in `path`, or an empty lock if there is no such file."""
    try:
        return loads(read_regular(path, MAX_BYTES), path.name)
    except FileNotFoundError:
        return Lock()
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=path.name, hint=_AGAIN)


def _house(told: Any, key: str) -> LockedHouse:
    packages = enumerate(_part(told, "packages", key, (list,)))
    return LockedHouse(
        _part(told, "inputs", key, (str,)),
        tuple(_package(one, f"{key}.packages[{number}]") for number, one in packages),
        _files(told, "app_build", key),
        seen=_part({"seen": "", **told}, "seen", key, (str,)),
        python=_part({"python": "", **told}, "python", key, (str,)),
    )


def _package(told: Any, key: str) -> LockedPackage:
    return LockedPackage(_file(_part(told, "file", key, (dict,)), f"{key}.file"), _files(told, "build", key))


def _files(told: Any, name: str, key: str) -> tuple[LockedFile, ...]:
    found = enumerate(_part(told, name, key, (list,)))
    return tuple(_file(one, f"{key}.{name}[{number}]") for number, one in found)


def _texts(told: Any, key: str) -> dict[str, str]:
    if not isinstance(told, dict):
        raise ValueError(f"{key} is not an object")
    return {name: _part(told, name, key, (str,)) for name in told}


def _part(told: Any, name: str, key: str, kinds: tuple[type, ...]) -> Any:
    """A value of an object. Raises ValueError, which names it."""
    where = f"{key}.{name}" if key else name
    if not isinstance(told, dict) or name not in told:
        raise ValueError(f"it has no {where}")
    if type(told[name]) not in kinds:
        raise ValueError(f"{where} cannot be {told[name]!r:.80}")
    return told[name]


def _file(told: Any, key: str) -> LockedFile:
    name, version, file_name, sha256 = (
        _part(told, part, key, (str,)) for part in ("name", "version", "file", "sha256")
    )
    size = _part(told, "size", key, (int, type(None)))
    if size is not None and size < 0:
        raise ValueError(f"{key}.size cannot be {size}")
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise ValueError(f"{key}.sha256: {sha256!r:.80} is not a sha256")
    origin = _part({"origin": None, **told}, "origin", key, (str, type(None)))
    return LockedFile(name, version, file_name, sha256, size, origin)
