"""An app by PyOxidizer: built for real, started on images, and what must survive."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.conftest import REPOSITORY, Project

pytestmark = pytest.mark.integration

MAIN = '''"""Looks at what is easily lost: data with odd names, programs, libraries, modules, metadata."""

import sys

def main():
    import _crypt, bz2, ctypes, curses, dbm.gnu, importlib.metadata, importlib.resources, lzma, os, readline
    import multiprocessing, sqlite3, ssl, subprocess, uuid, zlib
    import myextension, oxidetest

    here = os.path.dirname(oxidetest.__file__)
    assert os.path.isfile(oxidetest.__file__)
    odd = importlib.resources.files("oxidetest").joinpath("odd folder", "n\\u00e9 $x '1'.txt")
    assert odd.read_text() == "odd\\n"
    assert subprocess.check_output([os.path.join(here, "tool.sh")], text=True) == "tool\\n"
    assert importlib.metadata.version("oxidetest") == "1.0"
    assert ctypes.CDLL(myextension.__file__) and ssl.create_default_context() and sqlite3.connect(":memory:")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]
    assert myextension.fnv1a(b"a") == 0xAF63DC4C8601EC8C
    maps = {line.split(" ", 5)[-1].strip() for line in open("/proc/self/maps") if ".so" in line}
    glibc = ("ld-linux", "ld-2", "libc", "libm", "libdl", "libpthread", "librt", "libutil", "libresolv", "libnss")
    app = os.path.dirname(sys.executable)
    foreign = [m for m in maps if not m.startswith(app) and not os.path.basename(m).startswith(glibc)]
    assert not foreign, foreign
    print("program", os.path.basename(sys.argv[0]), *sys.argv[1:])
    return 7
'''

CONFIG = {
    "version": 1,
    "app": {
        "source": "app",
        "smoke": [{"args": ["a b", "-c"], "stdout": ["program oxidetest a b -c"], "exit": 7}],
    },
    "python": "3.11",
    "baselines": {
        "default": {
            "image": "debian:11",
            "packages": ["libpq-dev", "libcurl4-openssl-dev", "libssl-dev"],
            "libraries": ["openssl"],
        }
    },
    "artifacts": {"oxide": {"format": "pyoxidizer"}},
    "portability": {"images": ["debian:11", "debian:12", "debian:13"], "probes": ["read-only", "no-home"]},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("oxide")
    package = folder / "app" / "src" / "oxidetest"
    (package / "odd folder").mkdir(parents=True)
    (package / "odd folder" / "né $x '1'.txt").write_text("odd\n")
    (package / "tool.sh").write_text("#!/bin/sh\necho tool\n")
    (package / "tool.sh").chmod(0o755)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(MAIN)
    (folder / "app" / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "oxidetest"\nversion = "1.0"\ndependencies = []\n'
        '[project.scripts]\noxidetest = "oxidetest.cli:main"\n'
        '[tool.setuptools.packages.find]\nwhere = ["src"]\n'
        '[tool.setuptools.package-data]\noxidetest = ["**/*", "*"]\n'
    )
    shutil.copy(REPOSITORY / "examples/myapp/src/myextension.c", folder / "app")
    (folder / "app" / "setup.py").write_text(
        'from setuptools import Extension, setup\n\nsetup(ext_modules=[Extension("myextension", ["myextension.c"])])\n'
    )
    (folder / "portable.yaml").write_text(json.dumps(CONFIG))
    return Project(folder)


def test_a_rust_that_is_too_old_is_what_the_machine_lacks(project: Project, tmp_path: Path) -> None:
    """All that needs no Rust is built, and the rest says the line that mends it."""
    (tmp_path / "rustc").write_text("#!/bin/sh\necho 'rustc 1.63.0 (abc 2022-08-08)'\n")
    (tmp_path / "rustc").chmod(0o755)
    ran = project.run("build", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert ran.status == 3, ran.stderr
    assert "rustc 1.63.0 (abc 2022-08-08) is too old: PyOxidizer needs 1.81 or newer" in ran.stderr
    assert "rustup toolchain install stable" in ran.stderr


def test_every_cell_passes(project: Project) -> None:
    """A build that is killed on the way, the same command again, and a start on every image."""
    words = [sys.executable, "-m", "py_portable", "build"]
    log = project.folder / "killed.log"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            words, cwd=project.folder, stdout=stream, stderr=stream, start_new_session=True
        )
        end = time.monotonic() + 1500
        while b"started  artifact oxide" not in log.read_bytes() and child.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.5)
        time.sleep(10)
        child.send_signal(signal.SIGKILL)
        child.wait()
    ran = project.run("build")
    assert ran.status == 0, ran.stderr
    ran = project.run("portability")
    assert ran.status == 0, ran.stdout + ran.stderr
    cells = project.cells(artifact="oxide")
    assert len(cells) == 9
    assert {cell["verdict"] for cell in cells} == {"PASS"}


def test_modes_and_names_of_the_folder(project: Project) -> None:
    (made,) = (project.folder / "dist" / "oxide").iterdir()
    modes = {
        path.relative_to(made).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in made.rglob("*")
        if path.is_file()
    }
    assert set(modes.values()) == {0o644, 0o755}
    assert modes["oxidetest"] == 0o755 and modes["lib/oxidetest/tool.sh"] == 0o755
    assert modes["lib/oxidetest/odd folder/né $x '1'.txt"] == 0o644
    assert not (made / "lib" / "bin").exists()
