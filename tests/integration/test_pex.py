"""A small app with a C extension as pex: for one Python and for two, where there is such a Python and where not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from py_portable.formats import Made
from py_portable.formats.pex import Pex
from tests.integration.conftest import Project
from tests.integration.test_elf import needs

pytestmark = pytest.mark.integration

BARE, OLD, MORE, NEW = "debian:12", "debian:12+python3", "debian:12+libpq5+python3", "debian:13+python3"
"""Without a Python, with 3.11, with 3.11 and the library that the app needs, with 3.13."""
SMOKE = """[{args: [run, "a b"], stdout: ["extension works", "argv[1:] ['run', 'a b']", "argv[0] /opt/app/answer.pex",
      "its Python finds the app: 4", "children: [2, 4]", "started again: /opt/app/answer.pex"]}]"""
CONFIG = f"""version: 1
app:
  source: app
  smoke: {SMOKE}
python: "3.11"
baselines:
  default: {{image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}}
artifacts:
  old: {{format: pex}}
  both: {{format: pex, pythons: ["3.13", "3.11"]}}
portability:
  images:
    - debian:12
    - {{image: "debian:12", packages: [python3]}}
    - {{image: "debian:12", packages: [python3, libpq5]}}
    - {{image: "debian:13", packages: [python3]}}
  probes: [read-only, no-home]
  controls: [unrepaired]
"""
FILES = {
    "pyproject.toml": """[build-system]
requires = ["setuptools>=70"]
build-backend = "setuptools.build_meta"
[project]
name = "the-answer"
version = "1"
[project.scripts]
answer = "answer.main:main"
[tool.setuptools]
packages = ["answer"]
""",
    "setup.py": """from setuptools import Extension, setup
setup(ext_modules=[Extension("answer.native", ["native.c"], libraries=["pq"])])
""",
    "native.c": """#include <Python.h>
