"""scripts/nox for real: it makes a .venv from the package index and hands over to nox."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).parents[2]
# The part of the lock that nox itself needs, so that each set-up takes seconds.
NEEDED = [
    "argcomplete",
    "attrs",
    "colorlog",
    "dependency-groups",
    "distlib",
    "filelock",
    "humanize",
    "nox",
    "packaging",
    "pip",
    "platformdirs",
    "python-discovery",
    "setuptools",
    "virtualenv",
]
NOXFILE = """
import nox

@nox.session(venv_backend="none")
def hello(session):
    print("hello", *session.posargs)
"""
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "tiny"
version = "1"
"""


def small_lock() -> str:
    text = (REPOSITORY / "requirements" / "dev.txt").read_text(encoding="utf-8")
    stanzas = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    kept = [stanza for stanza in stanzas if stanza.split("==")[0] in NEEDED]
    assert len(kept) == len(NEEDED)
    return "".join(kept)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A tiny project with the launcher, in a folder whose name has spaces."""
    folder = tmp_path / "a tiny project"
    (folder / "scripts").mkdir(parents=True)
    (folder / "requirements").mkdir()
    (folder / "src" / "tiny").mkdir(parents=True)
    (folder / "src" / "tiny" / "__init__.py").touch()
    shutil.copy2(REPOSITORY / "scripts" / "nox", folder / "scripts" / "nox")
    (folder / "requirements" / "dev.txt").write_text(small_lock(), encoding="utf-8")
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (folder / "noxfile.py").write_text(NOXFILE, encoding="utf-8")
    return folder


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PY_PORTABLE_PYTHON": sys.executable, **extra}


def start(script: Path, *words: str, cwd: Path | str = "/", **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *words],
        env=environment(**extra),
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=300,
    )


def test_set_up_once_then_reuse_from_anywhere_and_through_a_link(project: Path, tmp_path: Path) -> None:
    launcher = project / "scripts" / "nox"
    first = start(launcher, "-s", "hello", "--", "one two", "*", PYTHONDONTWRITEBYTECODE="1")
    assert first.returncode == 0, first.stderr
    assert "hello one two *" in first.stdout
    assert "Set up in" in first.stderr
    # What a command imports is compiled once, also where Python may write no bytecode by itself.
    assert len(list((project / "src" / "tiny" / "__pycache__").glob("__init__.*.pyc"))) == 1

    stamp = project / ".venv" / "py-portable.stamp"
    made = stamp.stat().st_mtime_ns
    link = tmp_path / "link"
    link.symlink_to(launcher)
    again = start(link, "-s", "hello", cwd=project / "src")
    assert again.returncode == 0, again.stderr
    assert "Set up" not in again.stderr
    assert stamp.stat().st_mtime_ns == made

    began = time.monotonic()
    assert start(launcher, "--ensure").returncode == 0
    # Far above what it takes (some ms), far below a Python that is started for nothing several times.
    assert time.monotonic() - began < 2

    # A new lock makes the .venv anew; what is in it but not in the lock is gone.
    (project / ".venv" / "stray").touch()
    with (project / "requirements" / "dev.txt").open("a", encoding="utf-8") as stream:
        stream.write("# another line\n")
    changed = start(launcher, "--ensure")
    assert changed.returncode == 0, changed.stderr
    assert "Set up in" in changed.stderr
    assert not (project / ".venv" / "stray").exists()


def test_two_at_once_set_up_once(project: Path) -> None:
    launcher = project / "scripts" / "nox"
    pair = [
        subprocess.Popen(
            [launcher, "-s", "hello", "--", str(number)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    outputs = [child.communicate(timeout=300) for child in pair]
    assert [child.returncode for child in pair] == [0, 0], outputs
    talk = "".join(stderr for _, stderr in outputs)
    assert talk.count("Setting up") == 1
    assert talk.count("Waiting for another start") == 1
    for number, (stdout, _) in enumerate(outputs):
        assert f"hello {number}" in stdout


def test_a_killed_set_up_is_made_again(project: Path) -> None:
    launcher = project / "scripts" / "nox"
    child = subprocess.Popen(
        [launcher, "--ensure"],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stderr
    assert b"Setting up" in child.stderr.readline()
    time.sleep(1.5)
    os.killpg(child.pid, 9)
    child.wait()
    child.stderr.close()
    assert not (project / ".venv" / "py-portable.stamp").exists()
    again = start(launcher, "-s", "hello")
    assert again.returncode == 0, again.stderr
    assert "Waiting" not in again.stderr


def test_a_wrong_hash_is_refused(project: Path) -> None:
    lock = project / "requirements" / "dev.txt"
    text = re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text(encoding="utf-8"))
    lock.write_text(text, encoding="utf-8")
    result = start(project / "scripts" / "nox", "--ensure")
    assert result.returncode == 3
    assert "HASH" in result.stderr.upper()
    assert not (project / ".venv" / "py-portable.stamp").exists()


def test_without_ensurepip_another_pip_fills_the_venv(project: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ensurepip.py").write_text("raise ImportError('ensurepip')\n", encoding="utf-8")
    python = tmp_path / "python-without-ensurepip"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{hidden}" exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    result = start(project / "scripts" / "nox", "-s", "hello", PY_PORTABLE_PYTHON=str(python), PY_PORTABLE_NO_FIX="1")
    assert result.returncode == 0, result.stderr
    assert "hello" in result.stdout
