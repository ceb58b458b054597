"""Passes files from job to job in tar archives, since GitHub's artifacts lose the modes of files."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from py_portable.base import process
from py_portable.base.placing import lay
from py_portable.base.regular import sha256_of
from py_portable.base.tarball import Bounds, RefusedError, opened
from py_portable.base.untar import extract
from py_portable.ci.job_config import Project
from py_portable.engines import ids
from py_portable.errors import ConfigError, MachineError
from py_portable.images.layers import stack
from py_portable.images.layers.blobs import PLAIN_TAR
from py_portable.images.layers.stack import Layer
from py_portable.plan.shards import FILE as PLAN
from py_portable.store.entry import DamageFound
from py_portable.store.handed import checked, keep
from py_portable.store.ranged import remove_tree
from py_portable.store.walk import remove

DIST, STORE = "dist.tar", "store.tar"
_STORE_PARTS = ("objects", "cache", "CACHEDIR.TAG")
_ANSWERS = ("cache/index", "cache/uv")
"""The answers of indexes. Their addresses may contain a token that cannot be recognised, and caches are shared."""
_VERDICTS = "cache/passes"
"""Results of cells that are remembered on a machine. They are not passed on, since they cannot be checked
elsewhere."""
_FOLDERS = ("objects", "cache")
_STORE_FOLDERS = ("objects", "tmp", "locks", "cache", "logs/failed", "quarantine")
_KITS_OWN = ("evidence", "logs")
"""The folders in dist into which the kit writes."""
PLAN_JOB = "plan"
BOUNDS = Bounds()
_SMALL = ("evidence", "logs", "report.md", "junit.xml")


def pack_dist(found: Sequence[Project], here: Path, to: Path, *, small: bool = False) -> Path:
    """Pack locks and dist folders, by their paths below `here`. `small`: only the records of a run from dist."""
    names = []
    for project in found:
        inside = [project.dist / name for name in _SMALL] if small else _own(project, here)
        for path in inside:
            if path.exists():
                _below(path, here)
                names.append(f"./{path.relative_to(here)}")
    to.mkdir(parents=True, exist_ok=True)
    archive = to / DIST
    argv: list[str | Path] = ["tar", "--create", "--file", archive, "--directory", here, "--numeric-owner"]
    # A folder that was made with a CI's umask of 0 must not make the whole archive unusable.
    argv.append("--mode=u-s,g-s,o-w")
    process.check([*argv, "--files-from", os.devnull, "--", *names], what="packing", error=MachineError)
    return archive


def _below(path: Path, here: Path) -> None:
    """Raises MachineError for a place outside of `here`, which cannot be put into the archive."""
    if not Path(os.path.normpath(path)).is_relative_to(here):
        raise MachineError(
            "only files inside the repository can be passed to other jobs",
            where=str(path),
            hint="choose a --dist inside it",
        )


def unpack_dist(archives: Sequence[Path], here: Path, found: Sequence[Project]) -> int:
    """What other jobs handed on, the later one's word counts; how many there were.

    Of plans only that of the plan's own job counts, whose folder is called so: shards are held against it, and it names
    the helpers that may start cells. A job that ran what strangers wrote must not bring another one.

    Only locks and what lies in dist folders is taken: those jobs started what strangers wrote. Digests speak of modes,
    so these are kept; setuid, setgid and world-writable ones are refused. All is unpacked beside and put in its place
    by renames: jobs that share a workspace may do so at the same time. Raises ConfigError.
    """
    own = [_own(project, here) for project in found]
    for path in (path for paths in own for path in paths):
        _below(path, here)
    dists, locks = (
        [PurePosixPath(os.path.relpath(path, here)) for path in paths] for paths in zip(*own, strict=True)
    )
    places = [*dists, *locks]
    plans = [dist / PLAN for dist in dists]
    planned = any(archive.parent.name == PLAN_JOB for archive in archives)
    if not archives:
        return 0
    room = Path(tempfile.mkdtemp(prefix=".py-portable-taken-", dir=here))
    try:
        for archive in archives:
            where = f"{archive.parent.name}/{archive.name}"
            try:
                with opened(archive, BOUNDS) as tar:
                    extract(
                        tar,
                        room,
                        bounds=BOUNDS,
                        modes="kept",
                        links_out=True,
                        admit=lambda path: _place(path, places) is not None,
                        admit_link=lambda path: _may_be_link(path, places),
                    )
                if planned:
                    _keep_plans(archive, room, plans)
            except (RefusedError, OSError) as problem:
                raise ConfigError(f"cannot be unpacked: {problem}", where=where)
        for number, plan in enumerate(plans):
            if (own_plan := room / f"{number}.{PLAN}").exists():
                own_plan.replace(room / plan)
        # The deepest first, because the dist folder of one config may lie in that of another.
        for place in sorted(places, key=lambda one: -len(one.parts)):
            _put(room / place, here, place, folder=place in dists)
    finally:
        remove(room)
    return len(archives)


def _keep_plans(archive: Path, room: Path, plans: Sequence[PurePosixPath]) -> None:
    """Keep the plan of the plan's own job, and remove plans from other jobs."""
    for number, plan in enumerate(plans):
        if archive.parent.name == PLAN_JOB and os.path.lexists(room / plan):
            (room / plan).replace(room / f"{number}.{PLAN}")
        remove(room / plan)


