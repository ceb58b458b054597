"""Scripts that repeat failures by hand."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from py_portable.project.reproducers import written
from tests.unit.test_cli_results import result

FAILED = result(
    verdict="FAIL", reason="exit", reproduce="bwrap --bind 'a b' / -- /opt/app/../../x", argv=("../../x", "y")
)


def test_the_line_is_short_and_the_script_holds_all_of_it(tmp_path: Path) -> None:
    word, path = shlex.split(written(FAILED, tmp_path / "new folder").reproduce or "")
    script = Path(path)
    assert word == "sh" and script.parent == tmp_path / "new folder" and os.access(script, os.X_OK)
    assert script.read_text() == f"#!/bin/sh\nexec {FAILED.reproduce}\n"


def test_another_artifact_of_the_same_name_has_another_script(tmp_path: Path) -> None:
    found = {written(replace(FAILED, sha256=digest), tmp_path).reproduce for digest in ("sha256:1", "sha256:2")}
    assert len(found) == 2 == len(list(tmp_path.iterdir()))


@pytest.mark.parametrize("change", [{"verdict": "PASS"}, {"verdict": "UNPROVEN"}, {"reproduce": None}])
def test_what_cannot_or_need_not_be_repeated_has_none(change: dict[str, str | None], tmp_path: Path) -> None:
    told = replace(FAILED, **change)  # type: ignore[arg-type]
    assert written(told, tmp_path) is told and not list(tmp_path.iterdir())
