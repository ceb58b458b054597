"""What a job of a CI reports is of this very run: results that an earlier run, step or plan left are neither told of nor
mixed in, whatever of this run failed; an empty input is none."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from py_portable import cli
from py_portable.ci.github import action, follow
from py_portable.ci.github.inputs import PREFIX
from py_portable.ci.gitlab import jobs
from py_portable.evidence import merge, reading
from py_portable.plan.shards import parse
from tests.unit.test_sharding import OTHER, PARTS, PLANNED

STALE_EVIDENCE: dict[str, Any] = merge.merge([PLANNED, *PARTS], shards=True)
STALE_EVIDENCE |= {"conclusions": {"verdict": "PASS", "problems": [], "counts": {}, "controls": []}}
CONFIG = {
    "version": 1,
    "app": {"requirement": "tool==1", "script": "tool", "smoke": [{"args": []}]},
    "python": "3.13",
    "artifacts": {"tool": {"format": "file", "path": "tool"}},
    "portability": {"images": ["localhost:1/nothing:1"]},
}
LEFT = ("merged.json", "evidence.json", "report.md", "junit.xml", "codequality.json")


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that a runner kept: an earlier run was green there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "portable.yaml").write_text(json.dumps(CONFIG))
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    parts = tmp_path / "dist" / "evidence" / "parts"
    parts.mkdir(parents=True)
    for name in LEFT:
        (tmp_path / "dist" / name).write_text(json.dumps(STALE_EVIDENCE) if name.endswith("d.json") else "PASS")
    (tmp_path / "dist" / "evidence.json").write_text(json.dumps(STALE_EVIDENCE))
    monkeypatch.setenv("PY_PORTABLE_STORE", str(tmp_path / "store"))
    return tmp_path / "dist"


def left(dist: Path) -> list[str]:
    return [name for name in LEFT if (dist / name).exists()]


# ------------------------------------------------------------------------------------------------------------ GitLab


def gitlab_report(dist: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The report job's script, by sh, with this kit as the program."""
    program = dist.parent / "kit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m py_portable "$@"\n')
    program.chmod(0o755)
    return subprocess.run(
        ["sh", "-e", "-c", jobs.REPORT],
        cwd=dist.parent,
        env={**os.environ, "PY_PORTABLE_COMMAND": str(program), "PY_PORTABLE_DIST": "dist", **variables},
        capture_output=True,
        text=True,
    )


def lay(dist: Path, planned: Any, *parts: Any) -> None:
    (dist / "plan.json").write_text(json.dumps(planned))
    for number, part in enumerate(parts):
        (dist / "evidence" / "parts" / f"portability-{number:012}.json").write_text(json.dumps(part))


def test_gitlabs_report_job_is_green_for_its_own_run(dist: Path) -> None:
    lay(dist, PLANNED, *PARTS)
    done = gitlab_report(dist)
    assert done.returncode == 0, done.stderr
    assert left(dist) == list(LEFT)
    assert (dist / "report.md").read_text().startswith("# PASS: 12 PASS")


@pytest.mark.parametrize(
    "parts",
    [
        [{**PARTS[0], "shards": [{"name": PARTS[0]["shards"][0]["name"], "plan": OTHER.digest}]}],
        [{**PARTS[0], "cells": [{**PARTS[0]["cells"][0], "exit_status": -11}]}],
        [{**PARTS[0], "config": {"file": "portable.yaml", "sha256": "f" * 64}}, PARTS[1]],
        ["no evidence"],
        [],
    ],
    ids=["another run's part", "forged", "another config", "damaged", "none at all"],
)
def test_gitlabs_report_job_tells_of_no_earlier_run_where_merge_refuses(dist: Path, parts: list[Any]) -> None:
    lay(dist, PLANNED, *parts)
    done = gitlab_report(dist, PY_PORTABLE_ALLOW_UNPROVEN="is false")
    assert done.returncode != 0
    assert left(dist) == ["evidence.json"]
    assert "PASS" not in done.stdout


def test_gitlabs_report_job_has_nothing_of_the_plan_of_yesterday(dist: Path) -> None:
    assert gitlab_report(dist).returncode != 0
    assert left(dist) == ["evidence.json"]


# ------------------------------------------------------------------------------------------------------------ GitHub

Act = Callable[..., tuple[int, dict[str, str], str]]


