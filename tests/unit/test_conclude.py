"""Conclusions from cells: floors with holes, controls, gates, the one verdict."""

from __future__ import annotations

from typing import Any

import pytest

from py_portable.evidence.conclude import Conclusions, Proven, conclude, proven_floor

GLIBC = {"debian:11": "2.31", "debian:12": "2.36", "debian:13": "2.41", "other:9": "2.9", "twin:12": "2.36"}


def cell(image: str, verdict: str, **changes: Any) -> dict[str, Any]:
    return {
        "artifact": "binary",
        "sha256": "sha256:1",
        "argv": ["run"],
        "image": image,
        "image_glibc": GLIBC.get(image),
        "condition": "plain",
        "expect": "pass",
        "verdict": verdict,
        "detail": "why",
        "reason": "r",
    } | changes


def about(*cells: dict[str, Any], floor: str | None = None, **options: Any) -> Conclusions:
    told = {"artifacts": [{"name": "binary", "measured_floor": floor}], "cells": list(cells)}
    return conclude(told | options.pop("told", {}), **options)


@pytest.mark.parametrize(
    ("verdicts", "floor", "holes"),
    [
        ({"debian:11": "PASS", "debian:12": "PASS", "debian:13": "PASS"}, "2.31", ()),
        ({"debian:11": "FAIL", "debian:12": "PASS", "debian:13": "PASS"}, "2.36", ()),
        ({"debian:11": "PASS", "debian:12": "FAIL", "debian:13": "PASS"}, "2.41", ()),
        ({"debian:11": "PASS", "debian:12": "PASS", "debian:13": "FAIL"}, None, ()),
        ({"debian:11": "PASS", "debian:12": "UNPROVEN", "debian:13": "PASS"}, "2.31", ("debian:12",)),
        ({"debian:11": "UNPROVEN", "debian:12": "PASS", "debian:13": "PASS"}, "2.36", ()),
        ({"debian:11": "PASS", "debian:12": "PASS", "twin:12": "UNPROVEN"}, "2.31", ("twin:12",)),
        ({"other:9": "PASS", "debian:11": "PASS"}, "2.9", ()),
        ({"debian:11": "UNPROVEN"}, None, ()),
        ({}, None, ()),
    ],
)
def test_the_proven_floor(verdicts: dict[str, str], floor: str | None, holes: tuple[str, ...]) -> None:
    assert proven_floor([cell(image, verdict) for image, verdict in verdicts.items()]) == Proven(floor, holes)


def test_a_failing_probe_lifts_the_floor() -> None:
    cells = [
        cell("debian:11", "PASS"),
        cell("debian:11", "FAIL", condition="no-home"),
        cell("debian:12", "PASS"),
    ]
    assert proven_floor(cells).floor == "2.36"


def test_images_of_unknown_glibc_and_cells_that_must_fail_tell_nothing_about_the_floor() -> None:
    cells = [
        cell("alpine:3.22", "PASS"),
        cell("debian:11", "XFAIL", expect="fail:glibc"),
        cell("debian:12", "PASS"),
    ]
    assert proven_floor(cells) == Proven("2.36")


def test_all_as_expected_has_no_problems() -> None:
    found = about(cell("debian:11", "PASS"), cell("alpine:3", "XFAIL", expect="fail:musl"), floor="2.28")
    assert (found.problems, found.verdict) == ((), "PASS")
    assert found.counts == {"PASS": 1, "XFAIL": 1}
    assert found.told()["proven_floor"] == {"binary": "2.31"}


def test_proven_below_measured_is_an_error() -> None:
    found = about(cell("debian:11", "PASS"), floor="2.34")
    assert found.problems == ("binary started on glibc 2.31, which is below its measured floor 2.34",)
    assert about(cell("other:9", "PASS"), floor="2.31").verdict == "FAIL"
    assert about(cell("debian:11", "PASS"), floor="2.9").verdict == "PASS"


@pytest.mark.parametrize("verdict", ["FAIL", "XPASS"])
def test_a_failure_is_a_problem_even_on_an_optional_image(verdict: str) -> None:
    found = about(cell("debian:12", "PASS"), cell("debian:11", verdict, optional=True, condition="no-home"))
    assert found.problems == (f"binary on debian:11 (no-home): {verdict}: why",)


def test_unproven_is_a_problem_unless_optional_or_allowed() -> None:
    good, bad = cell("debian:12", "PASS"), cell("debian:11", "UNPROVEN", detail=None)
    assert about(good, bad).problems == ("binary on debian:11: UNPROVEN: r",)
    assert about(good, bad | {"optional": True}).problems == ()
    assert about(good, bad, allow_unproven=True).problems == ()


def test_an_artifact_without_one_pass_is_a_problem_whatever_is_allowed() -> None:
    unseen = cell("debian:11", "UNPROVEN", optional=True)
    assert about(unseen, allow_unproven=True).problems == ("binary has no PASS",)
    failed = cell("debian:11", "XFAIL", expect="fail:musl")
    assert about(failed).problems == ("binary has no PASS",)


