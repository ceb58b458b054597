"""Apps from the package index that are not the sample: what works for one of ours must work for anybody's.

Each format is made of what can go wrong in it: data files, an extension from its sdist, processes of its own. Extensions
compiled into an executable are the sample's.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import MainJob, Project, portable

pytestmark = pytest.mark.integration

BASELINE = """
python: "3.13"
baselines:
  default: {image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}
wheels: {max-glibc: "2.31", no-binary: [NO_BINARY]}
portability:
  images: ["debian:11", "debian:13"]
  probes: [no-home]
"""

DATA_FILES = """version: 1
app:
  requirement: "pyfiglet==1.0.2"
  smoke: [{args: ["-f", "mini", "ab"], stdout: [" _.|_  ", "(_||_) "]}]
artifacts: {folder: {format: nuitka-standalone}, tree: {format: bundle, archive: false}}
""" + BASELINE.replace("NO_BINARY", "")

C_EXTENSION = """version: 1
app:
  requirement: "bsdiff4==1.2.6"
  script: bsdiff4
  smoke: [{args: ["--help"]}]
artifacts: {house: {format: wheelhouse}}
""" + BASELINE.replace("NO_BINARY", "bsdiff4")

SUBPROCESSES = """version: 1
app:
  requirement: "honcho==2.0.0"
  smoke: [{args: [run, echo, "a child said this"], stdout: ["a child said this"]}]
artifacts: {single: {format: nuitka-onefile, args: [--onefile-no-compression]}}
""" + BASELINE.replace("NO_BINARY", "")


@pytest.mark.parametrize(
    ("config", "cells"),
    [
        pytest.param(DATA_FILES, 8, id="pure Python with data files", marks=pytest.mark.nightly),
        pytest.param(C_EXTENSION, 4, id="C compiled from its sdist"),
        pytest.param(SUBPROCESSES, 4, id="starts subprocesses", marks=pytest.mark.nightly),
    ],
)
def test_an_app_of_the_index_is_built_and_proven(config: str, cells: int, tmp_path: Path, main_job: MainJob) -> None:
    assert main_job.build.status == 0
    (tmp_path / "portable.yaml").write_text(config)
    project = Project(tmp_path)
    proven = project.run("portability")
    assert proven.status == 0, proven.stdout + proven.stderr
    assert [c["verdict"] for c in project.evidence["cells"]] == ["PASS"] * cells


def test_two_runs_at_once_share_the_work(tmp_path: Path, main_job: MainJob) -> None:
    """Both build the same new wheelhouse; one waits for the other, both end well and the same."""
    assert main_job.build.status == 0
    text = C_EXTENSION.replace("1.2.6", "1.2.5")
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "portable.yaml").write_text(text)
        words = [sys.executable, "-m", "py_portable", "build"]
        runs.append(subprocess.Popen(words, cwd=tmp_path / name, stderr=subprocess.PIPE, text=True))
    for run in runs:
        assert run.wait() == 0, run.stderr.read() if run.stderr else ""
        if run.stderr:
            run.stderr.close()
    made = [
        sorted((p.name, p.read_bytes()) for p in (tmp_path / name / "dist" / "house").iterdir())
        for name in ("one", "two")
    ]
    assert made[0] == made[1] and made[0]


def test_a_requirement_that_nobody_offers_is_explained(tmp_path: Path) -> None:
    (tmp_path / "portable.yaml").write_text(DATA_FILES.replace("pyfiglet==1.0.2", "pyfiglet==99.0"))
    done = portable("lock", cwd=tmp_path)
    assert done.status != 0 and "pyfiglet==99.0" in done.stderr and "Traceback" not in done.stderr
