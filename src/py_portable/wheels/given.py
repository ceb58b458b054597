"""`wheels.use`: takes the app's wheel from a folder with wheels that were built elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag, cpython_tags
from packaging.utils import BuildTag, InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from py_portable.base.regular import copy_regular, sha256_of
from py_portable.base.tarball import RefusedError
from py_portable.base.zips import checked
from py_portable.errors import ConfigError, StepError
from py_portable.lock.choose import supported

WHERE = "wheels.use"
_BOMB = (
    "list its contents: python -m zipfile --list WHEEL; use another version, or get it from another source"
)


@dataclass(frozen=True)
class Given:
    """A wheel in the user's own folder. `sha256` is in hex."""

    path: Path
    sha256: str


def choose(
    folder: Path, distribution: str | None, *, python: str, max_glibc: str, arch: str, where: str = WHERE
) -> Given:
    """The wheel of the app that fits best: the one that pip would choose, or else one that has to be repaired.

    Raises ConfigError where none fits or two fit alike.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".whl"))
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=f"{where}: {folder}") from None
    name = best(
        names, distribution, python=python, max_glibc=max_glibc, arch=arch, where=f"{where}: {folder}"
    )
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise ConfigError(f"{name} is not a regular file", where=f"{where}: {folder}")
    return Given(path, sha256_of(path))


def best(
    names: Iterable[str],
    distribution: str | None,
    *,
    python: str,
    max_glibc: str,
    arch: str,
    where: str = WHERE,
) -> str:
    """The file name of the best wheel of `distribution` (None: of whatever is there) for the target.

    Raises ConfigError where none fits or two fit alike.
    """
    tags = [*supported(python, max_glibc, arch), *_unrepaired(python, arch)]
    rank = {tag: place for place, tag in reversed(list(enumerate(tags)))}
    target = f"CPython {python}, {arch}, glibc {max_glibc}"
    names = list(names)
    fitting: list[tuple[int, str]] = []
    builds: dict[tuple[str, str], tuple[BuildTag, str]] = {}
    for name in names:
        try:
            project, version, build, tags_of = parse_wheel_filename(name)
        except InvalidWheelFilename:
            continue
        if distribution is not None and project != canonicalize_name(distribution):
            continue
        ranks = [rank[tag] for tag in tags_of if tag in rank]
        if ranks:
            # Of wheels that differ in their build number only, pip takes the highest.
            same = (str(version), "-".join(name.split("-")[-3:]))
            builds[same] = max(builds.get(same, ((), "")), (build, name))
            fitting.append((min(ranks), name))
    fitting = [(place, name) for place, name in fitting if name in {newest for _, newest in builds.values()}]
    if not fitting:
        raise ConfigError(
            f"has no wheel of {distribution or 'the app'} for {target}",
            where=where,
            tail="\n".join(names) or "it contains no wheels",
            hint="build one for this Python and an older glibc, or change python or wheels.max-glibc",
        )
    first = min(fitting)[0]
    alike = [name for place, name in fitting if place == first]
    if len(alike) > 1:
        raise ConfigError(
            f"has several wheels that fit {target} equally well",
            where=where,
            tail="\n".join(alike),
            hint="leave one of them in the folder",
        )
    return alike[0]


def _unrepaired(python: str, arch: str) -> list[Tag]:
    version = [int(part) for part in python.split(".")[:2]]
    return list(cpython_tags(python_version=version, platforms=[f"linux_{arch}"]))


def taken(path: Path, sha256: str, into: Path) -> None:
    """Copy a wheel from the user's folder. Raises StepError if it has changed since it was chosen."""
    copy_regular(path, into / path.name)
    if sha256_of(into / path.name) != sha256:
        raise StepError(f"{path.name} changed during the run", where=str(path.parent), hint="run again")
    bounded(into / path.name)


def bounded(wheel: Path) -> Path:
    """Check that a wheel is not a zip bomb, before pip or another program unpacks it. Raises StepError."""
    try:
        return checked(wheel)
    except (RefusedError, OSError) as problem:
        raise StepError(f"a wheel cannot be used: {problem}", hint=_BOMB) from None
