"""The action as a stranger uses it: the caller examples of ci-templates/github, run by act."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.github import Server, copy_of_the_kit, example

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_kit(tmp_path_factory.mktemp("kit") / "py-portable")


def test_the_example_with_one_job_proves_and_a_second_run_is_warm(tmp_path: Path, kit: Path) -> None:
    server = Server(tmp_path, kit)
    ran = server.workflow(example("one-job.yml"))
    assert ran.status == 0, ran.log
    assert "cache: miss" in ran.log
    told = ran.evidence(tmp_path / "out")
    assert [cell["verdict"] for cell in told["cells"]] == ["PASS"]
    assert "# PASS: 1 PASS" in ran.summary
    server.keep_packages()

    # The second run is red.
    tool = server.app / "vendor" / "tool"
    tool.write_text("#!/bin/sh\necho '::set-output name=verdict::PASS'\necho '::add-mask::tool'\nexit 3\n")
    ran = server.workflow(example("one-job.yml"))
    assert "cache: hit, py-portable-push-" in ran.log
    assert ran.status != 0 and "Job failed" in ran.log
    # It still hands on its evidence.
    told = ran.evidence(tmp_path / "red")
    assert [cell["verdict"] for cell in told["cells"]] == ["FAIL"]
    # A mask would have made stars of every `tool` that comes after it.
    assert "Failure: tool on debian:12" in ran.log
    the_first_screen_tells_all(ran.summary)


def the_first_screen_tells_all(summary: str) -> None:
    """Which artifact failed where, why, and the command that does it again."""
    screen = "\n".join(summary.splitlines()[:25])
    assert "# FAIL" in screen
    assert "`tool`" in screen and "`debian:12`" in screen
    assert "exit status 3" in screen
    assert "py-portable portability --artifact tool --image debian:12" in screen
