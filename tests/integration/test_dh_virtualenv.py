"""A Debian package by the real dh-virtualenv: built for one release, proven there, and refused by another one's apt."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from py_portable import images
from py_portable.engines.engine import Bind, Job
from py_portable.store import Store, default_root
from tests.integration.conftest import Project, Ran, bubblewrap
from tests.promises import tiny

pytestmark = pytest.mark.integration
FILES = {
    "pyproject.toml": """[build-system]
requires = ["setuptools>=70"]
build-backend = "setuptools.build_meta"
[project]
name = "pq-version"
version = "2.0rc1"
description = "Tells which libpq it is linked with"
license = {text = "MIT"}
authors = [{name = "Jane Doe", email = "jane@example.org"}]
dependencies = ["iniconfig"]
[project.scripts]
pq-version = "pq_version:main"
[tool.setuptools]
py-modules = ["pq_version"]
""",
    "setup.py": """from setuptools import Extension, setup
setup(ext_modules=[Extension("pq_native", ["native.c"], libraries=["pq"])])
""",
    "native.c": """#include <Python.h>
int PQlibVersion(void);
static PyObject *libpq(PyObject *self, PyObject *none) { return PyLong_FromLong(PQlibVersion()); }
static PyMethodDef methods[] = {{"libpq", libpq, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "pq_native", NULL, -1, methods};
PyMODINIT_FUNC PyInit_pq_native(void) { return PyModule_Create(&module); }
""",
    "pq_version.py": """import importlib.util
import os
import sys
import iniconfig
import pq_native
def main():
    print("libpq", pq_native.libpq() // 10000)
    print("python", *sys.version_info[:2], sys.prefix, os.access(sys.prefix, os.W_OK))
    print("cached", os.path.exists(iniconfig.__cached__), "pip", importlib.util.find_spec("pip") is not None)
""",
}
CONFIG = """version: 1
app:
  source: app
  smoke:
    - {{args: [], stdout: ["libpq 15", "python 3 11 /opt/venvs/pq-version False", "cached True pip False"]}}
python: "3.13"
wheels: {{max-glibc: "2.31"}}
artifacts:
  distro: {{format: dh-virtualenv, releases: ["debian:12"], packages: [libpq-dev], depends: [hello]}}
portability:
  images: ["debian:12", "debian:13", "docker-archive:{other}"]
  probes: [read-only, no-home]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Ran]:
    folder = tmp_path_factory.mktemp("distro")
    (folder / "app").mkdir()
    for name, text in FILES.items():
        (folder / "app" / name).write_text(text)
    tiny.image(folder / "other.tar", {"etc/passwd": b"root:x:0:0::/:/none\n"})
    (folder / "portable.yaml").write_text(CONFIG.format(other=folder / "other.tar"))
    project = Project(folder)
    return project, project.run("portability", "-v")


def package(project: Project) -> Path:
    (found,) = (project.folder / "dist" / "distro-debian-12").iterdir()
    return found


def test_its_release_installs_starts_upgrades_and_removes_it(made: tuple[Project, Ran]) -> None:
    project, ran = made
    assert ran.status == 0, ran.stdout + ran.stderr
    cells = project.cells(image="debian:12")
    assert [cell["verdict"] for cell in cells] == ["PASS"] * 3
    (plain,) = (cell for cell in cells if cell["condition"] == "plain")
    stages = [(one["stage"], one["status"], one["left"] + one["changed"]) for one in plain["stages"]]
    assert stages == [(name, "done", []) for name in ("install", "upgrade", "remove", "purge")]
    assert [one.partition(" ")[0] for one in plain["provided"]] == ["hello", "libpq5", "python3"]


def test_the_apt_of_another_release_refuses_it(made: tuple[Project, Ran]) -> None:
    project, _ = made
    cells = project.cells(image="debian:13")
    assert {(cell["verdict"], cell["reason"]) for cell in cells} == {("XFAIL", "release")}
    assert "pq-version : Depends: python3 (< 3.12) but 3.13" in cells[0]["detail"]
    (other,) = {cell["verdict"] for cell in project.cells() if cell["image"].startswith("docker-archive:")}
    assert other == "NOT-APPLICABLE"


def test_what_it_says_of_itself(made: tuple[Project, Ran]) -> None:
    project, _ = made
    file = package(project)
    assert file.name.startswith("pq-version_2.0~rc1-1+deb12_")
    fields = {}
    for name in ("Version", "Depends", "Maintainer", "Description"):
        words = ["dpkg-deb", "--field", file, name]
        fields[name] = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    assert fields["Version"] == "2.0~rc1-1+deb12"
    assert fields["Maintainer"] == "Jane Doe <jane@example.org>"
    assert fields["Description"].startswith("Tells which libpq it is linked with\n")
    # Its one ELF file calls libpq and Python alone.
    assert fields["Depends"] == "libpq5 (>= 9.1~), python3 (>= 3.11), python3 (<< 3.12), hello"
    listed = subprocess.run(["dpkg-deb", "--contents", file], check=True, capture_output=True, text=True).stdout
    assert "./usr/bin/pq-version -> /opt/venvs/pq-version/bin/pq-version" in listed
    assert "/bin/python -> python3" in listed and "/bin/pip" not in listed and "activate" not in listed
    assert {line.split()[1] for line in listed.splitlines()} == {"root/root"}


def test_nothing_in_it_tells_where_it_was_built(made: tuple[Project, Ran], tmp_path: Path) -> None:
    project, _ = made
    subprocess.run(["dpkg-deb", "--extract", package(project), tmp_path], check=True)
    found = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert found and not [path for path in found if b"/build/source" in path.read_bytes()]


def test_lintian_finds_no_error(made: tuple[Project, Ran]) -> None:
    project, _ = made
    store = Store(default_root(os.environ))
    image = images.resolve("debian:12", packages=("lintian",), store=store)
    shown = f"/in/{package(project).name}"
    words = ("/usr/bin/lintian", "--allow-root", "--fail-on", "error", shown)
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
    binds = (Bind(package(project), shown),)
    job = Job("build", image.root, words, env, binds=binds, root_access="throw-away")
    ended = bubblewrap().run(job, timeout=120)
    said = ended.stdout.text + ended.stderr.text
    assert ended.ok and "E: " not in said and "W: pq-version: no-manual-page" in said, said


def test_built_again_it_has_the_same_bytes(made: tuple[Project, Ran]) -> None:
    project, _ = made
    before = package(project).read_bytes()
    (step,) = (one for one in project.evidence["steps"] if one["name"] == "artifact distro-debian-12")
    shutil.rmtree(Path(step["log"]).parent)
    ran = project.run("build", "-v", "--locked")
    assert ran.status == 0 and "done  artifact distro-debian-12" in ran.stderr, ran.stderr
    assert package(project).read_bytes() == before
