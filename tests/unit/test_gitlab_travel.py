"""What GitLab's jobs hand on: whole, with modes and links, and nothing that leaves the project."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from py_portable.ci import travel
from py_portable.ci.gitlab import job_files, jobs
from py_portable.errors import ConfigError
from py_portable.store import Store, digest


def silent(_text: str) -> None:
    pass


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "dist/app/lib").mkdir(parents=True)
    (folder / "portable.lock").write_text("the plan's\n")
    (folder / "dist/app/run").write_text("#!/bin/sh\n")
    (folder / "dist/app/run").chmod(0o775)
    (folder / "dist/app/lib/a.so.1").write_text("x")
    (folder / "dist/app/lib/a.so").symlink_to("a.so.1")
    (folder / "dist/app/lib/empty").mkdir(mode=0o700)
    monkeypatch.chdir(folder)
    return folder


def test_what_is_taken_has_the_digest_of_what_was_handed_on(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(here / "dist/app")
    job_files.hand_on("build", Path("portable.yaml"), here / "dist", silent)
    there = tmp_path / "there"
    (there / jobs.FOLDER).mkdir(parents=True)
    (here / jobs.HANDED).rename(there / jobs.HANDED)
    # What lay there gives way, and nothing is written through it.
    (there / "portable.lock").symlink_to("precious")
    (there / "precious").write_text("precious")
    monkeypatch.chdir(there)
    old = os.umask(0o077)
    try:
        job_files.take(Path("portable.yaml"), Path("dist"), silent)
        job_files.take(Path("portable.yaml"), Path("dist"), silent)
    finally:
        os.umask(old)
    assert digest(there / "dist/app") == before
    assert (there / "portable.lock").read_text() == "the plan's\n"
    assert (there / "precious").read_text() == "precious"


def test_the_build_s_word_counts_before_the_plan_s(here: Path) -> None:
    for job in job_files.JOBS:
        (here / "portable.lock").write_text(job)
        job_files.hand_on(job, Path("portable.yaml"), here / "dist", silent)
    (here / "portable.lock").write_text("older")
    job_files.take(Path("portable.yaml"), Path("dist"), silent)
    assert (here / "portable.lock").read_text() == "build"


def test_where_nothing_was_handed_on_the_error_says_so(here: Path) -> None:
    with pytest.raises(ConfigError, match="no earlier job left any files"):
        job_files.take(Path("portable.yaml"), Path("dist"), silent)


@pytest.mark.parametrize("value", ["true", "is true"])
def test_the_store_comes_back_from_the_cache_whole(here: Path, value: str) -> None:
    told: list[str] = []
    store = here.parent / "store"
    environ = {"PY_PORTABLE_CACHE": value, "PY_PORTABLE_STORE": str(store)}
    job_files.store_in(environ, told.append)
    key = "a" * 64

    def build(work: Path) -> Mapping[str, object]:
        (work / "out/x").write_text("x")
        return {}

    Store(store).make(key, build)
    job_files.store_out(environ, told.append)
    store.rename(here.parent / "gone")
    job_files.store_in(environ, told.append)
    entry = Store(store).get(key)
    assert entry and (entry.path / "x").read_text() == "x"
    assert [line for line in told if "MB" not in line] == ["cache: miss", "cache: hit"]
    assert not (here / jobs.CACHE / travel.STORE).exists()


def test_a_runner_s_own_store_does_not_travel(here: Path) -> None:
    told: list[str] = []
    store = here.parent / "store"
    (store / "objects").mkdir(parents=True)
    environ = {"PY_PORTABLE_CACHE": "true", "PY_PORTABLE_STORE": str(store)}
    job_files.store_in(environ, told.append)
    job_files.store_out(environ, told.append)
    assert told == ["cache: not needed, because this runner keeps its store"]
    assert not (here / jobs.CACHE / travel.STORE).exists()


@pytest.mark.parametrize("value", ["", "false", "is false", "$(true)"])
def test_without_the_input_nothing_is_kept(here: Path, value: str) -> None:
    store = here.parent / "store"
    environ = {"PY_PORTABLE_CACHE": value, "PY_PORTABLE_STORE": str(store)}
    job_files.store_in(environ, silent)
    (store / "objects").mkdir(parents=True)
    job_files.store_out(environ, silent)
    assert not (here / jobs.CACHE).exists()


def test_a_broken_cache_is_told_and_no_more(here: Path) -> None:
    told: list[str] = []
    (here / jobs.CACHE).mkdir(parents=True)
    (here / jobs.CACHE / travel.STORE).write_text("no tar")
    environ = {"PY_PORTABLE_CACHE": "true", "PY_PORTABLE_STORE": str(here.parent / "store")}
    job_files.store_in(environ, told.append)
    assert [line.partition(":")[0] for line in told] == ["the cache could not be used", "cache"]
