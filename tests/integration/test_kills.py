"""Kills at random times in the middle of a real build: the same command then goes on and ends the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from py_portable.store import default_root
from tests.integration.conftest import MainJob, Project

pytestmark = pytest.mark.integration

KILLS = 25
CONFIG = """version: 1
app: {{requirement: "bsdiff4==1.2.6", script: bsdiff4}}
python: "3.13"
baselines:
  default: {{image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}}
build: {{env: {{ROUND: "{round}"}}}}
wheels: {{max-glibc: "2.31", no-binary: [bsdiff4]}}
artifacts: {{house: {{format: wheelhouse}}}}
portability: {{images: ["debian:11"]}}
"""


def project(folder: Path) -> Project:
    """A build that nobody has done before: its environment, and so its key, is new."""
    folder.mkdir()
    (folder / "portable.yaml").write_text(CONFIG.format(round=uuid.uuid4()))
    return Project(folder)


def wheels(made: Project) -> list[tuple[str, bytes]]:
    return sorted((p.name, p.read_bytes()) for p in (made.folder / "dist" / "house").iterdir())


def test_killed_builds_go_on_and_end_the_same(tmp_path: Path, main_job: MainJob) -> None:
    assert main_job.build.status == 0
    calm = project(tmp_path / "calm")
    began = time.monotonic()
    assert calm.run("build").status == 0
    whole = time.monotonic() - began

    hunted = project(tmp_path / "hunted")
    chance = random.Random(4)
    ended = 0
    marks: list[str] = []
    for _ in range(KILLS):
        words = [sys.executable, "-m", "py_portable", "build", "-q"]
        child = subprocess.Popen(words, cwd=hunted.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # What a run writes to and shows a sandbox has its number in it: another worker's builds go on meanwhile.
        marks.append(f"-{child.pid}-")
        try:
            ended += child.wait(timeout=chance.uniform(0.05, whole)) == 0
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
    assert ended < KILLS, "no kill hit a run"
    last = hunted.run("build")
    assert last.status == 0, last.stderr
    assert wheels(hunted) == wheels(calm)
    assert _gone(marks), "something of a killed run is still there"
    scratch = [path.name for path in Path(default_root(os.environ), "tmp").iterdir()]
    assert not [name for name in scratch if any(mark in name for mark in marks)]


def _gone(marks: Sequence[str]) -> bool:
    """Whether no sandbox of a killed build is left, after a moment for the kernel."""
    for _ in range(50):
        commands = [_bytes(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
        if not any(mark.encode() in words for words in commands for mark in marks):
            return True
        time.sleep(0.1)
    return False


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
