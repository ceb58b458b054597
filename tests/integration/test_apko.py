"""apko's implementation of apk, in Go: it installs a package into an empty root, and sorts versions."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from py_portable.formats.system_packages.apk_rules import of_python
from tests import apks
from tests.integration.conftest import Project
from tests.integration.test_apk import build
from tests.unit.test_apk import KNOWN_VERSIONS

# Its modules and the time to compile them are too much for every change.
pytestmark = [pytest.mark.integration, pytest.mark.nightly]
SOURCE = Path(__file__).parent / "apko"


@pytest.fixture(scope="module")
def apko(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program. What it is made of is pinned by go.sum."""
    if not shutil.which("go"):
        pytest.skip("no Go")
    room = tmp_path_factory.mktemp("apko")
    shutil.copytree(SOURCE, room / "source")
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}

    def go(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["go", *words], cwd=room / "source", env=env, capture_output=True, text=True)

    # Only what the program imports is fetched.
    listed = go("list", "-deps", ".")
    if listed.returncode:
        pytest.skip(f"no modules of apko: {listed.stderr.strip()[-200:]}")
    made = go("build", "-o", room / "apko", ".")
    assert made.returncode == 0, made.stderr
    return room / "apko"


def test_it_installs_a_package_and_finds_all_its_files(apko: Path, tmp_path: Path) -> None:
    project: Project = build(tmp_path / "project")
    (package,) = (project.folder / "dist" / "package").iterdir()
    root = tmp_path / "root"
    root.mkdir()
    done = subprocess.run([apko, "install", root, "tool", package], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    about, digest, *names = done.stdout.splitlines()
    own = apks.read(package)
    assert about.split() == ["tool", "2.0_rc1-r1"] and [digest] == own.info["datahash"]
    assert sorted(names) == sorted(own.files)
    for name, entry in own.files.items():
        place = root / name
        if entry.kind == "2":
            assert str(place.readlink()) == entry.link
        else:
            assert place.stat().st_mode & 0o7777 == entry.mode, name
            assert entry.kind == "5" or place.read_bytes() == entry.data, name


def test_it_sorts_versions_as_python_does(apko: Path) -> None:
    # apk reads any suffixes one after another, but apko only one for before a release and one for after it.
    plain = [text for text in map(of_python, KNOWN_VERSIONS) if "_pre" not in text]
    assert len(plain) > 6
    words = [f"{text}-r{release}" for text in plain for release in (0, 1)]
    done = subprocess.run([apko, "sorted", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
