"""What the kit needs in an image, as the packages that each package manager knows it by."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from functools import cache

from py_portable import resources


@cache
def _table() -> Mapping[str, Mapping[str, list[str]]]:
    table: dict[str, dict[str, list[str]]] = tomllib.loads(resources.path("packages.toml").read_text())
    return table


def system_packages(manager: str, needs: Iterable[str], packages: Iterable[str] = ()) -> tuple[str, ...]:
    """The names for `manager` ("apt", "dnf", "zypper", "apk") of `needs`, and `packages` as they are, sorted.

    Raises KeyError for a need or a manager that resources/packages.toml does not know.
    """
    return tuple(sorted({*packages, *(name for need in needs for name in _table()[need][manager])}))


def optional_packages(manager: str, needs: Iterable[str]) -> tuple[str, ...]:
    """The names of what the needs want, and do without where the image's repositories do not have it."""
    return tuple(sorted({name for need in needs for name in _table()[need].get(f"{manager}-optional", ())}))


def of_interpreter(packages: Iterable[str]) -> tuple[str, ...]:
    """Those of the packages that an interpreter is compiled with where they are there."""
    known = {name for names in _table()["cpython-more"].values() for name in names}
    return tuple(name for name in packages if name in known)


def programs() -> tuple[str, ...]:
    """All programs that `provided` asks about, sorted."""
    words = (word for told in _table()["programs"].values() for word in told)
    return tuple(sorted({name for word in words for name in word.split("|")}))


def provided(package: str, present: Collection[str]) -> bool:
    """Whether the programs that the kit needs the package for are among those `present` on the PATH."""
    told = _table()["programs"].get(package)
    return bool(told) and all(any(name in present for name in word.split("|")) for word in told or ())