def test_missing_cells_are_named() -> None:
    expected = [["binary", "debian:11", "plain", ["run"]], ["binary", "debian:12", "no-home", ["run"]]]
    found = about(cell("debian:11", "PASS"), told={"expected": expected})
    assert found.problems == ("binary on debian:12 (no-home): this cell was not started",)


def test_that_an_artifact_was_not_made_says_it_of_all_its_cells() -> None:
    expected = [[name, "debian:12", "plain", [word]] for name in ("gone", "binary") for word in ("a", "b")]
    lost = {"expected": expected, "failures": [{"name": "gone", "why": "it broke"}]}
    found = about(cell("debian:11", "PASS"), told=lost)
    assert found.problems == ("gone: it broke", "binary on debian:12 (plain): this cell was not started")


def test_an_artifact_that_was_not_made_is_a_problem() -> None:
    found = about(cell("debian:11", "PASS"), told={"failures": [{"name": "gone", "why": "there is no such file"}]})
    assert found.problems == ("gone: there is no such file",) and found.verdict == "FAIL"


def test_a_control_is_one_file_on_two_images() -> None:
    pair = [control("debian:11", "XFAIL", MUST), control("debian:13", "PASS", TWIN, sha256="sha256:2")]
    (outcome,) = about(cell("debian:11", "PASS"), *pair).controls
    assert (outcome.verdict, outcome.detail) == (
        "UNPROVEN",
        "control inconclusive: its two cells started different files",
    )


def test_an_image_with_open_questions_is_a_hole_although_it_passed_once() -> None:
    cells = [cell("debian:12", "PASS"), cell("debian:12", "UNPROVEN", condition="no-home"), cell("debian:11", "PASS")]
    assert proven_floor(cells) == Proven("2.31", ("debian:12",))


def test_a_twin_that_is_asked_for_more_says_so() -> None:
    pair = [control("debian:13", "XFAIL", MUST), control("debian:13", "PASS", TWIN, argv=["--unpack", "run"])]
    (outcome,) = about(cell("debian:13", "PASS"), *pair).controls
    assert outcome.verdict == "XFAIL" and outcome.detail.endswith("passes on debian:13 with --unpack")


def control(image: str, verdict: str, expect: str, **changes: Any) -> dict[str, Any]:
    return cell(image, verdict, expect=expect, condition="control:built-too-new", **changes)


MUST, TWIN = "fail:glibc", "pass"


@pytest.mark.parametrize(
    ("cells", "verdict", "detail"),
    [
        (
            [("debian:11", "XFAIL", MUST), ("debian:13", "PASS", TWIN)],
            "XFAIL",
            "why on debian:11; passes on debian:13",
        ),
        ([("debian:11", "XPASS", MUST), ("debian:13", "PASS", TWIN)], "XPASS", "it passed on debian:11"),
        ([("debian:11", "XPASS", MUST), ("debian:13", "FAIL", TWIN)], "XPASS", "it passed on debian:11"),
        (
            [("debian:11", "XFAIL", MUST), ("debian:13", "FAIL", TWIN)],
            "UNPROVEN",
            "control inconclusive: FAIL on debian:13",
        ),
        (
            [("debian:11", "FAIL", MUST), ("debian:13", "PASS", TWIN)],
            "UNPROVEN",
            "control inconclusive: FAIL on debian:11",
        ),
        (
            [("debian:11", "UNPROVEN", MUST), ("debian:13", "PASS", TWIN)],
            "UNPROVEN",
            "control inconclusive: UNPROVEN",
        ),
        ([("debian:11", "XFAIL", MUST)], "UNPROVEN", "control inconclusive: one of its two cells was not run"),
        ([("debian:13", "PASS", TWIN)], "UNPROVEN", "control inconclusive: one of its two cells was not run"),
    ],
)
def test_a_control_holds_only_with_its_twin(cells: list[tuple[str, str, str]], verdict: str, detail: str) -> None:
    found = about(cell("debian:11", "PASS"), *(control(*one) for one in cells))
    (outcome,) = found.controls
    assert (outcome.name, outcome.artifact, outcome.verdict) == ("built-too-new", "binary", verdict)
    assert outcome.detail.startswith(detail)
    assert bool(found.problems) == (verdict != "XFAIL")


def test_an_inconclusive_control_may_be_allowed_a_passing_one_never() -> None:
    good = cell("debian:11", "PASS")
    unsure = [control("debian:11", "UNPROVEN", MUST), control("debian:13", "PASS", TWIN)]
    wrong = [control("debian:11", "XPASS", MUST), control("debian:13", "PASS", TWIN)]
    assert about(good, *unsure, allow_unproven=True).problems == ()
    assert about(good, *wrong, allow_unproven=True).verdict == "FAIL"


def test_the_cells_of_a_control_prove_nothing_about_the_artifact() -> None:
    found = about(control("debian:11", "XFAIL", MUST), control("debian:13", "PASS", TWIN))
    assert found.proven["binary"] == Proven(None)
    assert found.problems == ("binary has no PASS",)


def test_nothing_at_all_concludes() -> None:
    assert conclude({}).problems == ("nothing was built, and nothing was started",)
