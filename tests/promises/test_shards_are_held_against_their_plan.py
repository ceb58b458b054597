"""A shard's word is not taken for what can be worked out again: each cell is held against the plan and the build, and
its verdict against its own record. What does not agree is refused, with the shard's name and the field."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.errors import ConfigError
from py_portable.evidence import merge
from py_portable.evidence.conclude import conclude
from py_portable.evidence.follows import why_not
from py_portable.plan import verdicts
from py_portable.plan.cell import PlannedCell
from py_portable.plan.partition import by_image
from py_portable.plan.shards import Sharding
from py_portable.prove.judge import Finding, judge
from tests.unit.test_sharding import CELLS, SHA, artifact, part, row

ASKED = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'2' * 64}"
PLANNED_CELLS = tuple(replace(cell, smoke=ASKED, exit=0) for cell in CELLS)
CONTROLS = tuple(
    PlannedCell("a", "file", image, "control:x", ("run",), expect, False, None, ASKED, 0)
    for image, expect in (("debian:11", "fail:glibc"), ("debian:13", "pass"))
)
PLAN = Sharding("c" * 64, "d" * 64, by_image([*PLANNED_CELLS, *CONTROLS], limit=3), "ab" * 16)
PLANNED: Any = {"schema": 1, "command": "plan", "when": "2026-01-01", "plan": PLAN.told()}
XFAIL = {"verdict": "XFAIL", "reason": "glibc", "detail": "d", "exit_status": 1, "sha256": OTHER}


def shard(number: int, **changes: Any) -> dict[str, Any]:
    """The part of a shard; `changes` are of its first cell, the plain one of the artifact `a`."""
    cells = [
        row(cell, **(XFAIL if cell.expect != "pass" else {"sha256": OTHER} if cell.control else {}))
        for cell in PLAN.shards[number].cells
    ]
    cells[0] |= changes
    return part(number, cells=cells, shards=[{"name": PLAN.shards[number].name, "plan": PLAN.digest}])


def test_what_the_kit_itself_writes_is_merged() -> None:
    merged = merge.merge([PLANNED, *map(shard, range(3))], shards=True)
    assert conclude(merged).problems == () and len(merged["cells"]) == len(CELLS) + 2


FORGED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("expects a failure", {"expect": "fail:exit", "verdict": "XFAIL", "reason": "exit", "exit_status": 1}, "expect is"),
    ("says it is optional", {"optional": True, "verdict": "UNPROVEN", "reason": "image"}, "optional is true"),
    ("not applicable", {"verdict": "NOT-APPLICABLE"}, "verdict is NOT-APPLICABLE"),
    ("status 139", {"exit_status": 139}, "verdict is PASS, though exit_status is 139"),
    ("killed", {"exit_status": -11}, "verdict is PASS, though exit_status is -11"),
    ("not reached", {"exit_status": None}, "verdict is PASS, though exit_status is None"),
    ("a reason", {"reason": "output"}, "verdict is PASS, though reason is output"),
    ("an installation that failed", {"install": "failed"}, "verdict is PASS, though install is failed"),
    ("no image", {"image_identity": None}, "it is not recorded what was started"),
    ("nothing started", {"sha256": "none"}, "it is not recorded what was started"),
    ("another artifact", {"sha256": OTHER}, "sha256 is"),
    ("another format", {"format": "bundle"}, "format is"),
    ("another smoke command", {"smoke": OTHER}, "smoke is"),
    ("of an older kit", {"smoke": None}, "smoke is null"),
    ("another condition", {"condition": "read-only"}, "is not a cell of the plan"),
    ("another image", {"image": "debian:14"}, "is not a cell of the plan"),
    ("other arguments", {"argv": ["else"]}, "is not a cell of the plan"),
    ("unproven for nothing", {"verdict": "UNPROVEN"}, "verdict is UNPROVEN, though reason is None"),
    ("xfail", {"verdict": "XFAIL", "reason": "exit", "exit_status": 1}, "verdict is XFAIL, though expect is pass"),
    ("xpass", {"verdict": "XPASS", "reason": "passed"}, "verdict is XPASS, though expect is pass"),
    ("fail for nothing", {"verdict": "FAIL"}, "verdict is FAIL, though reason is None"),
    ("fail of no start", {"verdict": "FAIL", "reason": "image"}, "verdict is FAIL, though reason is image"),
    ("a signal", {"verdict": "FAIL", "reason": "signal", "exit_status": 0}, "reason is signal"),
)


@pytest.mark.parametrize(("changes", "said"), [f[1:] for f in FORGED], ids=[f[0] for f in FORGED])
def test_what_does_not_agree_is_refused_with_its_shard_and_field(changes: dict[str, Any], said: str) -> None:
    parts = [PLANNED, shard(0, **changes), shard(1), shard(2)]
    messages = set()
    for order in (parts, parts[::-1]):
        with pytest.raises(ConfigError) as caught:
            merge.merge(order, shards=True)
        messages.add(caught.value.render())
    (message,) = messages
    assert said in message and "debian:1" in message
    assert PLAN.shards[0].name in message or "not a cell of the plan" in said
    # Merged in two steps, it is refused in the first.
    with pytest.raises(ConfigError):
        merge.merge([PLANNED, shard(0, **changes)], shards=True)


@pytest.mark.parametrize("field", ["verdict", "expect", "reason"])
def test_a_control_is_held_to_its_plan_as_any_other_cell(field: str) -> None:
    forged = {"verdict": "PASS", "expect": "pass", "reason": None} if field == "expect" else {field: "PASS"}
    whole = shard(0)
    whole["cells"] = [{**c, **forged} if c["condition"] == "control:x" else c for c in whole["cells"]]
    with pytest.raises(ConfigError):
        merge.merge([PLANNED, whole, shard(1), shard(2)], shards=True)


def test_many_faults_are_one_error() -> None:
    parts = [PLANNED, *(shard(number, exit_status=1) for number in range(3))]
    with pytest.raises(ConfigError, match="and 2 more"):
        merge.merge(parts, shards=True)


def test_without_a_plan_a_verdict_still_has_to_follow_from_its_record() -> None:
    forged = {**shard(0, exit_status=-11), "shards": []}
    with pytest.raises(ConfigError, match=r"a on debian:11 .* though exit_status is -11"):
        merge.merge([forged], shards=True)


def test_a_plan_of_an_older_kit_is_held_to_what_it_says() -> None:
    old = Sharding("c" * 64, "d" * 64, by_image(CELLS, limit=3))
    assert "run" not in old.told() and "smoke" not in json.dumps(old.told())
    parts = [{**part(number), "shards": [{"name": old.shards[number].name, "plan": old.digest}]} for number in range(3)]
    merged = merge.merge([PLANNED | {"plan": old.told()}, *parts], shards=True)
    assert conclude(merged).problems == ()
    parts[0]["cells"][0] = {**parts[0]["cells"][0], "optional": True}
    with pytest.raises(ConfigError, match="optional is true, the plan says false"):
        merge.merge([PLANNED | {"plan": old.told()}, *parts], shards=True)


def test_what_is_of_another_run_of_the_same_plan_is_refused() -> None:
    again = replace(PLAN, run="cd" * 16)
    with pytest.raises(ConfigError, match="from two plans"):
        merge.merge([PLANNED | {"plan": again.told()}, shard(0)], shards=True)


# ------------------------------------------------------------------------------------------ the rules are the judge's

SEEN = {
    None: {"exit_status": 0},
    "signal": {"exit_status": -11},
    "timeout": {"exit_status": -9},
    **{reason: {"exit_status": None, "install": "failed"} for reason in ("install", "release")},
    **{reason: {"exit_status": None} for reason in ("loader", "interpreter", "exec")},
    **{reason: {"exit_status": 1} for reason in ("glibc", "library", "exit", "fuse", "room")},
    "output": {"exit_status": 0},
}
"""What a cell's record has where the judge finds this."""


