"""Promise: what a build puts into dist/ it puts there and nowhere else: a link at an artifact's place, beside a mark
that says it is ours, overwrites nothing behind it.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from py_portable.errors import ConfigError, StepError
from py_portable.formats.app_entry import read_entry
from py_portable.project.building import EVIDENCE, _claim
from py_portable.steps.context import BuildFailed
from py_portable.wheels.published import SDIST, _project, made_sdist


@pytest.fixture
def session(tmp_path: Path) -> Any:
    (tmp_path / "dist" / EVIDENCE / "made").mkdir(parents=True)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "app").write_text("mine")
    return SimpleNamespace(dist=tmp_path / "dist")


def test_a_link_with_a_planted_mark_is_not_ours(session: Any, tmp_path: Path) -> None:
    (session.dist / "tree").symlink_to(tmp_path / "foreign")
    (session.dist / EVIDENCE / "made" / "tree").touch()
    with pytest.raises(ConfigError, match="symbolic link"):
        _claim(session, "tree", session.dist / "tree")


@pytest.mark.parametrize("place", [EVIDENCE, f"{EVIDENCE}/made", f"{EVIDENCE}/made/tree"])
def test_a_mark_behind_a_link_is_none(session: Any, tmp_path: Path, place: str) -> None:
    path = session.dist / place
    if path.is_dir():
        path.rename(tmp_path / "aside")
    path.symlink_to(tmp_path / "foreign")
    with pytest.raises(ConfigError, match="symbolic link"):
        _claim(session, "tree", session.dist / "tree")
    assert [one.name for one in (tmp_path / "foreign").iterdir()] == ["app"]


def test_what_is_not_ours_is_left_alone_and_what_is_may_be_replaced(session: Any) -> None:
    (session.dist / "tree").mkdir()
    _claim(session, "tree", session.dist / "tree")
    (session.dist / "tree" / "app").touch()
    _claim(session, "tree", session.dist / "tree")
    (session.dist / "other").touch()
    with pytest.raises(ConfigError, match="in the place"):
        _claim(session, "other", session.dist / "other")


def test_a_cell_of_a_bundle_is_shown_no_link_of_the_build(tmp_path: Path) -> None:
    """What foreign code in the build says it made: a folder, and a program by another name, which is a link."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "machine").write_text("")
    (tmp_path / "machine").symlink_to("/")
    told = {"payload": "tree", "script": "machine", "entry_point": "a:b"}
    (tmp_path / "entry.json").write_text(json.dumps(told))
    with pytest.raises(BuildFailed, match="says that its program is 'machine'"):
        read_entry(tmp_path, one_name=True)
    (tmp_path / "entry.json").write_text(json.dumps({**told, "payload": "machine"}))
    with pytest.raises(BuildFailed, match="is a symbolic link"):
        read_entry(tmp_path, one_name=True)


def test_an_sdist_that_a_build_left_is_no_link(tmp_path: Path) -> None:
    """cibuildwheel would be given what lies behind it, and its container is one in which foreign code runs."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "app-1.tar.gz").symlink_to(tmp_path / "foreign")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "secret").write_text("mine")
    step = SimpleNamespace(
        work=tmp_path / "work",
        inputs={SDIST: SimpleNamespace(path=tmp_path / "out")},
        locals={"source": tmp_path, "named": ()},
    )
    step.work.mkdir()
    with pytest.raises(StepError, match="is not an sdist"):
        _project(step)  # type: ignore[arg-type]
    assert not list(step.work.rglob("secret"))
    (tmp_path / "out" / "app-1.tar.gz").unlink()
    (tmp_path / "out" / "app-1.tar.gz").write_text("x")
    assert made_sdist(tmp_path / "out").name == "app-1.tar.gz"
    (tmp_path / "out" / "app-2.tar.gz").write_text("x")
    with pytest.raises(StepError, match="expected one"):
        made_sdist(tmp_path / "out")
