"""The app's own wheels: real cibuildwheel in real containers, real cells, real twine against a loopback server."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from py_portable.store import default_root
from tests.integration.conftest import Project, Ran
from tests.integration.manylinux_like import TAG, Layout

pytestmark = pytest.mark.integration

LOGIN, SECRET = "uploader", "s3cret-of-the-upload-test"
TOKEN = "t0ken-that-a-build-may-see"
ARTIFACTS = ("publish-3.11", "publish-3.13")
CONFIG = """version: 1
app:
  source: app
  smoke: [{args: [], stdout: ["six times seven is 42"]}]
python: "3.13"
baselines:
  default:
    image: "IMAGE"
    before: "ln -s cp311-cp311 /opt/python/cp39-cp39"  # whose python is cibuildwheel's helper in a container
interpreter: {provider: manylinux}
build: {env: {GREETING: "it's; a \\"test\\" $HOME"}, pass-env: [BUILD_TOKEN]}
wheels:
  max-glibc: "2.31"
  publish: {pythons: ["3.13", "3.11"]}
artifacts: {house: {format: wheelhouse}}
portability: {images: ["debian:11", "debian:13"]}
"""
PYPROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "Six-Times"
version = "1.0"
description = "Multiplies in C."
readme = "README.md"
requires-python = ">=3.9"
dependencies = ["click==8.1.8"]

[project.scripts]
six-times = "six_times:main"

[tool.setuptools]
packages = ["six_times"]

[tool.cibuildwheel]
before-build = "echo before-build was here"
test-command = "false"
"""
# What a container of cibuildwheel must not have is looked for where foreign code looks: in setup.py.
SETUP = """import os, socket, sys, time
from pathlib import Path
from setuptools import Extension, setup
if os.environ.get("CIBUILDWHEEL"):
    assert not Path("/host").exists(), "the host is mounted"
    assert [n for _, n in socket.if_nameindex()] == ["lo"], "there is a network"
    assert os.environ["GREETING"] == "it's; a \\"test\\" $HOME", os.environ["GREETING"]
    assert os.environ["AUDITWHEEL_POLICY"] == "manylinux_2_31", "no variables of the image"
    assert os.environ["SOURCE_DATE_EPOCH"].isdigit()
    print("the token is", os.environ.get("BUILD_TOKEN"), flush=True)
    if Path("wait").exists():
        print("waiting as told", flush=True)
        time.sleep(600)
    if Path("fail").exists():
        sys.exit("this build fails as told")
setup(ext_modules=[Extension("six_times._six", ["src/six.c"], depends=["src/six.h"])])
"""
SOURCE = """#include <Python.h>
#include "six.h"
static PyObject *times(PyObject *self, PyObject *number) { return PyLong_FromLong(SIX * PyLong_AsLong(number)); }
static PyMethodDef methods[] = {{"times", times, METH_O, ""}, {0}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_six", 0, -1, methods};
PyMODINIT_FUNC PyInit__six(void) { return PyModule_Create(&module); }
"""
MAIN = """import click
from six_times._six import times

@click.command()
def main():
    print("six times seven is", times(7))
"""


def make_app(folder: Path, image: str) -> Project:
    for name, text in {
        "portable.yaml": CONFIG.replace("IMAGE", image),
        "app/pyproject.toml": PYPROJECT,
        "app/setup.py": SETUP,
        "app/README.md": "# Six times\n",
        "app/MANIFEST.in": "include src/*.h wait fail\n",
        "app/src/six.c": SOURCE,
        "app/src/six.h": "#define SIX 6\n",
        "app/six_times/__init__.py": MAIN,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Project(folder)


@dataclass(frozen=True)
class Bench:
    """Runs the command line with an image laid out like a manylinux image, and docker for cibuildwheel."""

    image: str
    env: dict[str, str]

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "py_portable", *words]

    def settings(self, project: Project, more: dict[str, str]) -> dict[str, Any]:
        return {"cwd": project.folder, "env": {**os.environ, **self.env, "BUILD_TOKEN": TOKEN, **more}}

    def run(self, project: Project, *words: str, **more: str) -> Ran:
        done = subprocess.run(self.words(*words), capture_output=True, text=True, **self.settings(project, more))
        return Ran(done.returncode, done.stdout, done.stderr)

    def app(self, folder: Path) -> Project:
        return make_app(folder, self.image)

    def containers(self) -> list[str]:
        words = ["docker", "ps", "--all", "--quiet"]
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **self.env}, check=True)
        return done.stdout.split()

    def none_left(self) -> bool:
        """The daemon takes a moment to be done with a container."""
        end = time.monotonic() + 60
        while self.containers() and time.monotonic() < end:
            time.sleep(0.2)
        return not self.containers()