int PQlibVersion(void);
static PyObject *libpq(PyObject *self, PyObject *none) { return PyLong_FromLong(PQlibVersion()); }
static PyObject *twice(PyObject *self, PyObject *number) { return PyNumber_Add(number, number); }
static PyMethodDef methods[] = {
    {"twice", twice, METH_O, NULL}, {"libpq", libpq, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "native", NULL, -1, methods};
PyMODINIT_FUNC PyInit_native(void) { return PyModule_Create(&module); }
""",
    "answer/__init__.py": "",
    "answer/main.py": """import multiprocessing
import subprocess
import sys

from answer.native import libpq, twice


def main():
    if sys.argv[1:] == ["name"]:
        print(sys.argv[0])
        return
    assert twice(21) == 42 and libpq() > 0
    print("extension works")
    print("argv[1:]", sys.argv[1:])
    print("argv[0]", sys.argv[0])
    found = subprocess.check_output([sys.executable, "-c", "import answer.native as n; print(n.twice(2))"], text=True)
    print("its Python finds the app:", found.strip())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print("children:", pool.map(twice, [1, 2]))
    print("python", *sys.version_info[:2])
    print("executable", sys.executable)
    # Last: where pex has only a temporary folder, the second one takes it away at its end.
    print("started again:", subprocess.check_output([sys.argv[0], "name"], text=True).strip())
""",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("pex")
    for name, text in FILES.items():
        path = folder / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "portable.yaml").write_text(CONFIG)
    project = Project(folder)
    ran = project.run("portability", "-v")
    assert ran.status == 0, ran.stdout + ran.stderr
    return project


def test_it_starts_where_there_is_such_a_python_and_fails_for_that_reason_where_not(built: Project) -> None:
    verdicts: dict[tuple[str, str], set[tuple[str, str | None]]] = {}
    for cell in built.cells():
        if not cell["condition"].startswith("control"):
            verdicts.setdefault((cell["artifact"], cell["image"]), set()).add((cell["verdict"], cell["reason"]))
    missing, there = {("XFAIL", "interpreter")}, {("PASS", None)}
    assert verdicts == {
        ("old", BARE): missing,
        ("old", OLD): there,
        ("old", MORE): there,
        ("old", NEW): missing,
        ("both", BARE): missing,
        ("both", OLD): there,
        ("both", MORE): there,
        ("both", NEW): there,
    }
    assert len(built.cells()) == 2 * 4 * 3 + 2
    (none,) = built.cells(artifact="old", image=BARE, condition="plain")
    (other,) = built.cells(artifact="old", image=NEW, condition="plain")
    assert "Failed to find any of these python binaries" in none["detail"], none
    assert "Failed to find compatible interpreter" in other["detail"], other


def test_it_takes_the_python_of_the_image(built: Project) -> None:
    for image, version in ((OLD, "3 11"), (NEW, "3 13")):
        (cell,) = built.cells(artifact="both", image=image, condition="plain")
        said = cell["stdout_tail"].splitlines()
        assert f"python {version}" in said
        (executable,) = (line for line in said if line.startswith("executable "))
        assert "/pex/venvs/" in executable and executable.endswith("/bin/python")


def test_the_same_wheels_give_the_same_bytes_soon(built: Project) -> None:
    """Made once more, in another work folder, after its result was taken away."""
    before = {name: (built.folder / "dist" / name / "answer.pex").read_bytes() for name in ("old", "both")}
    for step in built.evidence["steps"]:
        if step["name"] in ("artifact old", "artifact both"):
            shutil.rmtree(Path(step["log"]).parent)
    ran = built.run("build", "-v")
    assert ran.status == 0, ran.stderr
    steps = {step["name"]: step for step in built.evidence["steps"]}
    for name, data in before.items():
        assert f"done  artifact {name}" in ran.stderr
        assert (built.folder / "dist" / name / "answer.pex").read_bytes() == data
        # 3 to 5 on a quiet machine.
        assert steps[f"artifact {name}"]["seconds"] < 30


def test_nothing_but_sh_stands_before_the_zip(built: Project) -> None:
    file = built.folder / "dist" / "both" / "answer.pex"
    assert file.read_bytes().startswith(b"#!/bin/sh\n") and file.stat().st_mode & 0o777 == 0o755
    said = subprocess.run([file], env={"PATH": "/nonexistent"}, capture_output=True, text=True)
    assert said.returncode == 1
    assert said.stderr.splitlines()[1:3] == ["python3.13", "python3.11"]


def test_of_wheels_that_were_not_repaired_it_lacks_the_library(built: Project) -> None:
    without, beside = (built.cells(image=image, condition="control:unrepaired") for image in (OLD, MORE))
    assert [(cell["verdict"], cell["reason"]) for cell in (*without, *beside)] == [("XFAIL", "library"), ("PASS", None)]
    assert "libpq.so.5 not found" in without[0]["detail"]
    assert without[0]["sha256"] == beside[0]["sha256"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
@needs("/usr/bin/python3.11")
def test_where_no_folder_has_room_it_is_judged_by_what_it_says(built: Project, tmp_path: Path) -> None:
    """Whenever in its first start the disk is full. With room enough it starts."""
    file = built.folder / "dist" / "both" / "answer.pex"
    fills, room = Pex().start(Made("both", "pex", file, {})).fills, tmp_path / "room"
    room.mkdir()
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PEX_ROOT": str(room / "root")}
    said = {}
    for size in ("1m", "3m", "8m", "100m"):
        script = f'mount -t tmpfs -o size={size} none "$0" && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", script, room, file, "name"]
        said[size] = subprocess.run(words, env=environ, capture_output=True, text=True)
    assert said["100m"].returncode == 0, said["100m"].stderr
    for size in ("1m", "3m", "8m"):
        assert said[size].returncode == 1 and any(line.startswith(fills) for line in said[size].stderr.splitlines()), (
            said
        )
