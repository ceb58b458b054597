"""The order in which workers take files of tests, and what is marked `slow`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ONE_AT_A_TIME, SAMPLE, SLOW_SECONDS, group, ordered, seconds

REPOSITORY = Path(__file__).parents[2]
USERS = ONE_AT_A_TIME["users"]


def test_what_the_tables_name_is_there() -> None:
    named = {*seconds(), *(file for files in ONE_AT_A_TIME.values() for file in files), SAMPLE}
    assert [file for file in sorted(named) if not (REPOSITORY / file).is_file()] == []


def test_the_sample_comes_first_then_the_longest_group_and_in_it_what_needs_nothing_built() -> None:
    long, built, short = USERS[0], USERS[1], USERS[2]
    files = {file: file == built for file in ("tests/unit/a.py", "tests/x.py", built, short, long, SAMPLE)}
    places = ordered(files, {SAMPLE: 1, long: 100, built: 200, short: 1, "tests/x.py": 290})
    assert sorted(files, key=lambda file: places[file]) == [SAMPLE, long, short, built, "tests/x.py", "tests/unit/a.py"]


def test_files_of_one_group_follow_one_another() -> None:
    known = seconds()
    places = ordered(
        dict.fromkeys([*known, *(file for files in ONE_AT_A_TIME.values() for file in files)], False), known
    )
    taken = [group(file) for file in sorted(places, key=lambda file: places[file])]
    assert len([1 for one, other in pairwise(taken) if one != other]) + 1 == len(set(taken))


def test_what_takes_long_is_slow(request: pytest.FixtureRequest) -> None:
    slow = {item.nodeid.partition("::")[0] for item in request.session.items if item.get_closest_marker("slow")}
    there = {item.nodeid.partition("::")[0] for item in request.session.items}
    assert slow >= {file for file in there if seconds().get(file, 0) >= SLOW_SECONDS}
