"""What the kinds of machines are, from machines.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast

FILE = Path(__file__).with_name("machines.toml")
Sudo = Literal["without-password", "with-password", "none"]


@dataclass(frozen=True)
class Kind:
    """See the head of machines.toml."""

    name: str
    source: str
    differs: str
    packages: tuple[str, ...]
    user: str
    path: str
    sudo: Sudo
    groups: tuple[str, ...]
    docker: bool
    refuses: tuple[str, ...]
    apparmor: bool
    present: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def home(self) -> str:
        return "/root" if self.user == "root" else f"/home/{self.user}"


@cache
def base() -> tuple[str, ...]:
    """Packages that all kinds have."""
    return tuple(_read()["base"])


@cache
def kinds() -> Mapping[str, Kind]:
    """Raises TypeError, KeyError where the file is not complete."""
    found = {}
    for name, told in _read().items():
        if name != "base":
            lists = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
            found[name] = Kind(name=name, **cast("dict[str, object]", lists))  # type: ignore[arg-type]
    return found


@cache
def _read() -> dict[str, dict[str, object] | list[str]]:
    return tomllib.loads(FILE.read_text("utf-8"))