def test_whatever_the_judge_says_follows() -> None:
    assert set(SEEN) == {None, *verdicts.OF_A_START}
    for (reason, seen), expect in itertools.product(SEEN.items(), verdicts.EXPECTATIONS):
        judged = judge(Finding(reason, "d"), expect)
        told = row(CELLS[0], expect=expect, verdict=judged.verdict, reason=judged.reason, **seen)
        assert why_not(told, 0) is None, told


@given(
    st.sampled_from(verdicts.VERDICTS),
    st.sampled_from([None, *verdicts.REASONS]),
    st.sampled_from(verdicts.EXPECTATIONS),
    st.sampled_from([None, 0, 1, 139, -11]),
    st.sampled_from([None, "done", "failed"]),
)
def test_a_pass_follows_from_one_record_alone(
    verdict: str, reason: str | None, expect: str, status: int | None, install: str | None
) -> None:
    told = row(CELLS[0], verdict=verdict, reason=reason, expect=expect, exit_status=status, install=install)
    problem = why_not(told, 0)
    if verdict == "PASS":
        good = (reason, expect, status) == (None, "pass", 0) and install != "failed"
        assert (problem is None) == good
    elif verdict == "NOT-APPLICABLE":
        assert problem
    if problem is None and verdict in ("FAIL", "XFAIL"):
        assert judge(Finding("loader" if reason == "musl" else reason, "d"), expect).verdict == verdict


Spoil = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_artifact_is_that_of_the_build(name: str) -> None:
    build = {"schema": 1, "command": "build", "when": "2026-01-01", "artifacts": [artifact(name, sha256=OTHER)]}
    with pytest.raises(ConfigError, match=f"{name} has two digests|sha256 is {SHA}"):
        merge.merge([PLANNED, build, *map(shard, range(3))], shards=True)
