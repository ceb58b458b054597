"""Promise: whatever a build step started is dead before its output is looked at, and no output of a build, nothing
that is copied out of the store and nothing of another job's archive is setuid, setgid or writable for everybody.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.base.untar import RefusedError, extract
from py_portable.ci import travel
from py_portable.ci.job_config import Project
from py_portable.engines import static_helpers
from py_portable.engines.engine import Bind, Job
from py_portable.engines.native import Native
from py_portable.engines.select import ENGINES
from py_portable.errors import ConfigError, PortableError
from py_portable.steps import output
from py_portable.steps.context import BuildFailed, Context, Environment
from py_portable.steps.graph import Step
from py_portable.steps.runner import Report, Runner
from py_portable.store import Store
from py_portable.store.faults import StoreError

BAD = (0o4755, 0o2755, 0o6711, 0o666, 0o777, 0o1777)

# What a background process of a wheel's .pth does: it waits until the build has settled all modes, and acts then.
LATE = r"""
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    if (fork() == 0) {
        setsid();
        if (fork() != 0)
            _exit(0);
        for (int i = 0;; i++) {
            int fd = open("/out/late", O_WRONLY | O_CREAT, 0755);
            if (argc > 1) {
                fchmod(fd, 04755);
                chmod("/out/app", 04755);
            }
            close(fd);
            usleep(2000);
        }
    }
    usleep(200000);
    close(open("/out/app", O_WRONLY | O_CREAT, 0755));
    usleep(100000);
    return 0;
}
"""


def run(env: Environment, action: Callable[[Context], Mapping[str, Any] | None]) -> Report:
    return Runner(env, lambda *_: None).run({"tree": Step("tree", action)}, ["tree"])


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(store=Store(tmp_path / "store"), engine=Native(), epoch=0, jobs=1)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with nothing in it, helpers, and the program."""
    work = tmp_path_factory.mktemp("house")
    static_helpers.put(work / "helpers")
    for name in ("bin", "etc", "usr", "tmp", "home"):
        (work / "root" / name).mkdir(parents=True)
    (work / "app").mkdir()
    (work / "late.c").write_text(LATE)
    words = [*static_helpers.compiler(), "-static", "-Os", "-o", str(work / "app/late"), str(work / "late.c")]
    subprocess.run(words, check=True)
    yield work


@pytest.mark.integration
@pytest.mark.parametrize("engine", ["bubblewrap", "chroot", "docker"])
@pytest.mark.parametrize("words", [(), ("setuid",)], ids=["harmless", "setuid"])
def test_what_a_step_started_is_dead_before_its_output_is_looked_at(
    engine: str, words: tuple[str, ...], house: Path, env: Environment, request: pytest.FixtureRequest
) -> None:
    if engine == "docker":
        monkeypatch = request.getfixturevalue("monkeypatch")
        for name, value in request.getfixturevalue("docker").items():
            monkeypatch.setenv(name, value)
    ran = replace(env, engine=ENGINES[engine](house / "helpers"))
    seen: list[Path] = []

    def hostile(ctx: Context) -> None:
        binds = (Bind(ctx.out, "/out", writable=True), Bind(house / "app", "/app"))
        job = Job(profile="build", root=house / "root", argv=("/app/late", *words), env={}, binds=binds)
        assert ran.engine.run(job, timeout=60, log=ctx.log).ok, ctx.log.read_text()
        (ctx.out / "late").unlink()
        time.sleep(0.3)
        # The process wrote it every 2 ms for as long as it lived.
        seen.extend(path for path in ctx.out.iterdir() if path.name == "late")

    report = run(ran, hostile)
    assert not seen
    if words:
        problem = report.failures["tree"]
        assert isinstance(problem, BuildFailed)
        assert "'app', which is setuid, mode 4755" in problem.what and "tree" in problem.what
        assert not list((ran.store.root / "objects").rglob("app"))
    else:
        assert stat.S_IMODE((report.results["tree"].path / "app").stat().st_mode) == 0o755


