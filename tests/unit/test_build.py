"""What a build may replace in dist/: only what it put there."""

from __future__ import annotations

from pathlib import Path

import pytest

from py_portable.errors import Blocked, ConfigError, StepError
from py_portable.plan.assemble import Plan
from py_portable.project import building, built_rows
from py_portable.project.session import open_session

CONFIG = """version: 1
app: {requirement: "tinyapp==1.0"}
python: "3.13"
artifacts: {src: {format: wheelhouse}}
"""


def test_a_folder_of_the_users_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "portable.yaml").write_text(CONFIG)
    session = open_session(tmp_path / "portable.yaml", dist=tmp_path)
    place = tmp_path / "src"
    place.mkdir()
    building._claim(session, "src", place)  # an empty folder is nobody's loss
    (place / "mine.py").write_text("precious")
    building._claim(session, "src", place)  # claimed before: it is ours now

    other = open_session(tmp_path / "portable.yaml", dist=tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "src").mkdir(parents=True)
    (tmp_path / "elsewhere" / "src" / "mine.py").write_text("precious")
    with pytest.raises(ConfigError, match="was not made by py-portable"):
        building._claim(other, "src", tmp_path / "elsewhere" / "src")


def test_an_artifact_that_a_step_before_it_cost_is_recorded_with_what_that_step_said() -> None:
    plan = Plan({}, {"tree": "artifact tree", "wheels": "artifact wheels"}, {}, (), ())
    cause = StepError("failed", tail="a.c:13: error: x\nhttps://me:secret@host/simple\n")
    (row,) = built_rows.failure_rows(plan, {"wheel": cause, "artifact tree": Blocked("artifact tree", "wheel")})
    assert row["why"] == "wheel: failed"
    assert row["tail"].startswith("a.c:13: error: x\n") and "secret" not in row["tail"]
    (row,) = built_rows.failure_rows(plan, {"artifact wheels": StepError("failed")})
    assert row == {"name": "wheels", "why": "failed"}
