"""Locking runs no code of a package on this machine with anything to take: what only a build backend can tell is
asked in the baseline's sandbox; where there is none, a package's backend is not asked at all, and the app's own is
asked without the user's environment and files."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from py_portable.lock.lockfile import Lock
from py_portable.plan import ground as grounds
from py_portable.plan.assemble import Plan
from py_portable.project.session import open_session
from py_portable.store import default_root
from tests.files import content, regular_files
from tests.integration.conftest import Project, Ran
from tests.promises.hostile_sources import SETUPTOOLS, by_setup, code, in_tree, write
from tests.unit.index_server import sdist, serving, wheel

pytestmark = pytest.mark.integration

SECRET = "hunter2-of-this-test"
TOKENS = dict.fromkeys(("CI_JOB_TOKEN", "GITHUB_TOKEN", "TWINE_PASSWORD", "SSH_AUTH_SOCK"), SECRET)
CONFIG = """version: 1
app: {{{app}}}
python: "3.13"
baselines:
  default: {{image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}}
artifacts: {{house: {{format: wheelhouse}}}}
portability: {{images: ["debian:11"]}}
"""
GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")


@dataclass
class Place:
    """A user with a home, a file that is nobody else's business, and a project."""

    base: Path
    server: tuple[str, int]
    files: dict[str, bytes]
    started: float

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def project(self) -> Project:
        return Project(self.base / "project")

    def code(self, name: str, **more: list[str]) -> str:
        return code(
            name,
            files=[self.home / "mine"],
            folders=[self.home, self.base / "project", self.base],
            server=self.server,
            **more,
        )

    def lock(self, app: str, **environ: str) -> Ran:
        (self.project.folder / "portable.yaml").write_text(CONFIG.format(app=app))
        own = {"PY_PORTABLE_STORE": str(default_root(os.environ)), "HOME": str(self.home), "PIP_FIND_LINKS": ""}
        own |= {"PIP_INDEX_URL": f"http://{self.server[0]}:{self.server[1]}/simple", "PIP_CONFIG_FILE": os.devnull}
        own |= {"NO_PROXY": "127.0.0.1", "XDG_CONFIG_HOME": str(self.home)}
        return self.project.run("lock", env={**own, **TOKENS, **environ})

    def took_nothing(self, ran: Ran) -> None:
        """Neither shown, nor written anywhere by us, nor changed, nor reached."""
        assert SECRET not in ran.stdout + ran.stderr
        stored = regular_files(default_root(os.environ) / "objects", since=self.started)
        for path in (*regular_files(self.project.folder), *stored):
            text = content(path)
            assert SECRET.encode() not in text, path
            # The words stand in the hostile sources themselves, too.
            for what in (b"WROTE INTO", b"REACHED THE NETWORK"):
                assert what not in text or path.suffix in (".py", ".gz"), f"{what!r} in {path}"
        assert (self.home / "mine").read_text() == f"password {SECRET}\n"
        assert not list(self.base.rglob("planted"))

    @property
    def locked(self) -> str:
        return (self.project.folder / "portable.lock").read_text()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Image, interpreter and tools: made before, since the index of these tests has nothing to make them of."""
    config = tmp_path_factory.mktemp("ground") / "portable.yaml"
    config.write_text(CONFIG.format(app="requirement: none"))
    session = open_session(config)
    session.sandbox(Lock(), "default", "3.13")
    fetched = grounds.ground(session.config, Lock(), "default", "3.13").fetched
    session.run(Plan({fetched.name: fetched}, {}, {}, (), ()), [fetched.name], Lock(), learn=False)


@pytest.fixture
def place(tmp_path: Path, ground: None) -> Iterator[Place]:
    files = {
        "setuptools-99.0-py3-none-any.whl": SETUPTOOLS,
        "wheel-9.0-py3-none-any.whl": wheel("wheel", "9.0"),
        **{f"{name}-1.0-py3-none-any.whl": wheel(name, "1.0") for name in ("seen", "helper", "ours")},
    }
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    (tmp_path / "home" / "mine").write_text(f"password {SECRET}\n")
    with serving(files) as (address, _):
        host, port = address.split(":")
        yield Place(tmp_path, (host, int(port)), files, time.time() - 1)


def git(folder: Path, *words: str) -> None:
    subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True)


def test_the_hostile_code_takes_all_of_it_where_nothing_holds_it(place: Place) -> None:
    """Without this the tests below could pass because their attacker does nothing."""
    folder = write(place.base / "evil", in_tree(place.code("evil")))
    told = f"import os, own; own.prepare_metadata_for_build_wheel({str(place.base)!r})"
    environ = {**os.environ, **TOKENS}
    subprocess.run([sys.executable, "-c", told], cwd=folder, env=environ, check=True)
    text = (place.base / "evil-1.0.dist-info" / "METADATA").read_text()
    assert f"GITHUB_TOKEN={SECRET}" in text and f"password {SECRET}" in text
    assert "WROTE INTO" in text and "REACHED THE NETWORK" in text
    assert (place.home / "planted").exists()


def test_in_the_sandbox_the_code_of_packages_and_of_the_app_finds_nothing(place: Place) -> None:
    """Every way in which a resolver can be led to run code, in one project."""
    dynamic = '[project]\nname = "dynamic"\nversion = "1.0"\ndynamic = ["dependencies"]\n'
    for name, members in {
        "tree": in_tree(place.code("tree", depends=["seen"])),
        "legacy": by_setup(place.code("legacy")),
        "asks": by_setup(place.code("asks", requires=["helper"]), asks=True),
        "dynamic": in_tree(place.code("dynamic"), dynamic),
        "direct": in_tree(place.code("direct")),
    }.items():
        place.files[f"{name}-1.0.tar.gz"] = sdist(name, "1.0", members)
    repository = write(place.base / "repository", in_tree(place.code("of-git")))
    git(repository, "init", "--quiet")
    git(repository, "add", "-A")
    git(repository, "commit", "--quiet", "-m", "one")
    write(place.base / "beside", in_tree(place.code("beside")))
    depends = [
        *("tree", "legacy", "asks", "dynamic"),
        f"direct @ http://{place.server[0]}:{place.server[1]}/files/direct-1.0.tar.gz",
        f"of-git @ git+file://{repository}",
        f"beside @ file://{place.base}/beside",
    ]
    write(place.project.folder / "app", in_tree(place.code("app", depends=depends)))
    ran = place.lock("source: app", PATH=os.environ["PATH"])
    assert ran.status == 0, ran.stderr
    for name in ("tree", "seen", "legacy", "asks", "dynamic", "direct", "of_git", "beside", "helper"):
        assert f'"file": "{name}-1.0' in place.locked, f"{name} is not locked: it was not asked"
    place.took_nothing(ran)


@pytest.fixture
def no_engine(place: Place) -> str:
    """A PATH with all of this machine's programs but those that make sandboxes."""
    folder = place.base / "bin"
    folder.mkdir()
    for part in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(part).iterdir() if Path(part).is_dir() else ():
            if program.name not in ("bwrap", "docker", "podman", "chroot", "unshare"):
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    assert shutil.which("bwrap", path=str(folder)) is None
    return str(folder)


