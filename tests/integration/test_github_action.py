"""The action as a stranger uses it: the caller examples of ci-templates/github, run by act."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.integration.github import Server, copy_of_the_kit, example

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_kit(tmp_path_factory.mktemp("kit") / "py-portable")


@pytest.fixture
def server(tmp_path: Path, kit: Path) -> Server:
    return Server(tmp_path, kit)


def evidence(archive: Path, to: Path) -> dict[str, object]:
    with tarfile.open(archive) as tar:
        tar.extractall(to, filter="data")
    told: dict[str, object] = json.loads((to / "dist" / "evidence.json").read_text())
    return told


def test_the_example_with_one_job_proves_and_hands_on(server: Server, tmp_path: Path) -> None:
    ran = server.workflow(example("one-job.yml"))
    assert ran.status == 0, ran.log
    assert "cache: miss" in ran.log
    told = evidence(ran.artifacts / "py-portable-dist" / "dist.tar", tmp_path / "out")
    assert [cell["verdict"] for cell in told["cells"]] == ["PASS"]  # type: ignore[attr-defined]
    again = server.workflow(example("one-job.yml"))
    assert again.status == 0, again.log
    assert "cache: hit, py-portable-push-" in again.log


def test_a_red_run_is_red_and_still_hands_on_its_evidence(server: Server, tmp_path: Path) -> None:
    tool = server.app / "vendor" / "tool"
    tool.write_text("#!/bin/sh\necho '::set-output name=verdict::PASS'\necho '::add-mask::tool'\nexit 3\n")
    ran = server.workflow(example("one-job.yml"))
    assert ran.status != 0
    assert "Job failed" in ran.log
    told = evidence(ran.artifacts / "py-portable-dist" / "dist.tar", tmp_path / "out")
    assert [cell["verdict"] for cell in told["cells"]] == ["FAIL"]  # type: ignore[attr-defined]
    # A mask would have made stars of every `tool` that comes after it.
    assert "Failure: tool on debian:12" in ran.log


def sharded(text: str) -> str:
    """act does not tell where a workflow came from; what it is called with says so instead."""
    return text.rstrip("\n") + "\n      kit-repository: org/py-portable\n      kit-ref: v1\n"


def test_the_example_with_shards_goes_from_plan_to_report(server: Server, tmp_path: Path) -> None:
    ran = server.workflow(sharded(example("shards.yml")))
    assert ran.status == 0, ran.log
    assert {one.name for one in ran.artifacts.iterdir()} == {
        "py-portable-plan",
        "py-portable-build-001",
        "py-portable-shard-001",
        "py-portable-dist",
    }
    told = evidence(ran.artifacts / "py-portable-dist" / "dist.tar", tmp_path / "out")
    assert [cell["verdict"] for cell in told["cells"]] == ["PASS"]  # type: ignore[attr-defined]
