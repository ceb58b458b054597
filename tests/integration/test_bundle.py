"""The sample's bundle, as the main job made it: moved, linked to, and used like a Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from py_portable.formats.packed import unpack
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
import multiprocessing as m, os, ssl, sqlite3, ctypes, sys
if __name__ == "__main__":
    for way in ("spawn", "fork"):
        with m.get_context(way).Pool(1) as pool:
            print(pool.map(abs, [-1]))
    print(sorted(k for k in os.environ if k.startswith(("PYTHON", "LD_"))))
"""


@pytest.fixture(scope="module")
def moved(main_job: MainJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive unpacked where it was not made."""
    assert main_job.build.status == 0
    place = tmp_path_factory.mktemp("ü x")
    archive = main_job.project.folder / "dist" / "tree" / "myapp.tar.zst"
    assert archive.stat().st_size <= MAX_ARCHIVE_BYTES
    unpack(archive, place)
    return place / "myapp"


def ran(*words: str | Path) -> list[str]:
    done = subprocess.run(words, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_runs_where_it_was_put_and_leaves_its_folder_as_it_was(moved: Path, tmp_path: Path) -> None:
    before = digest(moved)
    (tmp_path / "link").symlink_to(moved / "myapp")
    assert ran(moved / "myapp", "run") == ran(tmp_path / "link", "run") == LINES
    (tmp_path / "pool.py").write_text(POOL)
    assert ran(moved / "bin" / "python3", tmp_path / "pool.py") == ["[1]", "[1]", "[]"]
    assert ran(moved / "bin" / "myapp", "run") == LINES
    assert digest(moved) == before


def test_every_module_of_the_standard_library_still_imports(moved: Path) -> None:
    assert ran(moved / "bin" / "python3", "-I", "-c", IMPORT_ALL) == []
