"""A verdict answers what the config asks now: what was seen under another smoke command, another expectation or by an
older kit is UNPROVEN (stale), what this run saw wins over what lies there whatever a clock said, and a PASS is remembered
only as long as all the code is the same that has judged it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable import formats
from py_portable.commands import publish as publish_command
from py_portable.config import Config, Smoke
from py_portable.errors import ConfigError
from py_portable.evidence import merge, reading
from py_portable.plan.asked import question
from py_portable.plan.cell import PLAIN, CellId
from py_portable.project import stale
from py_portable.prove.memory import BESIDE, JUDGE
from py_portable.steps import closure
from tests.integration.conftest import Project
from tests.unit.test_evidence import CELLS, HASHES, NAMES, ROWS, cell, text

CONFIG: Mapping[str, Any] = {
    "version": 1,
    "app": {"requirement": "tool==1", "script": "tool", "smoke": [{"args": [], "stdout": ["hello"]}]},
    "python": "3.13",
    "artifacts": {"tool": {"format": "file", "path": "tool"}},
    "portability": {"images": ["debian:11", "debian:12"]},
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "tool").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "tool").chmod(0o755)
    write(tmp_path)
    return Project(tmp_path)


def write(folder: Path, **changes: Any) -> None:
    (folder / "portable.yaml").write_text(json.dumps({**CONFIG, **changes}))


def asking(**smoke: Any) -> dict[str, Any]:
    return {"app": {**CONFIG["app"], "smoke": [{"args": [], "stdout": ["hello"], **smoke}]}}


def seen(project: Project) -> dict[str, tuple[str, str | None]]:
    return {c["image"]: (c["verdict"], c["reason"]) for c in project.evidence["cells"]}


PASS, STALE = ("PASS", None), ("UNPROVEN", "stale")


# ------------------------------------------------------------------------------------------------ another question


@pytest.mark.integration
def test_a_smoke_command_that_asks_for_more_leaves_no_old_pass_standing(project: Project) -> None:
    assert project.run("portability").status == 0
    assert seen(project) == {"debian:11": PASS, "debian:12": PASS} and project.run("report").status == 0
    write(project.folder, **asking(stdout=["hello", "and more"]))
    # Nothing was started since: the evidence is what it was, the report says what it is worth.
    report = project.run("report", "--json")
    assert report.status == 1
    assert json.loads(report.stdout)["conclusions"]["counts"] == {"UNPROVEN": 2}
    assert project.run("portability", "--image", "debian:11").status == 1
    assert seen(project) == {"debian:11": ("FAIL", "output"), "debian:12": STALE}
    report = project.run("report")
    assert report.status == 1 and "start it again" in report.stdout
    # Asked as before, what was seen before is an answer again.
    write(project.folder)
    assert project.run("portability", "--image", "debian:12").status == 0
    assert seen(project) == {"debian:11": PASS, "debian:12": PASS} and project.run("report").status == 0


@pytest.mark.integration
def test_a_part_of_the_year_2036_hides_nothing_that_this_run_saw(project: Project) -> None:
    assert project.run("portability", "--image", "debian:12").status == 0
    (part,) = (project.folder / "dist" / "evidence" / "parts").glob("portability-*.json")
    told = json.loads(part.read_text())
    future = "2036-01-01T00:00:00.000000+00:00"
    cells = [{**one, "when": future} for one in told["cells"]]
    part.with_name("portability-000000000000.json").write_text(json.dumps({**told, "when": future, "cells": cells}))
    # The artifact is the same one, and fails now: it is asked for more, which nothing in the old part would show.
    write(project.folder, **asking(exit=3))
    for old in (part, part.with_name("portability-000000000000.json")):
        old.write_text(old.read_text().replace(told["cells"][0]["smoke"], _asked(project)))
    assert project.run("portability", "--image", "debian:12").status == 1
    assert seen(project)["debian:12"] == ("FAIL", "exit")
    assert project.run("report").status == 1


def _asked(project: Project) -> str:
    c = formats.load_config(project.folder / "portable.yaml")
    return question(c, "tool", c.artifacts["tool"].smoke[0])


def made(folder: Path, **changes: Any) -> Config:
    write(folder, **changes)
    return formats.load_config(folder / "portable.yaml")


@pytest.mark.parametrize(
    "changes",
    [
        asking(stdout=["hello", "more"]),
        asking(stdout=[]),
        asking(stderr=["warned"]),
        asking(exit=1),
        asking(timeout=5),
        {"app": {**CONFIG["app"], "script": "other"}},
        {"app": {**CONFIG["app"], "extras": ["more"]}},
    ],
)
def test_all_that_a_start_is_asked_is_its_question(tmp_path: Path, changes: dict[str, Any]) -> None:
    one, other = made(tmp_path), made(tmp_path, **changes)
    asked = [question(c, "tool", c.artifacts["tool"].smoke[0]) for c in (one, other)]
    assert len(set(asked)) == 2
    old = cell(artifact="tool", argv=[], smoke=asked[0])
    now = stale.questions(other)
    assert stale.is_stale(old, other, now) and not stale.is_stale(old, one, stale.questions(one))
    ready = stale.marked({"cells": [old]}, other)["cells"]
    objected = publish_command.objections(ready, {"tool": old["sha256"]}, [CellId("tool", "debian:11", PLAIN, ())])
    assert objected[1] and not publish_command.objections([old], {"tool": old["sha256"]}, [])[1]


@pytest.mark.parametrize(
    "old",
    [
        {"smoke": None},
        {"expect": "fail:exit", "verdict": "XFAIL"},
        {"smoke": f"sha256:{'0' * 64}", "condition": "control:x"},
        {"smoke": f"sha256:{'0' * 64}", "verdict": "FAIL"},
    ],
)
def test_what_an_older_kit_saw_or_what_was_expected_otherwise_is_unknown(tmp_path: Path, old: Any) -> None:
    c = made(tmp_path)
    row: Any = cell(artifact="tool", argv=[], smoke=question(c, "tool", c.artifacts["tool"].smoke[0]))
    marked = stale.marked({"cells": [row, row | old]}, c)["cells"]
    assert [one["verdict"] for one in marked] == ["PASS", "UNPROVEN"]
    assert (marked[1]["reason"], marked[1]["cached"]) == ("stale", False)


def test_what_the_config_does_not_ask_at_all_is_not_its_business(tmp_path: Path) -> None:
    c = made(tmp_path)
    rows: list[Any] = [
        cell(artifact="other"),
        cell(artifact="tool", argv=["else"]),
        cell(artifact="tool", argv=[], image="x"),
    ]
    assert stale.marked({"cells": rows}, c)["cells"] == rows


def test_a_question_is_the_same_whatever_else_the_config_says(tmp_path: Path) -> None:
    one = made(tmp_path)
    other = made(tmp_path, portability={"images": ["debian:13"], "probes": ["no-home"]})
    smoke = Smoke(args=(), stdout=("hello",))
    assert question(one, "tool", smoke) == question(other, "tool", smoke)
    assert question(one, "tool", smoke) != question(one, "tool", replace(smoke, timeout=1.0))


# ------------------------------------------------------------------------------------------------------------ turns

TURNS = st.integers(1, 3)
DATED = st.builds(
    lambda turn, when, artifacts, cells: {
        "schema": 1,
        "turn": turn,
        "when": when,
        "artifacts": artifacts,
        "cells": cells,
    },
    TURNS,
    st.sampled_from(["2026-01-01", "2036-01-01"]),
    st.lists(ROWS, max_size=3),
    st.lists(CELLS, max_size=4),
)


@given(st.lists(DATED, max_size=4).flatmap(lambda parts: st.tuples(st.just(parts), st.permutations(parts))))
def test_with_turns_any_order_gives_the_same_bytes_and_a_merge_of_a_merge_is_the_same(
    pair: tuple[list[Any], list[Any]],
) -> None:
    once = merge.merge(pair[0])
    assert text(pair[0]) == text(pair[1]) == text([once]) == text([once, once]) == text([*pair[0], *pair[1]])


@given(st.lists(DATED, min_size=1, max_size=5), st.integers(0, 5))
def test_whatever_is_merged_first_the_cells_are_the_same(parts: list[Any], cut: int) -> None:
    groups = [merge.merge(group) for group in (parts[:cut], parts[cut:]) if group]
    assert merge.merge(groups)["cells"] == merge.merge(parts)["cells"]


@given(st.lists(st.tuples(TURNS, HASHES, NAMES), min_size=1, max_size=5))
def test_the_last_turn_holds_whatever_the_clock_said(turns: Sequence[tuple[int, str, str]]) -> None:
    # The later the turn, the earlier the clock.
    parts = [
        {"turn": turn, "when": f"203{9 - turn}", "cells": [cell(when=f"203{9 - turn}", detail=f"{turn}")]}
        for turn, _, _ in turns
    ]
    (kept,) = merge.merge(parts)["cells"]
    assert kept["detail"] == str(max(turn for turn, _, _ in turns)) and kept["turn"] == max(t for t, _, _ in turns)


def test_each_part_comes_after_all_that_lie_there(tmp_path: Path) -> None:
    paths = [merge.write_part(tmp_path, "build", [scope], {}) for scope in "abc"]
    assert [reading.read(path)["turn"] for path in paths] == [1, 2, 3]
    again = merge.write_part(tmp_path, "build", ["a"], {"turn": 1})
    assert reading.read(again)["turn"] == 4
    for spoilt in (b"{", b"[]", b'{"turn": true}', b'{"turn": "9"}', b'{"turn": -1}', b"[" * 100_000):
        paths[1].write_bytes(spoilt)
        assert reading.read(merge.write_part(tmp_path, "build", ["a"], {}))["turn"] in (5, 6, 7, 8, 9, 10)
    paths[1].write_text(json.dumps({"schema": 1, "turn": merge.MOST_TURNS}))
    with pytest.raises(ConfigError, match="have the highest possible number"):
        merge.write_part(tmp_path, "build", ["a"], {})


# ---------------------------------------------------------------------------------------------------- remembered PASSes


def test_a_remembered_pass_hangs_on_all_the_code_that_judges() -> None:
    own = set(closure.modules(JUDGE))
    judging = (
        "prove.judge",
        "prove.borne",
        "prove.record",
        "prove.canary",
        "prove.memory",
        "base.capture",
        "base.process",
    )
    others = (
        "config.model",
        "inspect.elf.reader",
        "engines.bubblewrap",
        "engines.guard",
        "engines.stage",
        "formats.bundle",
    )
    assert {f"py_portable.{name}" for name in (*judging, *others, "evidence.typed", "plan.cell", "store.walk")} <= own
    # What only shows results, or hands them on, judges nothing.
    for name in (
        "cli.prove",
        "report.text",
        "ci.github.action",
        "benchmark.pairs",
        "commands.publish",
        "commands.portability",
    ):
        assert f"py_portable.{name}" not in own, name


def test_every_file_that_judges_changes_what_it_hangs_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "py_portable"
    shutil.copytree(closure.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(closure, "PACKAGE", copy)

    def digest() -> str:
        closure.forget()
        return closure.sha256(JUDGE, BESIDE)

    before = digest()
    for name in (
        "base/capture.py",
        "config/model.py",
        "inspect/elf/view.py",
        "resources/engines/stage.sh",
        "engines/static_helpers/cell-run.c",
    ):
        path = copy / name
        kept = path.read_bytes()
        path.write_bytes(kept + b"\n")
        assert digest() != before, name
        path.write_bytes(kept)
    (copy / "report" / "text.py").write_text("")
    assert digest() == before
    # An import anywhere counts, in whatever form.
    (copy / "base/capture.py").write_text("if x:\n    from py_portable.report import (\n        text,  # why\n    )\n")
    closure.forget()
    assert "py_portable.report.text" in closure.modules(JUDGE)
    monkeypatch.undo()
    closure.forget()


def test_a_module_that_is_not_there_is_no_closure() -> None:
    with pytest.raises(ValueError, match="there is not a module"):
        closure.modules("py_portable.nothing")