def _place(path: PurePosixPath, places: Sequence[PurePosixPath]) -> PurePosixPath | None:
    """The lock or dist folder that the path lies in."""
    return max(
        (one for one in places if path.is_relative_to(one)), key=lambda one: len(one.parts), default=None
    )


def _may_be_link(path: PurePosixPath, places: Sequence[PurePosixPath]) -> bool:
    """Links are allowed only inside artifacts and carried files: through any other link this job would write
    elsewhere.
    """
    place = _place(path, places)
    parts = path.relative_to(place).parts if place else ()
    return len(parts) > 1 and parts[0] not in _KITS_OWN


def _put(fresh: Path, here: Path, place: PurePosixPath, *, folder: bool) -> None:
    if not os.path.lexists(fresh):
        return
    if fresh.is_dir() != folder or fresh.is_symlink():
        raise ConfigError("a file from another job is not what its name says", where=str(place))
    for above in reversed(place.parents):
        if (here / above).is_symlink():
            raise ConfigError("a file from another job leads through a link", where=str(above))
        (here / above).mkdir(exist_ok=True)
    try:
        lay(fresh, here / place)
    except OSError as problem:
        raise ConfigError(f"cannot be put in place: {problem.strerror}", where=str(problem.filename or place))


def _own(project: Project, here: Path) -> tuple[Path, Path]:
    return project.dist, (here / project.config).with_suffix(".lock")


def pack_store(store: Path, to: Path) -> Path | None:
    """Pack the store, with files that belong to ids of a mapped range. None if there is no store."""
    parts = [name for name in _STORE_PARTS if (store / name).exists()]
    if _STORE_PARTS[-1] not in parts:
        return None
    to.mkdir(parents=True, exist_ok=True)
    archive = to / STORE
    argv: list[str | Path] = [
        *ids.prefix(),
        "tar",
        "--create",
        "--file",
        archive,
        "--directory",
        store,
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--anchored",
        *(f"--exclude={name}" for name in (*_ANSWERS, _VERDICTS)),
    ]
    process.check([*argv, "--", *parts], what="packing the store", error=MachineError)
    return archive


def _owners() -> stack.Owners:
    """Without a range of ids all files in a store belong to its owner (engines/beside.py)."""
    return "given" if ids.available() else "mine"


def unpack_store(folder: Path, store: Path) -> bool:
    """Unpack into a store that does not exist yet. One that exists, on a runner that keeps its files, knows more.

    Every entry is hashed: one that has changed since it was made is refused, and so is everything that is not an
    entry. Of the cache of a tool only the place is checked, because only the tool knows its contents; pipes are left
    out. Remembered verdicts are not taken. Raises PortableError.
    """
    archives = sorted(folder.rglob(STORE))
    if store.exists() or not archives:
        return False
    fresh = store.with_name(f"{store.name}.{os.getpid()}")
    prefix = ids.prefix()
    store.parent.mkdir(parents=True, exist_ok=True)
    try:
        digest = f"sha256:{sha256_of(archives[0])}"
        stack.unpack([Layer(archives[0], digest, PLAIN_TAR)], fresh, prefix=prefix, owners=_owners())
        _only_entries(fresh, prefix)
        fresh.chmod(0o700)
        for name in _STORE_FOLDERS:
            (fresh / name).mkdir(parents=True, exist_ok=True)
        fresh.replace(store)
    except OSError as problem:
        raise MachineError(
            f"it cannot be unpacked: {problem.strerror}", where=str(problem.filename)
        ) from None
    finally:
        if os.path.lexists(fresh):
            remove_tree(fresh, prefix)
    return True


def _only_entries(fresh: Path, prefix: tuple[str, ...]) -> None:
    for path in sorted(fresh.iterdir()):
        if path.name not in _STORE_PARTS or path.is_symlink() or path.is_dir() != (path.name in _FOLDERS):
            remove_tree(path, prefix)
    for shelf in _folders(fresh / "objects", prefix):
        for place in sorted(shelf.iterdir()):
            try:
                header = checked(place, place.name, prefix)
                if place.name[:2] != shelf.name:
                    raise DamageFound("it lies in the wrong place")
                keep(place, header)
            except DamageFound:
                remove_tree(place, prefix)
    if os.path.lexists(fresh / _VERDICTS):
        remove_tree(fresh / _VERDICTS, prefix)
    for cache in _folders(fresh / "cache", prefix):
        for where, _, names in os.walk(cache):
            for name in names:
                path = Path(where, name)
                if not stat.S_ISREG(path.lstat().st_mode) and not path.is_symlink():
                    path.unlink()


def _folders(above: Path, prefix: tuple[str, ...]) -> Iterator[Path]:
    """The folders in a folder. Anything else in it is removed."""
    for path in sorted(above.iterdir()) if above.is_dir() else ():
        if path.is_symlink() or not path.is_dir():
            remove_tree(path, prefix)
        else:
            yield path
