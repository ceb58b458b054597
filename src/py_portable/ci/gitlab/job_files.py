"""Passes files between GitLab's jobs in tar, since the runner's zip may change the modes of files to which links
lead.

A job calls this between two steps; everything lies below the project, because a runner takes nothing from elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from py_portable.ci import travel
from py_portable.ci.gitlab.jobs import CACHE, HANDED
from py_portable.ci.job_config import Project
from py_portable.errors import ConfigError, PortableError
from py_portable.plan.partition import image_shard
from py_portable.store.layout import default_root

JOBS = ("plan", "build")
_OWN = "own"
"""A file that says: the store was there before the cache was asked, so it need not be packed."""
Say = Callable[[str], None]


def handed_name(baseline: str) -> str:
    """The name under which the job that builds in this baseline passes its files on: there may be several such jobs."""
    return f"build-{image_shard(baseline)}"


def hand_on(job: str, config: Path, dist: Path, say: Say, *, baseline: str = "") -> None:
    """Pass the lock and dist on to later jobs. `baseline`: the baseline in which this job builds. Raises
    MachineError.
    """
    here = Path.cwd()
    name = handed_name(baseline) if baseline and job == "build" else job
    archive = travel.pack_dist([_project(config, dist)], here, here / HANDED / name)
    say(f"packed for later jobs: {archive.stat().st_size / 1e6:.1f} MB")


def take(config: Path, dist: Path, say: Say) -> None:
    """Take what earlier jobs passed on. If two of them disagree, the later one counts. Raises ConfigError."""
    here = Path.cwd()
    names = [*JOBS, *sorted(path.name for path in (here / HANDED).glob("build-*"))]
    archives = [path for name in names if (path := here / HANDED / name / travel.DIST).is_file()]
    if not archives:
        raise ConfigError("no earlier job left any files", hint="look at the logs of the earlier jobs")
    travel.unpack_dist(archives, here, [_project(config, dist)])
    say(f"taken from earlier jobs: {', '.join(path.parent.name for path in archives)}")


def _project(config: Path, dist: Path) -> Project:
    return Project(os.path.relpath(config), dist.absolute())


def wants_cache(environ: Mapping[str, str]) -> bool:
    """GitLab passes a boolean as a word. If it is not set, there is no cache."""
    return environ.get("PY_PORTABLE_CACHE", "").split()[-1:] == ["true"]


def store_in(environ: Mapping[str, str], say: Say) -> None:
    """Take the store from the cache; without it everything is made again, so a fault is only reported."""
    folder, store = Path.cwd() / CACHE, default_root(environ)
    if not wants_cache(environ):
        return
    if store.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _OWN).touch()
        say("cache: not needed, because this runner keeps its store")
        return
    try:
        taken = travel.unpack_store(folder, store)
    except PortableError as problem:
        taken = False
        say(f"the cache could not be used: {problem.what}")
    (folder / travel.STORE).unlink(missing_ok=True)
    say("cache: hit" if taken else "cache: miss")


def store_out(environ: Mapping[str, str], say: Say) -> None:
    """Pack the store at the place where the runner's cache expects it."""
    if not wants_cache(environ) or (Path.cwd() / CACHE / _OWN).exists():
        return
    try:
        archive = travel.pack_store(default_root(environ), Path.cwd() / CACHE)
    except PortableError as problem:
        say(f"the store is not cached: {problem.what}")
        return
    if archive:
        say(f"cache: {archive.stat().st_size / 1e6:.1f} MB for the next run")
