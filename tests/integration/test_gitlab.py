"""The template run by gitlab-ci-local, with the examples as they stand: verdicts as by hand, reports, exit status."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest

from py_portable.images import resolve
from py_portable.store import Store, default_root
from tests.ci.gitlab import containers, runner
from tests.integration.conftest import Project

pytestmark = pytest.mark.integration

GOOD = {"works": 'echo "$1"'}
PROBES = ("read-only", "no-home")
BAD = {**GOOD, "breaks": "exit 3"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runner.program(tmp_path_factory.mktemp("npm"))


def verdicts(evidence: dict[str, Any]) -> list[tuple[Any, ...]]:
    names = (
        "artifact",
        "sha256",
        "image",
        "image_identity",
        "condition",
        "argv",
        "verdict",
        "reason",
        "isolation",
    )
    return sorted(tuple(map(str, (cell[name] for name in names))) for cell in evidence["cells"])


def by_hand(tmp_path: Path, caller: runner.Caller) -> tuple[int, list[tuple[Any, ...]]]:
    project = Project(tmp_path / "by-hand")
    shutil.copytree(caller.folder / "tools", project.folder / "tools")
    shutil.copy(caller.folder / "portable.yaml", project.folder)
    done = project.run("portability", "--engine", "native")
    return done.status, verdicts(project.evidence)


@pytest.mark.parametrize(
    ("example", "artifacts"),
    [
        ("flat.gitlab-ci.yml", GOOD),
        ("flat.gitlab-ci.yml", BAD),
        ("local.gitlab-ci.yml", GOOD),
        ("local.gitlab-ci.yml", BAD),
    ],
    ids=["flat-green", "flat-red", "child-green", "child-red"],
)
def test_verdicts_are_those_of_the_command_line(
    tmp_path: Path, program: Path, example: str, artifacts: dict[str, str]
) -> None:
    caller = runner.make(tmp_path / "caller", program, example, artifacts)
    flat = example.startswith("flat")
    # With isolation a job sees what its `needs` bring and nothing else; a child's `needs` of its parent the tool passes
    # over, so that there the jobs share a folder.
    if not flat:
        known_name(caller.folder)
    ran = caller.run("--shell-isolation") if flat else caller.run("--no-shell-isolation")
    status, expected = by_hand(tmp_path, caller)
    assert status == (1 if artifacts == BAD else 0)
    ended = "FAIL" if status else "PASS"
    if flat:
        assert (ran.status != 0) == (status != 0), ran.text
        assert f" {ended}  py-portable report" in ran.text
    else:
        # The tool's own status says nothing of a child; its list of jobs does.
        child = " py-portable report" if status else " [py-portable portability] -> py-portable report"
        assert f" {ended} {child}" in ran.text
    found = sorted((caller.folder / ".gitlab-ci-local/artifacts").rglob("merged.json"))
    assert found, ran.text
    report = found[0].parent
    assert verdicts(json.loads(found[0].read_text())) == expected
    assert f"# {ended}" in (report / "report.md").read_text().splitlines()[0]
    told = list(caller.folder.rglob("junit.xml"))
    assert told, ran.text
    assert len(list(xml.parse(told[0]).getroot().iter("testcase"))) >= len(expected)


@pytest.mark.parametrize("store", [Path(default_root(os.environ))], ids=["debian"])
def test_a_job_in_its_image_on_docker(
    tmp_path: Path, program: Path, docker: dict[str, str], store: Path
) -> None:
    """The image holds neither Python nor compiler: everything was brought along."""
    debian = resolve(runner.IMAGE, store=Store(store))
    containers.images(docker, runner.IMAGE, debian.root)
    caller = runner.make(
        tmp_path / "caller",
        program,
        "flat.gitlab-ci.yml",
        BAD,
        probes=PROBES,
        kit=containers.kit,
        shell=True,
    )
    ran = caller.run(
        "--shell-isolation",
        "--network=host",
        f"--helper-image={containers.HELPER}",
        "--pull-policy=if-not-present",
        "--variable=CI_JOB_TOKEN=glcbt-very-secret",
        env=docker,
        containers=True,
    )
    print(ran.text)
    status, expected = by_hand(tmp_path, caller)
    found = sorted((caller.folder / ".gitlab-ci-local/artifacts").rglob("merged.json"))
    assert found, ran.text
    assert verdicts(json.loads(found[0].read_text())) == expected


def known_name(folder: Path) -> None:
    """The tool looks for a trigger's artifact below the job's name, and puts it below that name made safe."""
    place = folder / ".gitlab-ci-local/artifacts"
    place.mkdir(parents=True)
    (place / "py-portable plan").symlink_to("py-portableIAplan")
