"""Reading cell-run's record, whatever a cell makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.prove.record import MOST_BYTES, Record, RecordError, parse

GOOD: dict[str, Any] = {
    "record": 1, "stage": "ran", "errno": 0, "reached": True, "exec_errno": 0, "exited": 3, "signal": None,
    "limit": False, "wall_ns": 5, "user_us": 6, "sys_us": 7, "maxrss_kb": 8, "left_behind": 0,
}  # fmt: skip


def line(**changes: Any) -> bytes:
    return (json.dumps({**GOOD, **changes}) + "\n").encode()


def test_a_good_record() -> None:
    record = parse(line())
    assert record == Record("ran", 0, True, 0, 3, None, False, 5, 6, 7, 8, 0)
    assert (record.called, record.status) == (True, 3)
    assert parse(line(exited=None, signal=11)).status == -11


def test_an_execve_that_failed_was_called() -> None:
    record = parse(line(reached=False, exited=None, exec_errno=2))
    assert (record.called, record.status) == (True, None)


def test_a_failure_before_the_execve() -> None:
    record = parse(line(stage="setuid", errno=22, reached=False, exited=None))
    assert (record.called, record.status, record.errno) == (False, None, 22)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"null\n",
        b"[1]\n",
        b"{}\n",
        b"\xff\xfe\n",
        line()[:-1],
        line() + line(),
        b" " * MOST_BYTES + line(),
        b"[" * 4000 + b"\n",
        line().replace(b"}", b', "exited": 0}'),
        line(more=1),
        line(record=2),
        line(record=None),
        line(exited=256),
        line(exited=-1),
        line(exited=True),
        line(exited="0"),
        line(exited=0.0),
        line(exited=None),
        line(signal=9),
        line(exited=None, signal=0),
        line(exited=None, signal=65),
        line(reached=False),
        line(reached=1),
        line(exec_errno=2),
        line(stage="setuid"),
        line(stage=""),
        line(stage="a" * 30),
        line(stage="\x1b[2J"),
        line(wall_ns=-1),
        line(wall_ns=1 << 70),
        line(left_behind=-2),
        line(limit=None),
        line(maxrss_kb=float("nan")),
        json.dumps({k: v for k, v in GOOD.items() if k != "limit"}).encode() + b"\n",
    ],
)  # fmt: skip
def test_what_is_no_record(data: bytes) -> None:
    with pytest.raises(RecordError):
        parse(data)


@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda junk: line()[:-1] + junk + b"\n"))
def test_bytes_never_do_more_than_be_refused(data: bytes) -> None:
    if data in (line(), line()[:-1] + b"\n"):
        return
    try:
        parse(data)
    except RecordError as problem:
        assert str(problem)
    else:
        # Blanks around a record are the only thing that may be added to it.
        assert json.loads(data) == GOOD


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), anything, max_size=4))
def test_values_are_in_range_or_refused(changes: dict[str, Any]) -> None:
    try:
        record = parse(line(**changes))
    except RecordError:
        return
    assert record.stage.replace("-", "").isalpha() and record.stage.islower()
    assert record.exited is None or 0 <= record.exited <= 255
    assert record.signal is None or 1 <= record.signal <= 64
    assert (record.status is None) == (not record.reached)
    assert min(record.wall_ns, record.user_us, record.sys_us, record.maxrss_kb) >= 0
