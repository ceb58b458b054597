"""Archives of others: what leaves the folder, goes through a link or is no file is refused, and nothing is written."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_portable.base.untar import RefusedError, extract

KINDS = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
}


def archive(*members: tuple[str, str, str], mode: int = 0o644) -> tarfile.TarFile:
    """Of (name, kind, where it links to)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode, member.mtime = KINDS[kind], target, mode, 1000
            member.size = 1 if kind == "file" else 0
            tar.addfile(member, io.BytesIO(b"x"))
    data.seek(0)
    return tarfile.open(fileobj=data)


@pytest.mark.parametrize(
    "members",
    [
        [("../out", "file", "")],
        [("/out", "file", "")],
        [("a/../../out", "file", "")],
        [("link", "link", ".."), ("link/out", "file", "")],
        [("link", "link", "/"), ("link/out", "file", "")],
        [("link", "link", ".."), ("link", "folder", ""), ("link/../../out", "file", "")],
        [("hard", "hard", "../precious")],
        [("link", "link", "../precious"), ("hard", "hard", "link")],
        [("out", "pipe", "")],
        [("out", "device", "")],
    ],
)
def test_what_is_refused(tmp_path: Path, members: list[tuple[str, str, str]]) -> None:
    (tmp_path / "precious").write_text("precious")
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(RefusedError):
        extract(archive(*members), into, links_out=True)
    assert not [path for path in tmp_path.rglob("out") if not path.is_symlink()]
    assert (tmp_path / "precious").read_text() == "precious"


def test_links_that_lead_out_are_refused_where_they_are_not_asked_for(tmp_path: Path) -> None:
    for target in ("..", "/etc/passwd", "a/../../x"):
        with pytest.raises(RefusedError, match="leads out"):
            extract(archive(("link", "link", target)), tmp_path)
    extract(archive(("a/link", "link", "../b")), tmp_path)
    assert str((tmp_path / "a/link").readlink()) == "../b"


def test_what_is_there_gives_way_and_is_not_written_through(tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    (tmp_path / "precious").write_text("precious")
    (into / "a").symlink_to("../precious")
    (into / "b").symlink_to("..")
    members = [("a", "file", ""), ("b", "folder", ""), ("b/c", "file", ""), ("d", "hard", "a")]
    for _ in range(2):
        extract(archive(*members), into)
    assert (tmp_path / "precious").read_text() == "precious"
    assert (into / "d").samefile(into / "a") and not (into / "b").is_symlink()


def test_modes_and_times(tmp_path: Path) -> None:
    def modes(name: str, mode: int, **how: Any) -> list[int]:
        extract(archive((name, "folder", ""), (f"{name}/f", "file", ""), mode=mode), tmp_path, **how)
        return [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / name, tmp_path / name / "f")]

    old = os.umask(0o077)
    try:
        assert modes("exact", 0o575, modes="kept") == [0o575, 0o575]
        assert modes("plain", 0o6777) == [0o755, 0o755]
        assert modes("mine", 0o044, modes="mine") == [0o744, 0o644]
        assert modes("settled", 0o4700, modes="settled") == [0o755, 0o755]
    finally:
        os.umask(old)
    assert (tmp_path / "plain/f").stat().st_mtime == 1000


def test_what_has_no_place_is_refused(tmp_path: Path) -> None:
    def admit(path: object) -> bool:
        return str(path) == "yes"

    with pytest.raises(RefusedError, match="is not one of the expected files"):
        extract(archive(("yes", "file", ""), ("no", "file", "")), tmp_path, admit=admit)
    with pytest.raises(RefusedError, match="hard link"):
        extract(archive(("yes", "hard", "no")), tmp_path, admit=admit)
    assert [path.name for path in tmp_path.iterdir()] == []


names = st.lists(st.sampled_from(["a", "b", "..", ".", ""]), min_size=1, max_size=4).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(names, st.sampled_from(sorted(KINDS)), names), max_size=6))
def test_nothing_outside_ever_changes(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, str, str]]
) -> None:
    base = tmp_path_factory.mktemp("base")
    (base / "a").write_text("precious")
    into = base / "into"
    into.mkdir()
    with contextlib.suppress(tarfile.TarError, OSError):
        extract(archive(*members), into, links_out=True)
    assert sorted(path.name for path in base.iterdir()) == ["a", "into"]
    assert (base / "a").read_text() == "precious" and (base / "a").stat().st_nlink == 1