@pytest.mark.parametrize("style", ["in-tree backend", "setup.py", "address"])
def test_without_an_engine_a_packages_code_is_not_run_at_all(place: Place, no_engine: str, style: str) -> None:
    text = place.code("evil")
    place.files["evil-1.0.tar.gz"] = sdist("evil", "1.0", by_setup(text) if style == "setup.py" else in_tree(text))
    address = f" @ http://{place.server[0]}:{place.server[1]}/files/evil-1.0.tar.gz" if style == "address" else ""
    ran = place.lock(f'requirement: "evil{address}"', PATH=no_engine)
    assert ran.status == 3, ran.stderr
    assert "there is no sandbox here in which to run it" in ran.stderr and "wheels: {metadata:" in ran.stderr
    place.took_nothing(ran)
    assert not (place.project.folder / "portable.lock").exists()


def landlock() -> bool:
    """Whether the kernel has it: the version is what the first of its calls answers to."""
    return int(ctypes.CDLL(None).syscall(444, None, 0, 1)) >= 4


@pytest.mark.parametrize("kind", ["folder", "sdist"])
def test_without_an_engine_the_apps_code_is_kept_from_the_users_environment_and_files(
    place: Place, no_engine: str, kind: str
) -> None:
    if not landlock():
        pytest.skip("the kernel has no Landlock")
    members = in_tree(place.code("app", depends=["seen"], requires=["helper"]))
    if kind == "folder":
        write(place.project.folder / "app", members)
    else:
        (place.project.folder / "app-1.0.tar.gz").write_bytes(sdist("app", "1.0", members))
    ran = place.lock(f"source: {'app' if kind == 'folder' else 'app-1.0.tar.gz'}", PATH=no_engine)
    assert ran.status in (0, 3), ran.stderr  # images cannot be made without an engine either
    assert "ran on this machine" in ran.stderr and "not in the baseline" in ran.stderr
    assert '"file": "seen-1.0' in place.locked and '"file": "helper-1.0' in place.locked
    place.took_nothing(ran)


def test_without_landlock_the_environment_is_kept_from_it_all_the_same(tmp_path: Path) -> None:
    """What an old kernel leaves: the allow-list, and a line that says so."""
    from py_portable.engines import apart

    own = tmp_path / "work"
    own.mkdir()
    env = apart.environment(own, 1, {"ASKED": "for"})
    os.environ["A_TOKEN_OF_THIS_TEST"] = SECRET
    try:
        outcome, held = apart.run(["/usr/bin/env"], work=own, read=[], env=env, log=tmp_path / "log", timeout=60)
    finally:
        del os.environ["A_TOKEN_OF_THIS_TEST"]
    assert outcome.ok and held is landlock()
    names = {line.partition("=")[0] for line in outcome.stdout.text.splitlines()}
    assert names == {*apart.environment(own, 1, {}), "ASKED"}


def test_no_exit_status_of_foreign_code_takes_landlock_from_it(tmp_path: Path) -> None:
    """The status that says "this kernel has no Landlock" is one that anybody can end with."""
    from py_portable.engines import apart

    own = tmp_path / "work"
    own.mkdir()
    log = tmp_path / "log"
    words = ["/bin/sh", "-c", f"echo once >>{own}/ran; exit {apart.NO_LANDLOCK}"]
    outcome, held = apart.run(words, work=own, read=[], env=apart.environment(own, 1, {}), log=log, timeout=60)
    assert outcome.status == apart.NO_LANDLOCK and held is landlock()
    assert (own / "ran").read_text() == "once\n"