@pytest.fixture(scope="session")
def bench(docker: dict[str, str], manylinux_layout: Layout) -> Bench:
    return Bench(f"oci:{manylinux_layout.folder}:{TAG}", docker)


@dataclass(frozen=True)
class Published:
    project: Project
    build: Ran
    unproven: Ran
    portability: Ran

    @property
    def files(self) -> list[Path]:
        return sorted((self.project.folder / "dist/publish").iterdir())


@pytest.fixture(scope="session")
def published(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Published:
    project = bench.app(tmp_path_factory.mktemp("publish"))
    built = bench.run(project, "build")
    assert built.status == 0, built.stderr
    unproven = bench.run(project, "publish", "--dry-run")
    return Published(project, built, unproven, bench.run(project, "portability", "--no-controls"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wheels_of(project: Project) -> list[Path]:
    """For 3.11, then for 3.13."""
    return sorted((project.folder / "dist/publish").glob("*.whl"))


def logs() -> str:
    paths = (default_root(os.environ) / "objects").glob("*/*/log")
    found = [text for path in paths if "cibuildwheel version" in (text := path.read_text("utf-8", "replace"))]
    return "\n".join(found)


def test_the_wheel_and_its_sdist_lie_in_dist(published: Published, bench: Bench) -> None:
    names = [path.name for path in published.files]
    assert len(names) == 3 and names[2] == "six_times-1.0.tar.gz"
    for name, python in zip(names, ("cp311", "cp313"), strict=False):
        assert re.fullmatch(rf"six_times-1\.0-{python}-{python}-manylinux\w[\w.]+_x86_64\.whl", name)
    rows = [row for row in published.project.evidence["wheels"] if row["origin"] == "published"]
    assert [(r["file"], r["sha256"]) for r in rows] == [(p.name, sha256(p)) for p in published.files[:2]]
    assert bench.none_left()


def test_cibuildwheel_had_the_users_options_and_ours(published: Published) -> None:
    told = logs()
    assert "before-build was here" in told
    assert "Installing packages in isolated environment" in told
    # The user's own test is `false`; the wheel is proven in cells instead.
    assert "Testing wheel" not in told
    assert "the token is ***" in told and TOKEN not in told


def test_the_wheel_is_proven_in_cells_and_it_is_this_very_wheel(published: Published) -> None:
    assert published.portability.status == 0, published.portability.stdout + published.portability.stderr
    for name, wheel in zip(ARTIFACTS, wheels_of(published.project), strict=True):
        cells = published.project.cells(artifact=name)
        assert [(c["image"], c["verdict"], c["install"]) for c in cells] == [
            ("debian:11", "PASS", "done"),
            ("debian:13", "PASS", "done"),
        ]
        assert {c["sha256"] for c in cells} == {f"sha256:{sha256(wheel)}"}


def test_another_build_gives_the_same_bytes(published: Published, bench: Bench, tmp_path: Path) -> None:
    again = bench.app(tmp_path)
    # Another key, so that nothing comes out of the store.
    config = tmp_path / "portable.yaml"
    config.write_text(config.read_text().replace("env: {", "env: {OTHER: x, "))
    done = bench.run(again, "build", "-v")
    assert done.status == 0, done.stderr
    assert "started  publish wheels" in done.stderr
    assert [sha256(one) for one in sorted((tmp_path / "dist/publish").iterdir())] == [
        sha256(one) for one in published.files
    ]


@dataclass
class Index:
    """What a repository of the legacy upload API got; `known` are the files that it has."""

    url: str = ""
    logins: list[str] = field(default_factory=list)
    got: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def index() -> Iterator[Index]:
    state = Index()
    wanted = "Basic " + base64.b64encode(f"{LOGIN}:{SECRET}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.logins.append(self.headers.get("Authorization", ""))
            if self.headers.get("Authorization") != wanted:
                self.answer(403, "Invalid or non-existent authentication information.")
                return
            told = dict(re.findall(rb'name="([\w:]+)"\r\n\r\n([^\r]*)\r\n', body))
            file = re.search(rb'name="content"; filename="([^"]+)"', body)
            assert file and told[b":action"] == b"file_upload"
            name = file[1].decode()
            if name in state.got:
                self.answer(409, "File already exists.")
                return
            state.got[name] = told[b"sha256_digest"].decode()
            self.answer(200, "OK")

        def answer(self, status: int, text: str) -> None:
            self.send_response(status, text)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/legacy/"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def upload(bench: Bench, published: Published, index: Index, home: Path, *words: str, **env: str) -> Ran:
    more = {"HOME": str(home), "TWINE_USERNAME": LOGIN, "TWINE_PASSWORD": SECRET, "NO_PROXY": "*"}
    more |= {"PY_PORTABLE_STORE": str(default_root(os.environ))}
    return bench.run(published.project, "publish", "--repository", index.url, *words, **{**more, **env})


def test_what_was_not_started_yet_is_not_published(published: Published) -> None:
    assert published.unproven.status == 1
    for name in ARTIFACTS:
        assert f"{name} on debian:11: was not started" in published.unproven.stderr
        assert f"--artifact {name}" in published.unproven.stderr


def test_proven_wheels_are_uploaded_with_the_environments_login(
    published: Published, bench: Bench, index: Index, tmp_path: Path
) -> None:
    dry = upload(bench, published, index, tmp_path, "--dry-run", "--json")
    assert dry.status == 0, dry.stderr
    assert json.loads(dry.stdout)["login"] == "environment"
    assert index.logins == []
    done = upload(bench, published, index, tmp_path)
    assert done.status == 0, done.stderr
    assert index.got == {path.name: sha256(path) for path in published.files}
    again = upload(bench, published, index, tmp_path)
    assert again.status == 4
    assert "a file of this name exists already" in again.stderr
    written = [done, dry, again]
    kept = [path for path in (published.project.folder / "dist").rglob("*") if path.is_file()]
    basic = base64.b64encode(f"{LOGIN}:{SECRET}".encode()).decode()
    for text in (
        *(one.stdout + one.stderr for one in written),
        *(path.read_text("utf-8", "replace") for path in kept),
    ):
        assert SECRET not in text and basic not in text and TOKEN not in text


def test_a_login_of_pypirc_is_used(published: Published, bench: Bench, index: Index, tmp_path: Path) -> None:
    (tmp_path / ".pypirc").write_text(
        f"[distutils]\nindex-servers = own\n[own]\nrepository = {index.url}\nusername = {LOGIN}\npassword = {SECRET}\n"
    )
    env = {"TWINE_PASSWORD": "", "TWINE_USERNAME": ""}
    done = upload(bench, published, index, tmp_path, "--repository", "own", "--dry-run", "--json", **env)
    assert (done.status, json.loads(done.stdout)["login"]) == (0, "pypirc"), done.stderr
    done = upload(bench, published, index, tmp_path, "--repository", "own", **env)
    assert done.status == 0, done.stderr
    assert len(index.got) == 3


def test_a_wrong_password_and_a_dead_address_are_named(
    published: Published, bench: Bench, index: Index, tmp_path: Path
) -> None:
    wrong = upload(bench, published, index, tmp_path, TWINE_PASSWORD="wrong-and-secret")
    assert wrong.status == 4
    assert "the repository refused the login" in wrong.stderr
    assert "wrong-and-secret" not in wrong.stderr + wrong.stdout
    dead = upload(bench, published, index, tmp_path, "--repository", "http://127.0.0.1:9/legacy/")
    assert dead.status == 4
    assert "the repository cannot be reached" in dead.stderr
    assert "Traceback" not in dead.stderr
    nobody = upload(bench, published, index, tmp_path, TWINE_PASSWORD="", TWINE_USERNAME="")
    assert nobody.status == 3
    assert "there is no login for this repository" in nobody.stderr
    assert index.got == {}


@pytest.fixture(scope="session")
def failing(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Fails in cibuildwheel alone; a step that fails is in no store, so each run starts a container."""
    project = bench.app(tmp_path_factory.mktemp("failing"))
    (project.folder / "app/fail").touch()
    return project


def test_a_failing_build_says_why_and_costs_only_its_own(bench: Bench, failing: Project) -> None:
    done = bench.run(failing, "build")
    assert done.status == 4
    assert "this build fails as told" in done.stderr
    assert TOKEN not in done.stderr
    assert [row["name"] for row in failing.evidence["artifacts"]] == ["house"]
    assert bench.none_left()


def test_without_a_container_engine_everything_else_goes_on(bench: Bench, failing: Project, tmp_path: Path) -> None:
    (tmp_path / "podman").write_text("#!/bin/sh\necho podman is out of order >&2\nexit 1\n")
    (tmp_path / "podman").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = bench.run(failing, "build", DOCKER_HOST=f"unix://{tmp_path}/none.sock", PATH=path)
    assert done.status == 3
    assert "cibuildwheel needs docker or podman" in done.stderr
    assert "the daemon does not answer" in done.stderr and "podman is out of order" in done.stderr
    assert [row["name"] for row in failing.evidence["artifacts"]] == ["house"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_run_leaves_no_container(
    number: signal.Signals, bench: Bench, failing: Project, tmp_path: Path
) -> None:
    project = bench.app(tmp_path)
    (tmp_path / "app/wait").touch()
    with subprocess.Popen(
        bench.words("build"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **bench.settings(project, {}),
    ) as child:
        end = time.monotonic() + 180
        while not bench.containers() and time.monotonic() < end:
            time.sleep(0.2)
        assert bench.containers()
        time.sleep(2)
        child.send_signal(number)
        _, said = child.communicate(timeout=60)
    if number == signal.SIGINT:
        assert child.returncode == 130
        assert b"Traceback" not in said
    else:
        # A run that was killed cannot clean up: the next one does.
        assert bench.containers()
        assert bench.run(failing, "build").status == 4
    assert bench.none_left()


def test_wheels_that_somebody_else_built_are_used(published: Published, bench: Bench, tmp_path: Path) -> None:
    project = bench.app(tmp_path)
    wheels = wheels_of(published.project)
    (tmp_path / "given").mkdir()
    for wheel in wheels:
        shutil.copy(wheel, tmp_path / "given")
    config = tmp_path / "portable.yaml"
    config.write_text(config.read_text().replace("  publish:", "  use: given\n  publish:"))
    # No container engine is needed to prove them.
    done = bench.run(project, "portability", "--no-controls", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.status == 0, done.stdout + done.stderr
    assert [sha256(wheel) for wheel in wheels_of(project)] == [sha256(wheel) for wheel in wheels]
    (taken,) = (tmp_path / "dist/house").glob("six_times*.whl")
    assert sha256(taken) == sha256(wheels[1])
    (tmp_path / "given" / wheels[0].name).unlink()
    none = bench.run(project, "build")
    assert none.status == 2
    assert "has no wheel of six-times for CPython 3.11" in none.stderr


def test_a_pure_wheel_takes_no_container_and_serves_every_python(bench: Bench, tmp_path: Path) -> None:
    project = bench.app(tmp_path)
    (tmp_path / "app/setup.py").unlink()
    (tmp_path / "app/six_times/__init__.py").write_text("def main():\n    print('six times seven is', 6 * 7)\n")
    done = bench.run(project, "build", *ARTIFACTS, DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.status == 0, done.stderr
    names = [path.name for path in sorted((tmp_path / "dist/publish").iterdir())]
    assert names == ["six_times-1.0-py3-none-any.whl", "six_times-1.0.tar.gz"]
    (digest,) = {row["sha256"] for row in project.evidence["artifacts"]}
    assert digest == f"sha256:{sha256(tmp_path / 'dist/publish' / names[0])}"
