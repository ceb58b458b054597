"""What a cache brings for the set-up is held against the requirements before anything looks into it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from py_portable.ci.github import kit_wheels

HERE = Path(__file__).parents[2]
UV = b"#!/bin/sh\necho uv\n"


def wheel(folder: Path, name: str = "uv-1.0-py3-none-any.whl", data: bytes = UV) -> str:
    """The line of the requirements that admits it."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("uv-1.0.data/scripts/uv", data)
        archive.writestr("uv/__init__.py", "")
    return f"uv==1.0 \\\n    --hash=sha256:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n"


def test_uv_comes_out_of_its_wheel(tmp_path: Path) -> None:
    told = wheel(tmp_path / "wheels")
    assert kit_wheels.take(told, tmp_path / "wheels", tmp_path / "uv")
    assert subprocess.run([tmp_path / "uv"], capture_output=True).stdout == b"uv\n"


def test_another_wheel_than_was_asked_for_is_removed(tmp_path: Path) -> None:
    told = wheel(tmp_path / "wheels")
    wheel(tmp_path / "wheels", data=b"#!/bin/sh\ntouch forged\n")
    (tmp_path / "wheels" / "link.whl").symlink_to("/etc/passwd")
    assert not kit_wheels.take(told, tmp_path / "wheels", tmp_path / "uv")
    assert not (tmp_path / "uv").exists()
    assert not list((tmp_path / "wheels").iterdir())


def test_without_a_cache_there_is_nothing_to_take(tmp_path: Path) -> None:
    assert not kit_wheels.take("", tmp_path / "none", tmp_path / "uv")
    (tmp_path / "wheels" / "uv-folder").mkdir(parents=True)
    assert not kit_wheels.take("", tmp_path / "wheels", tmp_path / "uv")


def test_it_starts_where_there_is_no_package_at_all(tmp_path: Path) -> None:
    kit = HERE / "requirements" / "kit.txt"
    argv = [sys.executable, "-I", "-S", HERE / "src/py_portable/ci/github/kit_wheels.py"]
    one, other = (subprocess.run([*argv, "key", kit], capture_output=True, text=True, check=True) for _ in "ab")
    assert one.stdout == other.stdout == kit_wheels.key(kit.read_bytes()) + "\n"
    assert subprocess.run([*argv, "take", kit, tmp_path, tmp_path / "uv"]).returncode == 1
    assert subprocess.run(argv, capture_output=True).returncode == 2
    assert kit_wheels.key(b"other") != kit_wheels.key(kit.read_bytes())


@pytest.mark.parametrize("told", ["false", " No ", "OFF", "0"])
def test_without_a_cache_none_is_asked(told: str, tmp_path: Path) -> None:
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "RUNNER_TEMP": str(tmp_path)}
    argv = [HERE / "scripts" / "ci-github", "packages"]
    for value, cache in (("", "true"), ("yes", "true"), (told, "false")):
        done = subprocess.run(argv, env={**env, "PY_PORTABLE_INPUT_CACHE": value}, capture_output=True, text=True)
        lines = dict(line.split("=", 1) for line in done.stdout.splitlines())
        assert lines["cache"] == cache
        assert lines["path"] == f"{tmp_path}/py-portable/wheels"
