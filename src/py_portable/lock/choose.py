"""Chooses between the files that an index offers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from py_portable.errors import ConfigError
from py_portable.lock.index.offers import LockedFile, Offer

LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


def platforms(max_glibc: str, arch: str) -> list[str]:
    """Platform tags that run where glibc is `max_glibc`, the most demanding first (PEP 600)."""
    minor = int(max_glibc.split(".")[1])
    tags = []
    for level in range(minor, 4, -1):
        tags.append(f"manylinux_2_{level}_{arch}")
        if level in LEGACY and (level == 17 or arch in ("x86_64", "i686")):
            tags.append(f"{LEGACY[level]}_{arch}")
    return tags


def supported(python: str, max_glibc: str, arch: str) -> list[Tag]:
    """The tags that CPython `python` accepts on such a system, the best one first."""
    version = [int(part) for part in python.split(".")[:2]]
    names = platforms(max_glibc, arch)
    return [
        *cpython_tags(python_version=version, platforms=names),
        *compatible_tags(python_version=version, interpreter=f"cp{version[0]}{version[1]}", platforms=names),
    ]


def choose(
    offers: Iterable[Offer], *, python: str, max_glibc: str, arch: str, no_binary: Collection[str]
) -> list[LockedFile]:
    """One file for each package: the wheel that fits best, or the sdist if that is wanted or nothing else fits.

    Raises ConfigError for a package that offers neither.
    """
    rank = {tag: place for place, tag in enumerate(supported(python, max_glibc, arch))}
    compiled = {canonicalize_name(name) for name in no_binary}
    by_name: dict[str, list[Offer]] = {}
    for offer in offers:
        by_name.setdefault(offer.name, []).append(offer)
    return [
        _one(name, files, rank, name in compiled, f"CPython {python}, {arch}, glibc {max_glibc}")
        for name, files in sorted(by_name.items())
    ]


def _one(
    name: str, files: Sequence[Offer], rank: dict[Tag, int], from_source: bool, target: str
) -> LockedFile:
    wheels = (
        []
        if from_source
        else [(r, o) for o in files if o.is_wheel and (r := _rank(o.file, rank)) is not None]
    )
    sdists = [o for o in files if not o.is_wheel]
    if wheels:
        first = min(pair[0] for pair in wheels)
        alike = sorted((o for place, o in wheels if place == first), key=lambda o: o.file)
        # Like pip: first by the tags, then by the highest build number (PEP 427; a wheel without one comes last).
        chosen = max(alike, key=lambda o: parse_wheel_filename(o.file)[2])
    elif sdists:
        chosen = sdists[0]
    else:
        what = "no sdist to compile" if from_source else f"no wheel for {target} and no sdist"
        raise ConfigError(
            f"{name} {files[0].version} has {what}",
            where="wheels.no-binary" if from_source else "wheels",
            hint="allow its wheel (take it out of wheels.no-binary), or pin a version that has one",
        )
    return LockedFile(chosen.name, chosen.version, chosen.file, chosen.sha256, chosen.size)


def _rank(file: str, rank: dict[Tag, int]) -> int | None:
    try:
        tags = parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return None
    return min((rank[tag] for tag in tags if tag in rank), default=None)
