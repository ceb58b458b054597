"""Shards as they travel: the plan's file, what a shard runs, and merges that lose nothing and hide no contradiction."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_portable import cli, resources
from py_portable.commands import plan as plan_command
from py_portable.commands import portability as portability_command
from py_portable.errors import ConfigError
from py_portable.evidence import merge, reading
from py_portable.evidence.conclude import conclude
from py_portable.evidence.typed import CellResult, Evidence
from py_portable.lock.lockfile import Lock
from py_portable.plan.assemble import Plan
from py_portable.plan.cell import PlannedCell
from py_portable.plan.partition import by_image
from py_portable.plan.selection import Selection, narrow
from py_portable.plan.shards import Sharding, lock_sha256, parse
from py_portable.project.session import Session, open_session
from py_portable.prove.bench import Cell
from py_portable.steps.identity import NodeId
from tests.unit.test_cli import ELSEWHERE, HELD, House, first

SCHEMA = json.loads((Path(resources.__file__).parents[1] / "schemas" / "evidence.schema.json").read_text())
SHA = f"sha256:{'1' * 64}"
CELLS = tuple(
    PlannedCell(artifact, "file", image, condition, ("run",), "pass", False, glibc)
    for artifact in ("a", "b")
    for image, glibc in (("debian:11", "2.31"), ("debian:12", "2.36"), ("debian:13", "2.41"))
    for condition in ("plain", "no-home")
)
PLAN = Sharding("c" * 64, "d" * 64, by_image(CELLS, limit=3))
PLANNED: dict[str, Any] = {"schema": 1, "command": "plan", "when": "2026-01-01", "plan": PLAN.told()}


def valid(told: Any) -> Any:
    jsonschema.Draft202012Validator(SCHEMA).validate(told)
    return told


def row(cell: PlannedCell, **changes: Any) -> dict[str, Any]:
    done = CellResult(
        **{name: value for name, value in vars(cell).items() if name in CellResult.__dataclass_fields__},
        sha256=SHA,
        image_identity=f"sha256:{cell.image}",
        image_source="bootstrap",
        verdict="PASS",
        reason=None,
        detail=None,
        isolation="full",
        exit_status=0,
        when="2026-01-02",
    )
    return done.told() | changes


def artifact(name: str, **changes: Any) -> dict[str, Any]:
    told = {"name": name, "format": "file", "path": name, "sha256": SHA, "bytes": 1, "arch": None}
    told |= {"interpreter": None, "measured_floor": "2.28", "licences": None, "seconds": 0.0, "cached": False}
    return told | changes


def part(number: int, **changes: Any) -> dict[str, Any]:
    """What a job of the shard leaves; the digits make jobs differ as those of several machines do."""
    shard = PLAN.shards[number]
    told: dict[str, Any] = {
        "schema": 1,
        "command": "portability",
        "when": f"2026-01-0{number + 2}",
        "config": {"file": "portable.yaml", "sha256": "c" * 64},
        "kit": {"version": str(9 - number)},
        "artifacts": [artifact(name, seconds=float(number), path=f"{number}/{name}") for name in ("a", "b")],
        "cells": [row(cell) for cell in shard.cells],
        "shards": [{"name": shard.name, "plan": PLAN.digest}],
    }
    return told | changes


PARTS = [part(0), part(1), part(2)]
# The newest knows least: what older ones say must not grow younger in a merge with it.
PARTS[2] = {name: told for name, told in PARTS[2].items() if name not in ("kit", "artifacts")}


def text(parts: Sequence[Evidence]) -> str:
    return json.dumps(merge.merge(parts, shards=True), sort_keys=True)


# ------------------------------------------------------------------------------------------------- merging


def test_all_shards_together_are_the_whole_run() -> None:
    merged = valid(merge.merge([PLANNED, *PARTS], shards=True))
    assert len(merged["cells"]) == merged["expected_cells"] == len(CELLS)
    assert {cell["verdict"] for cell in merged["cells"]} == {"PASS"}
    assert [shard["name"] for shard in merged["shards"]] == [shard.name for shard in PLAN.shards]
    assert conclude(merged).problems == ()


def test_a_missing_shard_makes_its_cells_unproven_and_never_absent() -> None:
    merged = valid(merge.merge([PLANNED, PARTS[0], PARTS[2]], shards=True))
    assert len(merged["cells"]) == merged["expected_cells"] == len(CELLS)
    lost = [cell for cell in merged["cells"] if cell["verdict"] != "PASS"]
    name = PLAN.shards[1].name
    assert [(c["verdict"], c["reason"], c["detail"]) for c in lost] == [
        ("UNPROVEN", "shard", f"shard missing: {name}")
    ] * 4
    assert {(c["image"], c["image_glibc"], c["sha256"]) for c in lost} == {("debian:12", "2.36", SHA)}
    conclusions = conclude(merged)
    assert conclusions.problems == (f"shard missing: {name}: 4 UNPROVEN",)
    assert (conclusions.proven["a"].floor, conclusions.proven["a"].holes) == ("2.31", ("debian:12",))
    assert conclude(merged, allow_unproven=True).problems == ()


def test_where_every_shard_is_missing_every_cell_is_there() -> None:
    merged = valid(merge.merge([PLANNED], shards=True))
    assert [c["sha256"] for c in merged["cells"]] == ["none"] * len(CELLS)
    assert len(conclude(merged).problems) == 3


def test_that_an_image_is_optional_excuses_no_lost_job() -> None:
    plan = Sharding("c" * 64, "d" * 64, by_image([replace(c, optional=True) for c in CELLS], limit=3))
    merged = merge.merge([PLANNED | {"plan": plan.told()}], shards=True)
    assert len(conclude(merged).problems) == 3


def test_a_cell_that_its_shard_did_not_start_says_so_and_why() -> None:
    short = PARTS[0] | {
        "cells": [c for c in PARTS[0]["cells"] if c["artifact"] == "a"],
        "artifacts": [artifact("a")],
        "failures": [{"name": "b", "why": "a step failed"}],
    }
    merged = valid(merge.merge([PLANNED, short], shards=True))
    name = PLAN.shards[0].name
    found = {c["detail"] for c in merged["cells"] if c["image"] == "debian:11" and c["artifact"] == "b"}
    assert found == {f"{name} did not start it: a step failed"}


def test_a_shard_that_comes_later_takes_the_place_of_its_missing_cells() -> None:
    early = merge.merge([PLANNED, PARTS[0]], shards=True)
    assert text([early, PARTS[1], PARTS[2]]) == text([PLANNED, *PARTS])


@settings(max_examples=40)
@given(st.permutations([PLANNED, *PARTS]), st.integers(1, 3), st.sets(st.integers(0, 3)))
def test_any_order_and_any_grouping_give_the_same_bytes(parts: list[Evidence], cut: int, twice: set[int]) -> None:
    whole = text([PLANNED, *PARTS])
    assert text(parts) == whole
    assert text([*parts, *(parts[n] for n in sorted(twice))]) == whole
    # A group without the plan is refused, so each gets it.
    groups = [merge.merge([PLANNED, *group], shards=True) for group in (parts[:cut], parts[cut:])]
    assert text(groups) == text([groups[1], groups[0], *parts]) == whole
    once = merge.merge(parts, shards=True)
    assert text([once]) == text([once, once]) == whole


@settings(max_examples=40)
@given(st.sets(st.integers(0, 2)), st.sets(st.integers(0, 2)))
def test_what_is_missing_of_a_merge_is_what_is_missing_of_all_its_parts(some: set[int], others: set[int]) -> None:
    one, other = (merge.merge([PLANNED, *(PARTS[n] for n in sorted(p))], shards=True) for p in (some, others))
    merged = merge.merge([one, other], shards=True)
    assert text([merged]) == text([PLANNED, *(PARTS[n] for n in sorted(some | others))])
    assert len(merged["cells"]) == len(CELLS)
    assert sum(c["reason"] == "shard" for c in merged["cells"]) == 4 * (3 - len(some | others))


OTHER = Sharding("c" * 64, "e" * 64, PLAN.shards)
AGAIN = row(PLAN.shards[0].cells[0], verdict="FAIL", reason="exit", exit_status=1, when="2026-01-09")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            [PLANNED, PARTS[0], part(0, cells=[AGAIN])],
            r"a on debian:11 \(plain\) has two records.*(PASS|FAIL)",
        ),
        ([PLANNED, part(1, artifacts=[artifact("a", sha256="sha256:2")]), PARTS[0]], "a has two digests"),
        ([PLANNED, PLANNED | {"plan": OTHER.told()}], "from two plans"),
        ([PLANNED, part(0, shards=[{"name": PLAN.shards[0].name, "plan": OTHER.digest}])], "from two plans"),
        ([PARTS[0], PARTS[1]], "the plan of debian-11-.* is not in this evidence"),
        ([PLANNED, part(0, shards=[{"name": "nobody", "plan": PLAN.digest}])], "no shard is named 'nobody'"),
        ([PLANNED, PARTS[0], part(1, config={"file": "x", "sha256": "f" * 64})], "from two configs"),
        (
            [PLANNED, part(0, cells=[row(CELLS[0]), row(CELLS[1], image_identity="sha256:y")]), PARTS[1]],
            "debian:11 has two identities",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_and_named_in_any_order(parts: list[Any], said: str) -> None:
    messages = set()
    for order in (parts, parts[::-1]):
        with pytest.raises(ConfigError, match=said) as caught:
            merge.merge(order, shards=True)
        messages.add(caught.value.render())
    assert len(messages) == 1 or "two identities" in said


def test_in_a_dist_folder_a_plan_of_yesterday_is_forgotten() -> None:
    old = part(0, shards=[{"name": "old", "plan": OTHER.digest}], when="2025-01-01")
    merged = merge.merge([PARTS[1], old])
    assert [shard["name"] for shard in merged["shards"]] == [PLAN.shards[1].name]
    assert "plan" not in merged


# --------------------------------------------------------------------------------------------- the plan's file


def test_a_plan_is_read_back_as_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    merge.write(path, valid(PLANNED))
    assert parse(reading.read(path)["plan"], "x") == PLAN


@pytest.mark.parametrize(
    "spoil",
    [
        lambda plan: plan.update(digest=SHA),
        lambda plan: plan.update(lock="e" * 64),
        lambda plan: plan.update(config=None),
        lambda plan: plan.pop("shards"),
        lambda plan: plan["shards"].pop(),
        lambda plan: plan["shards"].append(plan["shards"][0]),
        lambda plan: plan["shards"][0].update(name="../x"),
        lambda plan: plan["shards"][0].update(name="x\n"),
        lambda plan: plan["shards"][0]["cells"].append(plan["shards"][1]["cells"][0]),
        lambda plan: plan["shards"][0]["cells"][0].update(argv=["a", 1]),
        lambda plan: plan["shards"][0]["cells"][0].update(argv=None),
        lambda plan: plan["shards"][0]["cells"][0].update(image=1),
        lambda plan: plan["shards"][0]["cells"][0].update(optional="no"),
        lambda plan: plan["shards"][0]["cells"][0].update(image_glibc=2.31),
        lambda plan: plan["shards"][0].update(cells=["x"]),
    ],
)
def test_a_plan_that_somebody_changed_is_refused(tmp_path: Path, spoil: Callable[[Any], Any]) -> None:
    told = json.loads(json.dumps(PLANNED))
    spoil(told["plan"])
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(told))
    with pytest.raises(ConfigError, match="its plan"):
        reading.read(path)


def test_the_digest_of_a_lock_leaves_out_what_a_run_learns() -> None:
    lock = Lock(images={"image debian:11": SHA}, pins={"x": "1"}, origins={"debian:11": SHA})
    assert lock_sha256(lock) == lock_sha256(replace(lock, images={}, origins={}))
    assert lock_sha256(lock) != lock_sha256(replace(lock, pins={}))


# -------------------------------------------------------------------------------------------- the command line

IMAGES = ["localhost:1/x:1", "localhost:1/y:1", {"image": "localhost:1/z:1", "optional": True}]
"""Nobody listens there."""
TOLD = ELSEWHERE | {
    "artifacts": {name: {"format": "file", "path": "made"} for name in ("one", "two")},
    "portability": {"images": IMAGES, "probes": ["no-home"]},
}


@dataclass(frozen=True)
class Done:
    status: int
    stdout: str
    stderr: str


Call = Callable[..., Done]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    house = House(tmp_path)
    house.write(TOLD)
    house.write("#!/bin/sh\n", "made")
    for name in ("PY_PORTABLE_STORE", "HOME", "XDG_CONFIG_HOME", "PIP_CONFIG_FILE", "PIP_NO_INDEX"):
        monkeypatch.setenv(name, house.environ[name])
    monkeypatch.chdir(tmp_path)
    return house


@pytest.fixture
def call(house: House, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process: its start is no subject here."""

    def run(*words: str) -> Done:
        capsys.readouterr()
        status = cli._run(list(words))
        return Done(status, *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    ("words", "environ", "carried"),
    [
        (("--carry",), "", True),
        (("--carry",), "release", True),
        (("--carry", "--tier", "pr"), "", False),
        (("--carry-all",), "pr", False),
        ((), "", False),
    ],
)
def test_what_a_tier_does_not_start_is_not_built_to_be_carried(
    words: tuple[str, ...],
    environ: str,
    carried: bool,
    house: House,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house.write(HELD)
    house.lock()
    asked: list[NodeId] = []

    def run(self: Session, plan: Any, wanted: Sequence[NodeId], lock: Lock, **_options: Any) -> None:
        asked.extend(wanted)
        raise ConfigError("seen")

    monkeypatch.setattr(Session, "run", run)
    monkeypatch.setenv("PY_PORTABLE_TIER", environ)
    assert call("build", *words).status == 2
    assert NodeId("artifact", "folder") in asked
    assert any(node.kind == "control" for node in asked) == carried


def test_plan_prints_one_line_for_github_and_writes_the_plan(house: House, call: Call) -> None:
    done = call("plan", "--github", "--shards", "3")
    assert done.status == 0, done.stderr
    assert done.stdout.count("\n") == 1
    shards = [row["shard"] for row in json.loads(done.stdout)["include"]]
    told = valid(json.loads((house.base / "dist" / "plan.json").read_text()))
    assert [shard["name"] for shard in told["plan"]["shards"]] == shards
    assert sum(len(shard["cells"]) for shard in told["plan"]["shards"]) == 2 * 3 * 2
    assert {c["optional"] for s in told["plan"]["shards"] for c in s["cells"] if "z" in c["image"]} == {True}
    assert call("plan", "--github", "--shards", "3").stdout == done.stdout
    unsharded = call("merge", "dist/plan.json")
    assert (unsharded.status, unsharded.stderr.count("shard missing: ")) == (1, len(shards))
    assert call("merge", "dist/plan.json", "--allow-unproven").status == 0


def test_plan_prints_a_child_pipeline_and_with_native_a_job_an_image(call: Call) -> None:
    shared = call("plan", "--gitlab", "--job-prefix", "x y")
    assert '"x y shard-001":\n' in shared.stdout
    inside = call("plan", "--gitlab", "--engine", "native", "--job-prefix", "", "--shards", "", "--costs", "")
    assert inside.stdout.count('"PY_PORTABLE_SHARD"') == 3
    assert '"py-portable localhost-1-x-1-' in inside.stdout


def test_a_control_that_cannot_be_started_is_a_failure_of_the_whole_plan_only(house: House, call: Call) -> None:
    house.write(HELD | {"portability": {"images": ["debian:11"], "controls": ["built-too-new"]}})
    house.lock()
    for words, names in (([], ["control built-too-new"]), (["wheels"], [])):
        assert call("plan", "--github", *words).status == 0
        told = json.loads((house.base / "dist" / "plan.json").read_text())
        assert [failure["name"] for failure in told["failures"]] == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "--github", "--gitlab"], "use only one of"),
        (["plan", "--gitlab", "--json"], "use only one of"),
        (["plan", "--shards", "2"], "--shards and --costs need"),
        (["plan", "--github", "--shards", "257"], "257 shards are wanted; there may be 1 to 256"),
        (["plan", "--gitlab", "--shards", "201"], "201 shards are wanted; there may be 1 to 200"),
        (["plan", "--github", "--costs", "nothing.json"], "nothing.json: cannot be read"),
        (["plan", "--gitlab", "--job-prefix", "a\nb"], "cannot be the beginning of a job's name"),
        (["portability", "--shard", "x", "--image", "y"], "the plan says what a shard starts"),
        (["portability", "--shard", "x"], "plan.json: cannot be read"),
        (["portability", "--shard", "x", "--plan", "portable.yaml"], "is not evidence of schema 1"),
    ],
)
def test_a_wrong_word_about_shards_is_status_2(call: Call, words: list[str], said: str) -> None:
    done = call(*words)
    assert (done.status, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_shard_of_another_config_or_of_no_plan_is_refused(
    house: House, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("plan", "--github").status == 0
    done = call("portability", "--shard", "shard-009")
    assert (done.status, first(done.stderr)) == (2, "Error: --shard: no shard is named 'shard-009'")
    assert "there are: shard-001" in done.stderr
    house.write(TOLD | {"portability": {"images": IMAGES[:2]}})
    monkeypatch.setenv("PY_PORTABLE_SHARD", "shard-001")
    done = call("portability")
    assert done.status == 2
    assert "the plan was made with another portable.yaml" in done.stderr


# ----------------------------------------------------------------------------------------- a run in shards


def test_each_shard_has_a_part_of_its_own_in_a_dist_folder_that_several_share() -> None:
    both = [Sharding("c" * 64, "d" * 64, (replace(PLAN.shards[0], name=name),)) for name in ("one", "two")]
    selected = [Selection.of_shard(plan, plan.shards[0].name) for plan in both]
    assert [narrow(Plan({}, {}, {}), one).scope for one in selected] == [("shard one",), ("shard two",)]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, house: House) -> House:
    """Cells pass without being started: what is looked at here is which of them are."""

    def run(cells: Sequence[Cell], _bench: object, tell: Callable[[CellResult], None]) -> list[CellResult]:
        results = [
            CellResult(
                artifact=c.artifact,
                format=c.format,
                sha256=c.sha256,
                image=c.image_name,
                image_identity="sha256:i",
                image_source="registry",
                condition=str(c.id.condition),
                expect=c.expect,
                verdict="PASS",
                reason=None,
                detail=None,
                argv=c.smoke.args,
                optional=c.optional,
                isolation="full",
                exit_status=0,
                smoke=c.asked,
                when="2026-01-01",
            )
            for c in cells
        ]
        for result in results:
            tell(result)
        return results

    monkeypatch.setattr("py_portable.prove.cell_runs.run", run)
    monkeypatch.setattr(portability_command, "bench_of", lambda session: None)
    monkeypatch.setattr(Session, "host", lambda session: {})
    return house


def prove(house: House, dist: str, shard: str | None) -> tuple[Evidence, list[str]]:
    """One job: the part it leaves, and the cells it started."""
    session = open_session(house.base / "portable.yaml", dist=house.base / dist)
    selection = Selection()
    if shard:
        plan = plan_command.read(session, house.base / "dist" / "plan.json")
        selection = Selection.of_shard(plan, shard)
    started: list[str] = []
    portability_command.prove(session, selection, lambda cell: started.append(json.dumps(cell.id.told())))
    (path,) = (house.base / dist / "evidence" / "parts").glob("portability-*.json")
    told = json.loads(path.read_text())
    del told["host"]
    return valid(told), started


def test_shards_run_what_is_theirs_and_together_what_one_run_does(quick: House, call: Call) -> None:
    assert call("plan", "--github", "--shards", "4").status == 0
    planned = reading.read(quick.base / "dist" / "plan.json")
    plan = parse(planned["plan"], "x")
    assert len(plan.shards) > 1
    parts = []
    for shard in plan.shards:
        told, started = prove(quick, f"dist-{shard.name}", shard.name)
        assert sorted(started) == sorted(json.dumps(cell.id.told()) for cell in shard.cells)
        assert told["shards"] == [{"name": shard.name, "plan": plan.digest}]
        parts.append(told)
    whole, _ = prove(quick, "dist-whole", None)
    merged = merge.merge([planned, *parts], shards=True)
    assert merged["cells"] == merge.merge([whole], shards=True)["cells"]
    assert merged["expected"] == merge.merge([whole])["expected"]


def test_a_shard_whose_artifact_is_gone_does_not_lose_its_cells(quick: House, call: Call) -> None:
    assert call("plan", "--github", "--shards", "1").status == 0
    (quick.base / "made").unlink()
    told, started = prove(quick, "dist-1", "shard-001")
    assert started == []
    planned = reading.read(quick.base / "dist" / "plan.json")
    merged = merge.merge([planned, told], shards=True)
    assert len(told["expected"]) == len(merged["cells"]) == 12
    assert all("shard-001 did not start it: there is no" in cell["detail"] for cell in merged["cells"])


# ---------------------------------------------------------------------------------- 30 artifacts x 400 images


def test_plan_of_a_big_matrix_is_what_the_services_take(house: House, call: Call) -> None:
    images = [f"registry.example/distribution-{n % 40}:{n // 40}" for n in range(400)]
    told = copy.deepcopy(TOLD)
    told["artifacts"] = {f"artifact-{n}": {"format": "file", "path": "made"} for n in range(30)}
    told["portability"] = {"images": images, "probes": ["no-home"]}
    house.write(told)
    for service in ("--github", "--gitlab"):
        done = call("plan", service)
        assert done.status == 0, done.stderr
        shards = json.loads((house.base / "dist" / "plan.json").read_text())["plan"]["shards"]
        cells = {json.dumps(cell) for shard in shards for cell in shard["cells"]}
        assert len(cells) == sum(len(shard["cells"]) for shard in shards) == 30 * len(images) * 2
        # All cells cost the same here.
        assert max(len(shard["cells"]) for shard in shards) <= len(cells) / len(shards) + 2
        if service == "--github":
            assert 0.9 * 256 < len(shards) <= 256
            jobs = [row["shard"] for row in json.loads(done.stdout)["include"]]
        else:
            assert 0.9 * 200 < len(shards) <= 200
            jobs = re.findall(r'^"py-portable (shard-[0-9]+)":$', done.stdout, re.MULTILINE)
        assert jobs == [shard["name"] for shard in shards]
