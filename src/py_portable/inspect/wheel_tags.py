"""Platform tags of wheels: what a tag promises, and which tags an allowed one admits (PEP 425, 600, 656)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}

_LIBC_TAG = re.compile(r"(manylinux|musllinux)_([0-9]{1,4})_([0-9]{1,4})_([a-z0-9_]+)")
_LEGACY_TAG = re.compile(r"(manylinux1|manylinux2010|manylinux2014)_([a-z0-9_]+)")
_LINUX_TAG = re.compile(r"linux_([a-z0-9_]+)")
_OTHER_TAG = re.compile(
    r"any|win32|win_[a-z0-9]+|(macosx|ios|android|emscripten|pyodide|freebsd|graalpy)_[a-z0-9_]+"
)


@dataclass(frozen=True)
class Platform:
    """A platform tag taken apart. `libc` is None for a tag that promises none, `linux_*` among them."""

    tag: str
    libc: Literal["glibc", "musl"] | None
    version: tuple[int, int]
    arch: str | None


@lru_cache(maxsize=4096)
def platform(tag: str) -> Platform:
    """Take a platform tag apart; manylinux1, 2010 and 2014 come out as glibc 2.5, 2.12 and 2.17."""
    if match := _LIBC_TAG.fullmatch(tag):
        return Platform(
            tag, "glibc" if match[1] == "manylinux" else "musl", (int(match[2]), int(match[3])), match[4]
        )
    if match := _LEGACY_TAG.fullmatch(tag):
        return Platform(tag, "glibc", LEGACY[match[1]], match[2])
    match = _LINUX_TAG.fullmatch(tag)
    return Platform(tag, None, (0, 0), match[1] if match else None)


def expand(tags: Iterable[str]) -> tuple[str, ...]:
    """The single tags of compressed sets (`manylinux1_i686.manylinux_2_5_i686`), lower case, once each."""
    return tuple(dict.fromkeys(part for tag in tags for part in tag.strip().lower().split(".")))


def is_known(tag: str) -> bool:
    """False for a platform tag no installer knows, such as `manylinux_2_28` without its architecture."""
    known = platform(tag)
    return known.libc is not None or known.arch is not None or _OTHER_TAG.fullmatch(tag) is not None


def admits(allowed: str, tag: str) -> bool:
    """True where a system described by `allowed` runs what `tag` promises: equal, or an older libc."""
    if allowed == tag:
        return True
    ours, theirs = platform(allowed), platform(tag)
    return (
        ours.libc is not None
        and (ours.libc, ours.arch, ours.version[0]) == (theirs.libc, theirs.arch, theirs.version[0])
        and theirs.version <= ours.version
    )


def supported(tags: Iterable[str], allowed: Iterable[str], *, exact: bool = False) -> bool:
    """True where at least one of a wheel's single tags is admitted; `exact` is plain set membership."""
    wanted = tuple(allowed)
    return any(tag in wanted if exact else any(admits(one, tag) for one in wanted) for tag in tags)
