"""What cell-run wrote about one start. The bytes come out of a cell: nothing in them is trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass

MOST_BYTES = 4096
_MOST = 1 << 62
_STAGE_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz-")


class RecordError(ValueError):
    """These bytes are not a record of cell-run."""


@dataclass(frozen=True)
class Record:
    """`stage` is "ran" if the app's execve was called, otherwise the step of cell-run that failed (`errno`).

    `reached`: the execve succeeded; where it did not, `exec_errno` says why. Exactly one of `exited` (0–255)
    and `signal` is set where `reached`. `limit`: ended at the time limit. Times of the app and of children it
    waited for; `left_behind`: processes that outlived it and were ended, -1 where they could not be seen.
    """

    stage: str
    errno: int
    reached: bool
    exec_errno: int
    exited: int | None
    signal: int | None
    limit: bool
    wall_ns: int
    user_us: int
    sys_us: int
    maxrss_kb: int
    left_behind: int

    @property
    def called(self) -> bool:
        """Whether the app's own execve was called: what a FAIL needs as proof."""
        return self.stage == "ran"

    @property
    def status(self) -> int | None:
        """The exit status, or minus the number of the signal; None if the app was not started."""
        if self.signal is not None:
            return -self.signal
        return self.exited


def parse(data: bytes) -> Record:
    """The record in `data`. Raises RecordError."""
    if not data:
        raise RecordError("cell-run wrote no record")
    if len(data) > MOST_BYTES or not data.endswith(b"\n") or data.count(b"\n") != 1:
        raise RecordError("the record is not one line")
    try:
        found = json.loads(data, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as problem:
        raise RecordError(f"the record is not JSON: {problem}") from problem
    if not isinstance(found, dict) or found.pop("record", None) != 1:
        raise RecordError("the record has another version")
    if set(found) != set(Record.__annotations__):
        raise RecordError("the record has other fields")
    record = Record(
        stage=_stage(found["stage"]),
        errno=_number(found, "errno", 0, 4095),
        reached=_truth(found, "reached"),
        exec_errno=_number(found, "exec_errno", 0, 4095),
        exited=_optional(found, "exited", 0, 255),
        signal=_optional(found, "signal", 1, 64),
        limit=_truth(found, "limit"),
        wall_ns=_number(found, "wall_ns", 0, _MOST),
        user_us=_number(found, "user_us", 0, _MOST),
        sys_us=_number(found, "sys_us", 0, _MOST),
        maxrss_kb=_number(found, "maxrss_kb", 0, _MOST),
        left_behind=_number(found, "left_behind", -1, _MOST),
    )
    ends = (record.exited is not None) + (record.signal is not None)
    if ends != record.reached or (record.reached and (record.exec_errno or not record.called)):
        raise RecordError("the record contradicts itself")
    return record


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RecordError("the record has a field twice")
    return found


def _stage(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) < 24 or not _STAGE_CHARS.issuperset(value):
        raise RecordError("stage is not a word")
    return value


def _number(found: dict[str, object], name: str, least: int, most: int) -> int:
    value = found[name]
    if type(value) is not int or not least <= value <= most:
        raise RecordError(f"{name} is not a number from {least} to {most}")
    return value


def _optional(found: dict[str, object], name: str, least: int, most: int) -> int | None:
    return None if found[name] is None else _number(found, name, least, most)


def _truth(found: dict[str, object], name: str) -> bool:
    value = found[name]
    if not isinstance(value, bool):
        raise RecordError(f"{name} is neither true nor false")
    return value
