"""GitLab where no engine starts: jobs are unprivileged containers, and the image of a build's job is the baseline."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from py_portable.images import resolve
from py_portable.store import Store, default_root
from tests.ci.gitlab import containers, runner
from tests.integration.conftest import portable

pytestmark = pytest.mark.integration

BASELINE = "mirror.example/library/debian:12"
CA = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
CI = {"CI": "true", "CI_DISPOSABLE_ENVIRONMENT": "true"}
"""What GitLab's runner sets in containers, and the tool does not."""
APP = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "xmlcheck"
version = "1.0"
requires-python = ">=3.11"

[project.scripts]
xmlcheck = "xmlcheck:main"

[[tool.setuptools.ext-modules]]
name = "xmlcheck._expat"
sources = ["src/xmlcheck/_expat.c"]
libraries = ["expat"]
""",
    "src/xmlcheck/__init__.py": """\
def main() -> None:
    from xmlcheck._expat import version

    print(version(), "works")
""",
    "src/xmlcheck/_expat.c": """\
#include <Python.h>
#include <expat.h>

static PyObject *version(PyObject *self, PyObject *none) { return PyUnicode_FromString(XML_ExpatVersion()); }
static PyMethodDef methods[] = {{"version", version, METH_NOARGS, 0}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_expat", 0, -1, methods};
PyMODINIT_FUNC PyInit__expat(void) { return PyModule_Create(&module); }
""",
    "portable.yaml": f"""\
version: 1
app:
  source: .
  smoke: [{{args: [], stdout: ["expat_2.5.0 works"]}}]
python: "3.11"
interpreter: {{provider: system}}
baselines:
  default: {{image: "{BASELINE}", packages: [libexpat1-dev, from-a-mirror], before: "echo before >/etc/before"}}
artifacts:
  tree: {{format: bundle}}
portability:
  images: ["debian:12"]
""",
}
PACKAGE = """\
Package: from-a-mirror
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@example.invalid>
Description: what the baseline's packages name and its image has not
"""
ROOM = """\
FROM {name}
COPY kit /opt/kit
COPY ca.crt /etc/ssl/certs/ca-certificates.crt
COPY mirror /srv/mirror
RUN mkdir -p /opt/python/cp311-cp311 && ln -s cp311-cp311 /opt/python/latest && echo image >/opt/python/cp311-cp311/whose
RUN printf '#!/bin/sh\\nexec /opt/kit/py-portable "$@"\\n' >/usr/local/bin/py-portable && \\
    chmod 755 /usr/local/bin/py-portable && \\
    rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* && \\
    echo 'deb [trusted=yes] file:/srv/mirror ./' >/etc/apt/sources.list
"""


@dataclass(frozen=True)
class Runner:
    """A docker daemon with images as a registry has them: a Debian, one with compilers, and one with a Python."""

    variables: Mapping[str, str]
    kit: Path

    def docker(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, **self.variables}
        return subprocess.run(["docker", *words], env=environ, capture_output=True, text=True)

    def copy_kit(self, folder: Path) -> None:
        shutil.copytree(self.kit, folder, symlinks=True)

    def job(
        self, script: str, *, image: str = BASELINE, environ: Mapping[str, str] = CI, mount: Path
    ) -> subprocess.CompletedProcess[str]:
        """In a fresh container as docker makes it: its default capabilities and filter. The kit is /own/kit."""
        words = [f"--env={name}={value}" for name, value in environ.items()]
        words += [f"--volume={self.kit}:/own/kit:ro", f"--volume={mount}:/builds/app", "--workdir=/builds/app"]
        words += [f"--env=SSL_CERT_FILE={containers_ca()}", "--env=PY_PORTABLE_STORE=/store"]
        return self.docker("run", "--rm", "--network=host", *words, image, "sh", "-c", script)


def containers_ca() -> str:
    return "/etc/ssl/certs/ca-certificates.crt"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runner.program(tmp_path_factory.mktemp("npm"))


@pytest.fixture(scope="module")
def gitlab(docker: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder = tmp_path_factory.mktemp("images")
    store = Store(default_root(os.environ))
    containers.images(docker, "debian:12", resolve("debian:12", store=store).root)
    # The image of another test as well, so that it is made once.
    rich = resolve("debian:12", needs=("compilers", "system-python"), store=store)
    containers.images(docker, "rich", rich.root)
    containers.kit(folder / "kit", builds=True)
    mirror(folder)
    shutil.copy(CA, folder / "ca.crt")
    (folder / "Dockerfile").write_text(ROOM.format(name="rich"))
    told = Runner(docker, folder / "kit")
    environ = {**os.environ, **docker, "DOCKER_BUILDKIT": "0"}
    words = ["docker", "build", "--network=host", "--tag", BASELINE, "--tag", "python:3.13", folder]
    built = subprocess.run(words, env=environ, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    yield told


def mirror(folder: Path) -> None:
    """`folder`/mirror: a repository of Debian packages that holds one."""
    (folder / "tree/DEBIAN").mkdir(parents=True)
    (folder / "tree/DEBIAN/control").write_text(PACKAGE)
    (folder / "mirror").mkdir()
    deb = folder / "mirror/from-a-mirror_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", folder / "tree", deb], check=True)
    sha256 = hashlib.sha256(deb.read_bytes()).hexdigest()
    told = f"{PACKAGE}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {sha256}\n"
    (folder / "mirror/Packages").write_text(told)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    for name, text in APP.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_from_nothing_to_a_green_run_where_no_engine_starts(tmp_path: Path, program: Path, gitlab: Runner) -> None:
    caller = runner.make(
        tmp_path / "caller",
        program,
        "flat.gitlab-ci.yml",
        {},
        inputs={"baselines": [BASELINE]},
        kit=gitlab.copy_kit,
        files=APP,
    )
    ran = caller.run(
        "--shell-isolation",
        "--network=host",
        f"--helper-image={containers.HELPER}",
        "--pull-policy=if-not-present",
        *(f"--variable={name}={value}" for name, value in CI.items()),
        f"--variable=SSL_CERT_FILE={containers_ca()}",
        env=gitlab.variables,
        containers=True,
        seconds=900,
    )
    assert ran.status == 0, ran.text
    assert "because no engine works on this machine" in ran.text
    assert "No engine is used on this runner" in ran.text
    found = sorted((caller.folder / ".gitlab-ci-local/artifacts").rglob("merged.json"))
    evidence = json.loads(found[0].read_text())
    assert evidence["conclusions"]["verdict"] == "PASS"
    (cell,) = evidence["cells"]
    assert (cell["image"], cell["verdict"], cell["isolation"]) == ("debian:12", "PASS", "partial")
    assert_says_so(evidence)


def assert_says_so(evidence: Mapping[str, Any]) -> None:
    """What is not kept of builds, and what is not known of the baseline."""
    (baseline,) = evidence["baselines"]
    assert (baseline["source"], baseline["glibc"]) == ("container", "2.36")
    assert {"os-release", "glibc"} <= set(baseline["checked"])
    assert {row["aspect"] for row in baseline["unknown"]} >= {"digest", "packages"}
    steps = {step["name"]: step for step in evidence["steps"]}
    for name in ("artifact tree", "wheelhouse 3.11 (default)"):
        for row in steps[name]["sandbox"]:
            assert (row["engine"], row["isolation"]) == ("native", "partial")
            lacks = {lack["aspect"] for lack in row["lacks"]}
            # Where packages are installed the network is no promise.
            assert {"files", "own-ids"} <= lacks and ("network" in lacks) is not row["network"]
            assert "you chose it by name" in row["lacks"][0]["reason"]


def test_steps_leave_nothing_to_one_another(gitlab: Runner, app: Path) -> None:
    """Inputs, files, processes; and a token of the job is in no step's reach, though it is in the same container."""
    shutil.copy(Path(__file__).with_name("inside_driver.py"), app / "driver.py")
    script = "LD_LIBRARY_PATH=/own/kit/lib /own/kit/bin/python -I -B /builds/app/driver.py"
    done = gitlab.job(script, environ={**CI, "CI_JOB_TOKEN": "glcbt-Ghee6iechoh4"}, mount=app)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    first, second = told["first"], told["second"]
    assert first["out"] == {"read": "what the first step reads\n"}
    assert told["given"] == "what the first step reads\n"
    assert first["status"] == 0 and "HOME=/build" in first["said"]
    assert "glcbt-" not in first["said"] and "Permission denied" in first["said"]
    assert "left" not in second["said"] and "sleep" not in second["said"]
    assert all(f"cannot access '{place}'" in second["said"] for place in ("/in", "/kit"))
    # As in a manylinux image, whose own folder of that name is out of the way while a step has its interpreter there.
    assert "cp311-cp311" not in first["said"] and "cp311-cp311\nlatest\n" in second["said"]
    assert told["image"] == "image\n"
    assert second["out"] == {}
    assert "/etc/passwd, /etc/shadow" in told["third"]["error"]
    assert "this container cannot be used for further builds" in told["fourth"]["error"]
    assert {row["engine"] for row in told["builds"]} == {"native"}
    assert not {"build", "out", "in", "kit"} & set(told["left"])


@pytest.mark.parametrize(
    ("environ", "image", "words"),
    [
        ({}, BASELINE, "no variable of a CI says that the job's environment is thrown away"),
        ({"CI": "true"}, BASELINE, "no variable of a CI says that the job's environment is thrown away"),
        ({**CI, "CI_JOB_IMAGE": "python:3.13"}, BASELINE, "the job's image is python:3.13"),
        ({**CI, "CI_JOB_IMAGE": f"{BASELINE}@sha256:{'1' * 64}"}, BASELINE, "locked is sha256:222"),
    ],
    ids=["by hand", "CI says too little", "another image", "another digest"],
)
def test_a_container_that_is_not_the_one(
    gitlab: Runner, app: Path, environ: Mapping[str, str], image: str, words: str
) -> None:
    lock = {"version": 1, "images": {}, "pins": {}, "houses": {}, "origins": {BASELINE: f"sha256:{'2' * 64}"}}
    (app / "portable.lock").write_text(json.dumps(lock))
    done = gitlab.job("/own/kit/py-portable build --build-engine native", image=image, environ=environ, mount=app)
    assert done.returncode in (3, 4), done.stderr
    assert words in done.stderr and "next: " in done.stderr
    if words.startswith("the job's image"):
        assert f"{{name: '{BASELINE.partition(':')[0]}@sha256:{'2' * 64}'}}" in done.stderr


def test_this_machine_is_no_container_of_a_job(tmp_path: Path, app: Path) -> None:
    """With all that a job has in its environment; and no engine of a laptop is asked either."""
    environ = {**CI, "CI_JOB_IMAGE": BASELINE, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    ran = portable(
        "build",
        "--build-engine",
        "native",
        cwd=app,
        env={**environ, "PY_PORTABLE_STORE": str(tmp_path / "store")},
    )
    assert ran.status == 3
    assert re.search(r"its processes are those of the machine|its first process is|its root is of the type", ran.stderr)
    assert not (app / "dist").exists() and not Path("/build").exists()
