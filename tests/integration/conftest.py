"""One store for a session of tests: what the main job builds is built once and shared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from py_portable.engines.bubblewrap import Bubblewrap
from py_portable.engines.static_helpers.stored import helpers
from py_portable.store import Store, default_root
from tests.integration import docker_daemon, manylinux_like

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    status: int
    stdout: str
    stderr: str


def portable(*words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ran:
    """Run the command line as a user would."""
    done = subprocess.run(
        [sys.executable, "-m", "py_portable", *map(str, words)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        errors="replace",
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def bubblewrap() -> Bubblewrap:
    """The engine with the compiled helpers of the store, without which it starts nothing."""
    return Bubblewrap(helpers(Store(default_root(os.environ))))


@dataclass(frozen=True)
class Project:
    """A folder with a config, used like a user's repository."""

    folder: Path

    def run(self, *words: str | Path, env: dict[str, str] | None = None) -> Ran:
        return portable(*words, cwd=self.folder, env=env)

    @property
    def evidence(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / "dist" / "evidence.json").read_text())
        return told

    def cells(self, **wanted: str) -> list[dict[str, Any]]:
        return [c for c in self.evidence["cells"] if all(c[key] == value for key, value in wanted.items())]


def ignore_leftovers(_folder: str, names: Sequence[str]) -> set[str]:
    return {n for n in names if n in ("build", "__pycache__") or n.endswith(".egg-info")}


def sample(folder: Path) -> Project:
    """The sample app with its config, copied out of the repository."""
    shutil.copytree(REPOSITORY / "examples", folder / "examples", ignore=ignore_leftovers)
    shutil.copy(REPOSITORY / "portable.yaml", folder)
    return Project(folder)


@dataclass(frozen=True)
class MainJob:
    project: Project
    build: Ran
    portability: Ran


@pytest.fixture(scope="session")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> MainJob:
    """The sample built and proven, as `nox -s build portability` does it."""
    project = sample(tmp_path_factory.mktemp("main"))
    built = project.run("build", "--ahead", "-v")
    assert built.status == 0, built.stderr
    return MainJob(project, built, project.run("portability", "-v"))


@pytest.fixture(scope="session")
def docker() -> Iterator[dict[str, str]]:
    """The variables that lead to a docker daemon of the tests' own."""
    with docker_daemon.dockerd() as variables:
        yield variables


@pytest.fixture(scope="session")
def podman() -> Iterator[dict[str, str]]:
    """The variables with which podman works apart from the machine's own."""
    with docker_daemon.podman() as variables:
        yield variables


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> manylinux_like.Parts:
    """Our own interpreters 3.13 and 3.11, and the root that they were compiled in."""
    return manylinux_like.parts(tmp_path_factory.mktemp("parts") / "config")


@pytest.fixture(scope="session")
def manylinux_layout(tmp_path_factory: pytest.TempPathFactory, parts: manylinux_like.Parts) -> manylinux_like.Layout:
    """An image laid out like a manylinux image, as an OCI layout on disk."""
    return manylinux_like.make(tmp_path_factory.mktemp("manylinux"), parts)
