"""The sample's bundle, as the main job made it: moved, linked to, and used like a Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from py_portable.formats.folder_archive import unpack
from py_portable.store import digest
from tests.integration.conftest import MainJob

pytestmark = pytest.mark.integration

LINES = ["psycopg2 works!", "pycurl works!", "myextension works!"]
MAX_ARCHIVE_BYTES = 18_000_000
# Not there: what is of other systems, needs a display, or was not built in the baseline (_dbm: no ndbm).
IMPORT_ALL = """
import importlib, sys
elsewhere = {"msilib", "msvcrt", "nt", "ntpath", "winreg", "winsound", "_winapi", "_wmi", "_overlapped", "_msi",
    "_scproxy", "_android_support", "_apple_support", "_ios_support", "tkinter", "_tkinter", "turtle", "turtledemo",
    "idlelib", "antigravity", "this", "_testconsole", "_dbm"}
for name in sorted(sys.stdlib_module_names - elsewhere):
    try:
        importlib.import_module(name)
    except ImportError as problem:
        print(name, problem)
"""
POOL = """
import json, locale, multiprocessing, os, sqlite3, ctypes, subprocess, sys
if __name__ == "__main__":
    for way in ("spawn", "fork", "forkserver"):
        with multiprocessing.get_context(way).Pool(1) as pool:
            print(pool.map(abs, [-1]))
    print(sorted(k for k in os.environ if k.startswith(("PYTHON", "LD_"))))
    def child(*words, **more):
        return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, **more).stdout
    print(json.loads(child("-m", "json.tool", input="{}")), end="")
    print(child("-m", "myapp.myapp", "run"), end="")
    print(sqlite3.connect(":memory:").execute("select upper('a')").fetchone(), ctypes.pythonapi.Py_IsInitialized())
    print(locale.setlocale(locale.LC_ALL, "C.UTF-8"), sys.getfilesystemencoding())
"""
POOLED = ["[1]", "[1]", "[1]", "[]", "{}psycopg2 works!", *LINES[1:], "('A',) 1", "C.UTF-8 utf-8"]
OPENSSL = "import _hashlib, _ssl, ssl; print(_ssl.OPENSSL_VERSION, *ssl.get_default_verify_paths()[3::2])"


@pytest.fixture(scope="module")
def moved(main_job: MainJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive unpacked where it was not made."""
    assert main_job.build.status == 0
    place = tmp_path_factory.mktemp("ü x")
    archive = main_job.project.folder / "dist" / "tree" / "myapp.tar.zst"
    assert archive.stat().st_size <= MAX_ARCHIVE_BYTES
    unpack(archive, place)
    return place / "myapp"


def ran(*words: str | Path, cwd: Path | None = None) -> list[str]:
    environ = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, env=environ, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_runs_where_it_was_put_and_leaves_its_folder_as_it_was(moved: Path, tmp_path: Path) -> None:
    before = digest(moved)
    (tmp_path / "a b").mkdir()
    (tmp_path / "link").symlink_to(moved / "myapp")
    (tmp_path / "a b" / "chain").symlink_to("../link")
    (tmp_path / "folder").symlink_to(moved)
    assert ran(moved / "myapp", "run") == LINES
    assert ran("./chain", "run", cwd=tmp_path / "a b") == LINES
    assert ran("../folder/myapp", "run", cwd=tmp_path / "a b") == LINES
    assert ran(moved / "bin" / "myapp", "run") == LINES
    (tmp_path / "pool.py").write_text(POOL)
    assert ran(moved / "bin" / "python3", tmp_path / "pool.py") == POOLED
    assert digest(moved) == before


def test_another_user_may_run_it_where_nobody_can_write(moved: Path) -> None:
    """Below /srv, on a file system that is mounted read-only."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    place = "/srv/ü x"
    cell = ("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/srv", "--ro-bind", moved, place)
    user = ("setpriv", "--reuid", "4321", "--regid", "4321", "--clear-groups", "--")
    assert ran(*cell, *user, "sh", "-c", f"! touch '{place}/x' && id -u") == ["4321"]
    assert ran(*cell, *user, f"{place}/myapp", "run") == ran(*cell, f"{place}/myapp", "run") == LINES


def test_its_owner_may_run_it_without_the_right_to_write(moved: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    own = tmp_path / "own"
    shutil.copytree(moved, own, symlinks=True)
    subprocess.run(["chmod", "-R", "a-w", own], check=True)
    subprocess.run(["chown", "-R", "-h", "4321:4321", own], check=True)
    before = digest(own)
    cell = ("bwrap", "--bind", "/", "/", "--dev", "/dev", "--tmpfs", "/srv", "--bind", own, "/srv/own")
    user = ("setpriv", "--reuid", "4321", "--regid", "4321", "--clear-groups", "--")
    assert ran(*cell, *user, "/srv/own/myapp", "run") == LINES
    assert ran(*cell, *user, "/srv/own/bin/python3", "-m", "myapp.myapp", "run") == LINES
    assert digest(own) == before


def test_every_module_of_the_standard_library_still_imports(moved: Path) -> None:
    assert ran(moved / "bin" / "python3", "-I", "-c", IMPORT_ALL) == []
    (openssl,) = ran(moved / "bin" / "python3", "-I", "-c", OPENSSL)
    assert openssl.startswith("OpenSSL 3.5.") and openssl.endswith(" /etc/ssl/cert.pem /etc/ssl/certs")
