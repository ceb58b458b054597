"""Promise: what a build puts into dist/ it puts there and nowhere else: a link at an artifact's place, beside a mark
that says it is ours, overwrites nothing behind it.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from py_portable.build import EVIDENCE, _claim
from py_portable.errors import ConfigError


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
    with pytest.raises(ConfigError, match="in the way"):
        _claim(session, "other", session.dist / "other")
