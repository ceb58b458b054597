"""The kit's own wheel: what is installed is what is in the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.integration.conftest import REPOSITORY

pytestmark = pytest.mark.integration


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(REPOSITORY / "src", tmp_path / "src", ignore=ignored)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", tmp_path / "out", tmp_path], check=True)
    (wheel,) = (tmp_path / "out").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("py_portable/")}
    # What only refreshes the pins stays in the repository.
    there = {
        p.relative_to(tmp_path / "src").as_posix()
        for p in (tmp_path / "src").glob("py_portable/**/*")
        if p.is_file()
    }
    assert held == {name for name in there if name != "py_portable/resources/tools.in"}
