"""What the kit needs in an image, as the packages that each package manager knows it by."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
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