@pytest.fixture
def act(dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Act:
    """The action's step `run`: its exit status, its outputs and its summary."""

    def run(**inputs: str) -> tuple[int, dict[str, str], str]:
        output, summary = tmp_path / "output", tmp_path / "summary"
        for path in (output, summary):
            path.write_text("")
        environ = {**os.environ, "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
        environ |= {"RUNNER_TEMP": str(tmp_path / "runner")}
        environ |= {f"{PREFIX}{name.upper()}": value for name, value in inputs.items()}
        status = action.run(environ)
        told = dict(re.findall(r"^([a-z-]+)<<(?:end-\w+)\n(.*?)\nend-\w+$", output.read_text(), re.M | re.S))
        return status, told, summary.read_text()

    return run


def refuse(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """One command fails, and those before it leave nothing."""

    def follow_(argv: Any, _env: Any) -> follow.CommandEnded:
        return follow.CommandEnded(2, ("Error: it is so",)) if argv[0] == command else follow.CommandEnded(0, ())

    monkeypatch.setattr(follow, "follow", follow_)


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        ("check build portability report", "check"),
        ("", "build"),
        ("build portability report", "portability"),
        ("merge report", "merge"),
        ("benchmark", "benchmark"),
    ],
)
def test_the_actions_verdict_is_no_pass_of_an_earlier_run(
    dist: Path, act: Act, asked: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, command)
    status, told, summary = act(command=asked)
    assert (status, told["verdict"], told["evidence"], told["report"]) == (2, "FAIL", "", ""), told
    assert "PASS" not in summary and left(dist) == ["merged.json", "codequality.json"]


def test_a_job_that_only_checks_tells_of_no_evidence(dist: Path, act: Act) -> None:
    status, told, _ = act(command="check")
    assert (status, told["verdict"], told["evidence"], told["report"]) == (0, "UNPROVEN", "", "")
    assert (dist / "evidence.json").exists()


def test_a_job_that_only_reports_reports_what_lies_there_and_of_a_broken_config_nothing(dist: Path, act: Act) -> None:
    (dist / "evidence.json").write_text(json.dumps(STALE_EVIDENCE))
    status, told, _ = act(command="report")
    assert (status, told["verdict"], told["evidence"]) == (0, "PASS", str(dist / "evidence.json"))
    (dist.parent / "portable.yaml").write_text("version: 9\n")
    status, told, _ = act(command="check report")
    assert (status, told["verdict"], told["evidence"], told["report"]) == (2, "FAIL", "", "")


def test_a_status_is_never_hidden_by_what_the_evidence_says(dist: Path) -> None:
    assert action.verdict_of(dist / "evidence.json", 0) == "PASS"
    for status in (1, 2, 3, 4, 130):
        assert action.verdict_of(dist / "evidence.json", status) == "FAIL"


def test_an_empty_input_is_none(act: Act) -> None:
    status, told, _ = act(
        command="check", config="", artifacts=" ", images="", tier="", dist="", engine="", build="", shard=""
    )
    assert (status, told["verdict"]) == (0, "UNPROVEN")


# --------------------------------------------------------------------------------------------------- the commands below


def test_merge_and_report_take_their_old_results_away_first(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay(dist, PLANNED, "no evidence")
    files = ["dist/plan.json", *map(str, (dist / "evidence" / "parts").iterdir())]
    assert cli._run(["merge", "--output", "dist/merged.json", *files]) == 2
    assert "merged.json" not in left(dist)
    (dist / "evidence.json").write_text("{")
    assert cli._run(["report", "--gitlab"]) == 2
    assert left(dist) == ["evidence.json"]


def test_merge_leaves_alone_what_it_is_given_to_read(dist: Path) -> None:
    assert cli._run(["merge", "--output", "dist/evidence.json", "dist/evidence.json", "dist/report.md"]) == 2
    assert json.loads((dist / "evidence.json").read_text()) == STALE_EVIDENCE


def test_each_plan_is_a_run_of_its_own(dist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plans = []
    for _ in range(2):
        assert cli._run(["plan", "--github"]) == 0
        plans.append(reading.read(dist / "plan.json"))
    one, other = (parse(plan["plan"], "x") for plan in plans)
    assert one.shards == other.shards and one.run != other.run and len(one.run) == 32
    # A shard of the first run, which the second one lost: nothing of it fills the hole.
    shutil.rmtree(dist / "evidence")
    part = {"schema": 1, "shards": [{"name": one.shards[0].name, "plan": one.digest}], "cells": []}
    (tmp_path / "part.json").write_text(json.dumps(part))
    capsys.readouterr()
    assert cli._run(["merge", "dist/plan.json", "part.json", "--allow-unproven"]) == 2
    assert "from two plans" in capsys.readouterr().err