@pytest.mark.parametrize("mode", BAD)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_build_may_not_leave_it(mode: int, kind: str, env: Environment) -> None:
    def hostile(ctx: Context) -> None:
        path = ctx.out / "deep" / "down"
        path.parent.mkdir()
        path.mkdir() if kind == "folder" else path.touch()
        path.chmod(mode)

    problem = run(env, hostile).failures["tree"]
    assert isinstance(problem, BuildFailed)
    assert f"'deep/down', which is {'set' if mode & 0o6000 else 'world'}" in problem.what
    assert not list((env.store.root / "objects").glob("*/*"))


def test_a_build_may_leave_neither_pipes_nor_programs_with_capabilities(env: Environment) -> None:
    def pipe(ctx: Context) -> None:
        os.mkfifo(ctx.out / "pipe")

    def powers(ctx: Context) -> None:
        (ctx.out / "program").touch()
        # cap_setuid+ep, as setcap(8) writes it.
        os.setxattr(ctx.out / "program", "security.capability", bytes.fromhex("0100000280" + "00" * 15))

    assert "neither a file, a folder nor a link" in run(env, pipe).failures["tree"].what
    if os.geteuid() == 0:
        assert "capabilities" in run(env, powers).failures["tree"].what


def test_modes_of_ordinary_files_do_not_depend_on_who_wrote_them(tmp_path: Path) -> None:
    digests = set()
    for mask in (0o022, 0o077, 0o027):

        def build(ctx: Context, mask: int = mask) -> None:
            (ctx.out / "bin").mkdir()
            (ctx.out / "bin/app").write_text("#!/bin/sh\n")
            (ctx.out / "bin/app").chmod(0o777 & ~mask)
            (ctx.out / "text").touch()

        old = os.umask(mask)
        try:
            store = Store(tmp_path / f"{mask:o}")
            report = run(Environment(store=store, engine=Native(), epoch=0, jobs=1), build)
        finally:
            os.umask(old)
        digests.add(report.results["tree"].digest)
    assert len(digests) == 1


def test_a_file_system_without_attributes_has_no_capabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_words: object, **_more: object) -> list[str]:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "listxattr", none)
    (tmp_path / "file").touch(0o600)
    output.settle(tmp_path, "a step")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_what_is_kept_of_a_failure_has_none_either(env: Environment, tmp_path: Path) -> None:
    def hostile(ctx: Context) -> None:
        (ctx.out / "app").touch()
        (ctx.out / "app").chmod(0o6777)
        (ctx.out / "folder").mkdir()
        (ctx.out / "folder").chmod(0o2777)
        os.mkfifo(ctx.out / "pipe")
        raise BuildFailed("on purpose")

    report = run(replace(env, keep=tmp_path / "kept"), hostile)
    assert report.failures["tree"].what == "on purpose"
    kept = tmp_path / "kept" / "tree"
    assert sorted(path.name for path in kept.rglob("*")) == ["app", "folder", "out"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.rglob("*")} == {0o755}


@pytest.mark.parametrize("mode", BAD)
def test_nothing_of_the_kind_is_copied_out_of_the_store(mode: int, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def build(work: Path) -> Mapping[str, object]:
        (work / "out" / "app").touch()
        (work / "out" / "app").chmod(mode)
        return {}

    entry = store.make("a" * 64, build)
    for name in ("app", "."):
        with pytest.raises((StoreError, PortableError), match="mode"):
            store.restore(entry, name, tmp_path / "dist" / "app")
    assert not (tmp_path / "dist" / "app").exists()


@pytest.mark.parametrize("mode", BAD)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
def test_no_archive_of_another_job_brings_it(
    mode: int, kind: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = tarfile.TarInfo("dist/tree/app")
    member.type, member.mode = kind, mode
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(member)
    archive = tmp_path / "job" / travel.DIST
    archive.parent.mkdir()
    archive.write_bytes(data.getvalue())
    here = tmp_path / "here"
    here.mkdir()
    with pytest.raises(ConfigError, match="mode"):
        travel.unpack_dist([archive], here, [Project("portable.yaml", here / "dist")])
    assert list(here.iterdir()) == []
    data.seek(0)
    with tarfile.open(fileobj=data) as tar, pytest.raises(RefusedError, match="mode"):
        extract(tar, here, modes="kept")
