"""A file is written whole, or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from py_portable.base.atomic import write_whole


@pytest.mark.parametrize("durably", [False, True])
def test_it_takes_the_place_of_what_was_there(tmp_path: Path, durably: bool) -> None:
    path = tmp_path / "a"
    for data in ("ä\n", b"\xff"):
        write_whole(path, data, durably=durably)
        assert path.read_bytes() == (data if isinstance(data, bytes) else data.encode())
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_behind_where_it_fails(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    place.mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(place, "x")
    assert list(tmp_path.iterdir()) == [place]


def test_several_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    texts = [str(number) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_whole(tmp_path / "a", text), texts * 5))
    assert (tmp_path / "a").read_text() in texts
    assert len(list(tmp_path.iterdir())) == 1
