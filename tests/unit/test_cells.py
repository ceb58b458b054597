"""Cells without an engine: what cannot be started is UNPROVEN with its reason, and what a PASS is kept under."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.config import Smoke
from py_portable.engines.engine import EngineInfo
from py_portable.engines.native import Native
from py_portable.evidence.merge import CellResult
from py_portable.formats import Made, Start
from py_portable.images import Image
from py_portable.prove import cell_runs
from py_portable.prove.bench import Bench, Cell
from py_portable.prove.canary import Observation
from py_portable.prove.install import finding_of_install
from py_portable.prove.judge import judge
from py_portable.store import Store

IMAGE = Image("debian:11", Path("/"), "sha256:image", "bootstrap", "2.31", "bullseye")
SEEN = Observation(True, (), "sha256:seen", {})


def cell(**changes: Any) -> Cell:
    made = Cell("app", "file", "sha256:app", Start("/opt/app/app", ()), Smoke(), "debian:11", IMAGE, "plain", "pass")
    return replace(made, **changes)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    info = EngineInfo("native", "1", "partial", ("network",))
    return Bench(Native(), info, tmp_path, Store(tmp_path / "store"), "flags", tmp_path)


def passed(of: Cell) -> CellResult:
    return CellResult(
        artifact=of.artifact,
        format=of.format,
        sha256=of.sha256,
        image=of.image_name,
        image_identity="sha256:image",
        image_source="bootstrap",
        condition=of.condition_name,
        expect=of.expect,
        verdict="PASS",
        reason=None,
        detail=None,
        argv=of.smoke.args,
        exit_status=0,
        seconds=0.1,
        when="then",
    )


def test_an_image_that_cannot_be_had_is_unproven_with_its_reason_and_told_once(bench: Bench) -> None:
    told: list[CellResult] = []
    cells = [cell(image=None, unavailable="nobody knows it", condition=name) for name in ("plain", "no-home")]
    results = cell_runs.run(cells, bench, told.append)
    assert [(r.verdict, r.reason, r.detail) for r in results] == [("UNPROVEN", "image", "nobody knows it")] * 2
    assert sorted(r.condition for r in told) == ["no-home", "plain"]
    assert [r.condition for r in results] == ["plain", "no-home"]


def test_no_cells_are_no_results(bench: Bench) -> None:
    assert cell_runs.run([], bench, lambda cell: None) == []


def test_a_pass_is_remembered_and_shown_as_cached(bench: Bench) -> None:
    memory = cell_runs._remembered(cell(), bench, SEEN)
    fresh = replace(passed(cell()), verdict="UNPROVEN", when="now")
    assert memory.recall(fresh) is None
    memory.keep(passed(cell()))
    found = memory.recall(fresh)
    assert found is not None
    assert (found.verdict, found.cached, found.when, found.seconds) == ("PASS", True, "then", 0.1)


@pytest.mark.parametrize("verdict", ["FAIL", "XFAIL", "XPASS", "UNPROVEN"])
def test_nothing_but_a_pass_is_remembered(bench: Bench, verdict: str) -> None:
    memory = cell_runs._remembered(cell(), bench, SEEN)
    memory.keep(replace(passed(cell()), verdict=verdict))
    assert memory.recall(passed(cell())) is None


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"null", b'{"verdict": "FAIL"}', b'{"verdict": "PASS"}'])
def test_a_damaged_memory_is_no_pass(bench: Bench, data: bytes) -> None:
    memory = cell_runs._remembered(cell(), bench, SEEN)
    memory.keep(passed(cell()))
    (file,) = bench.store.cache("passes").iterdir()
    file.write_bytes(data)
    assert memory.recall(passed(cell())) is None


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"sha256": "sha256:other"}, SEEN),
        ({"image": replace(IMAGE, identity="sha256:newer")}, SEEN),
        ({"condition": "no-home"}, SEEN),
        ({"smoke": Smoke(args=("other",))}, SEEN),
        ({"smoke": Smoke(stdout=("line",))}, SEEN),
        ({"start": Start("/opt/app/other", ())}, SEEN),
        ({"control": "built-too-new"}, SEEN),
        ({"made": Made("app", "file", Path("/app"), {}, mode=0o600)}, SEEN),
        ({"expect": "fail:glibc"}, SEEN),
        ({}, replace(SEEN, digest="sha256:otherwise")),
    ],
)
def test_a_pass_under_other_circumstances_is_not_recalled(
    bench: Bench, changes: dict[str, Any], seen: Observation
) -> None:
    cell_runs._remembered(cell(), bench, SEEN).keep(passed(cell()))
    other = cell(**changes)
    assert cell_runs._remembered(other, bench, seen).recall(passed(other)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu_flags": "others"},
        {"info": EngineInfo("native", "2", "partial", ("network",))},
        {"info": EngineInfo("native", "1", "partial", ())},
    ],
)
def test_a_pass_on_another_machine_or_engine_is_not_recalled(bench: Bench, changes: dict[str, Any]) -> None:
    cell_runs._remembered(cell(), bench, SEEN).keep(passed(cell()))
    assert cell_runs._remembered(cell(), replace(bench, **changes), SEEN).recall(passed(cell())) is None


def test_names_do_not_matter_to_a_remembered_pass(bench: Bench) -> None:
    cell_runs._remembered(cell(), bench, SEEN).keep(passed(cell()))
    assert cell_runs._remembered(cell(artifact="renamed"), bench, SEEN).recall(passed(cell())) is not None


def test_a_control_has_a_condition_of_its_own() -> None:
    assert cell().condition_name == "plain"
    assert cell(control="built-too-new").condition_name == "control:built-too-new"


def test_a_failed_installation_fails_for_that_reason() -> None:
    finding = finding_of_install("exit status 1: no matching wheel")
    assert judge(finding, "pass").verdict == "FAIL"
    assert judge(finding, "fail:install").verdict == "XFAIL"


def test_only_engines_that_are_known_to_isolate_partly_are_excused(bench: Bench) -> None:
    lacking = replace(bench.info, lacks=("network",))
    assert cell_runs._excused(replace(bench, info=lacking)) == ("network",)  # the engine native
    assert cell_runs._excused(replace(bench, info=replace(lacking, name="bubblewrap"))) == ()


def test_any_engine_is_excused_for_limits_that_its_machine_does_not_give(bench: Bench) -> None:
    lacking = replace(bench.info, name="docker", lacks=("memory", "network", "processes", "seccomp"))
    assert cell_runs._excused(replace(bench, info=lacking)) == ("memory", "processes")
