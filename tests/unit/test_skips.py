"""A skip that is not on the list fails the run, and so does what is left in the environment; tried with a pytest of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

LEAVING = """
import os
import re

def test_leaves_something():
    os.environ["LEFT_BY_A_TEST"] = "x"

def test_undoes(monkeypatch):
    monkeypatch.setenv("SET_BY_A_TEST", "x")

def test_takes_away():
    del os.environ["HOME"]

def test_finds_all_as_it_was():
    assert "LEFT_BY_A_TEST" not in os.environ and os.environ["HOME"]
"""
CONFTEST = Path(__file__).parents[1] / "conftest.py"
SKIPPING = """
import pytest

def test_well():
    pass

def test_skipped():
    pytest.skip("no second disk here")

@pytest.mark.xfail(reason="known")
def test_expected():
    assert False
"""


def run(folder: Path, listed: str, body: str = SKIPPING) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "skips.toml").write_text(listed, encoding="utf-8")
    (folder / "test_it.py").write_text(body, encoding="utf-8")
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(folder),
            str(folder),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
    )


def test_an_unlisted_skip_fails_the_run(tmp_path: Path) -> None:
    result = run(tmp_path, "")
    assert result.returncode == 1
    assert "not in skips.toml: test_it.py::test_skipped: no second disk here" in result.stdout
    assert "test_expected" not in result.stdout.partition("Error: skipped")[2]


def test_a_listed_skip_is_fine_and_so_is_one_that_did_not_happen(tmp_path: Path) -> None:
    listed = "".join(
        f'[[skip]]\ntest = "test_it.py::{name}"\nreason = "no second disk*"\nwhy = "one disk"\n'
        for name in ("test_skipped", "test_gone")
    )
    assert run(tmp_path, listed).returncode == 0


def test_another_reason_is_another_skip(tmp_path: Path) -> None:
    listed = '[[skip]]\ntest = "*"\nreason = "no network"\nwhy = "offline"\n'
    assert run(tmp_path, listed).returncode == 1


def test_a_module_that_skips_itself_counts(tmp_path: Path) -> None:
    result = run(tmp_path, "", 'import pytest\npytest.skip("not on Mars", allow_module_level=True)\n')
    assert result.returncode == 1
    assert "not on Mars" in result.stdout


def test_a_failing_run_stays_failing(tmp_path: Path) -> None:
    assert run(tmp_path, "", "def test_it():\n    raise KeyError\n").returncode == 1


def test_what_a_test_leaves_in_the_environment_is_its_failure_and_nobody_elses(tmp_path: Path) -> None:
    result = run(tmp_path, "", LEAVING)
    assert result.returncode == 1
    failed = re.findall(r"^ERROR test_it.py::(\w+)", result.stdout, re.MULTILINE)
    assert failed == ["test_leaves_something", "test_takes_away"], result.stdout
