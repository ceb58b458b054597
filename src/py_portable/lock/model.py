"""`portable.lock` as data: every name resolved once, with digests. JSON, sorted, one fact a line for diffs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from py_portable.errors import ConfigError
from py_portable.index.model import LockedFile
from py_portable.regular import read_regular

VERSION = 1
MAX_BYTES = 64 << 20
"""A lock has about 1 kB for a package."""


@dataclass(frozen=True)
class LockedPackage:
    """What is taken of a package; `build` is what an sdist's build system requires."""

    file: LockedFile
    build: tuple[LockedFile, ...] = ()


@dataclass(frozen=True)
class LockedHouse:
    """One resolution: all packages for a (baseline, interpreter). `inputs` is the digest of what was asked."""

    inputs: str
    packages: tuple[LockedPackage, ...]
    app_build: tuple[LockedFile, ...] = ()
    """What the build system of the app's own source requires."""


@dataclass(frozen=True)
class Lock:
    """`images`: node -> identity. `pins`: what the kit itself pins (interpreters, build tools) -> version and
    digest. `houses`: "baseline/python" -> its resolution. `origins`: name of a registry image -> digest."""

    images: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    houses: Mapping[str, LockedHouse] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)

    def with_house(self, name: str, house: LockedHouse) -> Lock:
        return replace(self, houses={**self.houses, name: house})

    def with_images(self, images: Mapping[str, str], origins: Mapping[str, str] | None = None) -> Lock:
        return replace(self, images={**self.images, **images}, origins={**self.origins, **(origins or {})})


def dumps(lock: Lock) -> str:
    told = {
        "version": VERSION,
        "images": dict(lock.images),
        "origins": dict(lock.origins),
        "pins": dict(lock.pins),
        "houses": {k: asdict(v) for k, v in lock.houses.items()},
    }
    return json.dumps(told, indent=1, sort_keys=True) + "\n"


def loads(text: str, where: str) -> Lock:
    """Raises ConfigError where the text is not a lock of this version."""
    try:
        told = json.loads(text)
        if told["version"] != VERSION:
            raise ConfigError(
                f"is a lock of version {told['version']}, expected {VERSION}", where=where, hint=_AGAIN
            )
        return Lock(
            {k: _text(v) for k, v in told["images"].items()},
            {k: _text(v) for k, v in told["pins"].items()},
            {k: _house(v) for k, v in told["houses"].items()},
            {k: _text(v) for k, v in told.get("origins", {}).items()},
        )
    except json.JSONDecodeError as problem:
        raise ConfigError("is not JSON", where=f"{where}:{problem.lineno}:{problem.colno}", hint=_AGAIN)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as problem:
        raise ConfigError(f"is not a lock: {type(problem).__name__}: {problem}", where=where, hint=_AGAIN)


_AGAIN = "delete the file and run: py-portable lock"


def load(path: Path) -> Lock:
    """The lock in `path`, an empty one where there is no such file."""
    try:
        return loads(read_regular(path, MAX_BYTES).decode("utf-8"), path.name)
    except FileNotFoundError:
        return Lock()
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=path.name, hint=_AGAIN)
    except UnicodeDecodeError as problem:
        raise ConfigError(f"cannot be read: {problem}", where=path.name, hint=_AGAIN)


def _house(told: Any) -> LockedHouse:
    return LockedHouse(
        _text(told["inputs"]),
        tuple(LockedPackage(_file(p["file"]), tuple(map(_file, p["build"]))) for p in told["packages"]),
        tuple(map(_file, told["app_build"])),
    )


def _text(told: Any) -> str:
    if not isinstance(told, str):
        raise ValueError(f"{told!r} is not text")
    return told


def _file(told: Any) -> LockedFile:
    name, version, file_name, sha256 = (_text(told[key]) for key in ("name", "version", "file", "sha256"))
    size = told["size"]
    if size is not None and (type(size) is not int or size < 0):
        raise ValueError(f"{size!r} is not a size")
    file = LockedFile(name, version, file_name, sha256, size)
    if len(file.sha256) != 64 or set(file.sha256) - set("0123456789abcdef"):
        raise ValueError(f"{file.file}: {file.sha256!r} is not a sha256")
    return file
