"""Releases that are compiled here, CPython and C libraries: by version and digest, with every place they come from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from py_portable import resources
from py_portable.base.fetch import FileSource, Url
from py_portable.images.debian.pool import DebianPool


@dataclass(frozen=True)
class Pin:
    """One file of `resources/sources.toml`: its version, digest, size limit, and where it is available."""

    version: str
    sha256: str
    max_bytes: int
    sources: tuple[FileSource, ...]
    file_name: str


@cache
def pins() -> Mapping[str, Mapping[str, Pin]]:
    """Pinned source files: kind (`cpython`) -> series (`3.13`) -> pin."""
    table = tomllib.loads(resources.path("sources.toml").read_text())
    return {kind: {name: _pin(entry) for name, entry in entries.items()} for kind, entries in table.items()}


def _pin(entry: Mapping[str, object]) -> Pin:
    url, pool = str(entry["url"]), str(entry["debian-pool"])
    size = entry["max-bytes"]
    assert isinstance(size, int)
    return Pin(
        version=str(entry["version"]),
        sha256=str(entry["sha256"]),
        max_bytes=size,
        sources=(Url(url), DebianPool(pool)),
        file_name=url.rpartition("/")[2],
    )
