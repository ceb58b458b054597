"""Cells without an engine: what cannot be started is UNPROVEN with its reason, and what a PASS is kept under."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from py_portable.base.capture import Captured
from py_portable.config import Smoke
from py_portable.engines.engine import Ended, EngineInfo
from py_portable.engines.native import Native
from py_portable.evidence.stage_results import StageResult
from py_portable.evidence.typed import CellResult
from py_portable.formats import Install, Made, Stage, Start
from py_portable.images import Image
from py_portable.prove import cell_runs, dependencies, stages
from py_portable.prove.bench import Bench, Cell
from py_portable.prove.canary import Observation
from py_portable.prove.install import Installed, failure_of, finding_of_install
from py_portable.prove.judge import judge
from py_portable.store import Store

IMAGE = Image("debian:11", Path("/"), "sha256:image", "bootstrap", "2.31", "bullseye")
DPKG = Install(("/usr/bin/dpkg", "--install", "/x.deb"), manager="/usr/bin/dpkg")
PACKAGE = Start("/usr/bin/app", (), DPKG)
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
        condition=str(of.id.condition),
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
    assert str(cell().id.condition) == "plain"
    assert str(cell(control="built-too-new").id.condition) == "control:built-too-new"


def test_a_failed_installation_fails_for_that_reason() -> None:
    finding = finding_of_install("exit status 1: no matching wheel")
    assert judge(finding, "pass").verdict == "FAIL"
    assert judge(finding, "fail:install").verdict == "XFAIL"


REFUSED = "The following packages have unmet dependencies: tool : Depends: python3 (< 3.12) but 3.13 is to be installed"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (f"exit status 100: {REFUSED}", "release"),
        ("exit status 1: dpkg: dependency problems prevent configuration of tool: no", "release"),
        ("exit status 100: E: Unable to locate package", "install"),
        ("exit status 1: dpkg: error processing archive", "install"),
        (f"exit status 1: it says: {REFUSED}", "install"),
        ("it did not end within 600 s", "install"),
    ],
)
def test_a_refusal_for_want_of_what_it_depends_on_is_recognised_by_the_managers_own_words(
    failure: str, reason: str
) -> None:
    stage = Install(("/usr/bin/apt-get",), unmet=("The following packages have unmet", "dpkg: dependency problems"))
    assert finding_of_install(failure, stage).reason == reason
    assert finding_of_install(failure, replace(stage, unmet=())).reason == "install"
    of = cell(start=Start("/usr/bin/tool", (), stage), expect=f"fail:{reason}")
    failed = Installed((StageResult("install", "failed", 0.1, failure),))
    result = stages.with_installation(passed(of), of, failed, 100)
    assert (result.verdict, result.reason, result.install) == ("XFAIL", reason, "failed")


def test_only_images_that_an_artifact_is_installed_on_get_what_it_depends_on(bench: Bench, tmp_path: Path) -> None:
    wanting = replace(PACKAGE, install=replace(DPKG, depends=("libpq5",)))
    other = replace(IMAGE, root=tmp_path)
    unchanged = [
        cell(),
        cell(start=PACKAGE),
        cell(start=wanting, image=None),
        cell(start=wanting, image=other),
        cell(start=wanting, image=replace(IMAGE, source="host")),
        cell(start=wanting, image=replace(IMAGE, named="sha256:before")),
    ]
    assert dependencies.provided(unchanged, bench) == unchanged


def test_an_image_to_which_nothing_can_be_added_makes_its_cell_unproven(bench: Bench, tmp_path: Path) -> None:
    for name in ("dpkg", "apt-get"):
        (tmp_path / "usr" / "bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / "usr" / "bin" / name).touch()
    wanting = replace(PACKAGE, install=replace(DPKG, depends=("libpq5",)))
    (found,) = dependencies.provided([cell(start=wanting, image=replace(IMAGE, root=tmp_path))], bench)
    assert found.image is None and found.lacks == "image"
    assert (found.unavailable or "").startswith("the packages that app depends on cannot be added to it: ")


def test_a_cell_says_what_was_added_to_its_image_and_keeps_the_images_identity() -> None:
    wanting = replace(PACKAGE, install=replace(DPKG, depends=("libpq5", "nothing")))
    packages = (("libc6", "2.36-9", None), ("libpq5", "15.1-1", None))
    more = replace(IMAGE, identity="sha256:more", named=IMAGE.identity, packages=packages)
    result = cell_runs._unknown(cell(start=wanting, image=more))
    assert (result.image_identity, result.told()["provided"]) == ("sha256:image", ["libpq5 15.1-1"])
    assert "provided" not in cell_runs._unknown(cell(start=wanting)).told()


def test_only_engines_that_are_known_to_isolate_partly_are_excused(bench: Bench) -> None:
    lacking = replace(bench.info, lacks=("network",))
    assert cell_runs._excused(replace(bench, info=lacking)) == ("network",)  # the engine native
    assert cell_runs._excused(replace(bench, info=replace(lacking, name="bubblewrap"))) == ()


def test_any_engine_is_excused_for_limits_that_its_machine_does_not_give(bench: Bench) -> None:
    lacking = replace(bench.info, name="docker", lacks=("memory", "network", "processes", "seccomp"))
    assert cell_runs._excused(replace(bench, info=lacking)) == ("memory", "processes")


DONE = StageResult("install", "done", 0.1)


def test_an_image_of_another_family_is_not_applicable(bench: Bench, tmp_path: Path) -> None:
    image = replace(IMAGE, root=tmp_path)
    seen = {(image.identity, "plain"): SEEN}
    found = cell_runs._known(cell(start=PACKAGE, image=image), bench, seen)
    assert found is not None
    assert (found.verdict, found.reason) == ("NOT-APPLICABLE", None)
    assert found.detail == "the image has no dpkg: its packages are of another kind"
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "dpkg").symlink_to("/anywhere")
    assert cell_runs._known(cell(start=PACKAGE, image=image), bench, seen) is None


def test_what_came_of_an_installation_is_told_by_every_condition_and_the_rest_by_plain() -> None:
    installed = Installed((DONE, StageResult("remove", "failed", 0.1, "it stays")))
    plain = cell(start=PACKAGE)
    result = stages.with_installation(passed(plain), plain, installed, 100)
    assert (result.install, [one.stage for one in result.stages]) == ("done", ["install", "remove"])
    other = cell(start=PACKAGE, condition="read-only")
    assert [one.stage for one in stages.with_installation(passed(other), other, installed, 100).stages] == ["install"]
    worse = stages.with_later(result, installed, None, 100)
    assert (worse.verdict, worse.reason, worse.detail) == ("FAIL", "remove", "the stage remove failed: it stays")
    unproven = stages.with_later(result, installed, stages.Later("upgrade", "unproven", "no daemon"), 100)
    assert (unproven.verdict, unproven.reason) == ("UNPROVEN", "engine")


@pytest.mark.parametrize(
    ("removal", "detail"),
    [
        (StageResult("purge", "done", 0.1, manager=("/var/lib/dpkg/status",)), None),
        (
            StageResult("purge", "done", 0.1, left=("/var/x",), changed=("/etc/y", "/etc/z")),
            "its removal leaves: /var/x and changes files of the image: /etc/y, /etc/z",
        ),
        (
            StageResult("purge", "done", 0.1, left=tuple(f"/x{n}" for n in range(7)), more=3),
            "its removal leaves: /x0, /x1, /x2, /x3, /x4 and 5 more",
        ),
    ],
)
def test_what_a_package_leaves_is_a_failure_where_nothing_may_be_left(removal: StageResult, detail: str | None) -> None:
    plain = cell(start=PACKAGE)
    installed = Installed((DONE, StageResult("remove", "done", 0.1), removal))
    result = stages.with_later(passed(plain), installed, None, 100, clean=True)
    assert (result.verdict, result.reason, result.detail) == (
        ("FAIL", "residue", detail) if detail else ("PASS", None, None)
    )
    assert stages.with_later(passed(plain), installed, None, 100).verdict == "PASS", "it is told, and no failure"


def test_a_stage_that_could_not_be_run_says_nothing_of_the_package() -> None:
    of = cell(start=PACKAGE, expect="fail:install")
    blank = replace(passed(of), verdict="UNPROVEN")
    unproven = Installed((StageResult("install", "unproven", 0.1, "no room"),))
    result = stages.with_installation(blank, of, unproven, 100)
    assert (result.verdict, result.reason, result.detail, result.install) == ("UNPROVEN", "engine", "no room", None)
    failed = Installed((StageResult("install", "failed", 0.1, "exit status 1"),), "dpkg: no")
    result = stages.with_installation(blank, of, failed, 4)
    assert (result.verdict, result.reason, result.stderr_tail) == ("XFAIL", "install", ": no")


def test_stages_are_remembered_with_their_pass_and_fit_the_schema(bench: Bench) -> None:
    removal = StageResult("remove", "done", 0.2, left=("/var/a",), changed=("/etc/b",), manager=("/var/lib/dpkg/c",))
    seen = replace(passed(cell()), stages=(DONE, removal))
    memory = cell_runs._remembered(cell(), bench, SEEN)
    memory.keep(seen)
    found = memory.recall(passed(cell()))
    assert found is not None and found.stages == seen.stages
    schema = json.loads((Path(__file__).parents[2] / "schemas" / "evidence.schema.json").read_text())
    jsonschema.validate(seen.told()["stages"], schema["properties"]["cells"]["items"]["properties"]["stages"])
    assert "stages" not in passed(cell()).told(), "evidence of what is no package is as it was"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("dpkg: error: no\n", "exit status 2: dpkg: error: no"),
        (
            "one\ndpkg: warning: never mind\ndpkg: dependency problems of x:\n x needs y\n  y is not there\n\ndpkg: more\n",
            "exit status 2: dpkg: dependency problems of x: x needs y y is not there",
        ),
        ("one\nthe last\n\n", "exit status 2: the last"),
        ("", "exit status 2: "),
    ],
)
def test_what_is_quoted_of_a_stage_that_failed(said: str, words: str) -> None:
    data = Captured(said.encode(), b"", len(said))
    ended = Ended(("engine", "word"), 2, False, 1.0, Captured(b"", b"", 0), data)
    dpkg = Stage(("/usr/bin/dpkg", "--install"))
    assert failure_of(ended, dpkg) == words
    assert failure_of(replace(ended, timed_out=True), dpkg) == "it did not end within 600 s"


def test_of_several_programs_that_a_stage_starts_the_one_that_knows_most_is_quoted() -> None:
    said = "E: Sub-process /usr/bin/dpkg returned an error code (1)\ndpkg: error processing archive:\n no room\n"
    ended = Ended(("engine",), 100, False, 1.0, Captured(b"", b"", 0), Captured(said.encode(), b"", len(said)))
    apt = Stage(("/usr/bin/apt-get",), speaks=("dpkg: ", "E: "))
    assert failure_of(ended, apt) == "exit status 100: dpkg: error processing archive: no room"
    alone = replace(ended, stderr=Captured(b"E: no\nlast\n", b"", 11))
    assert failure_of(alone, apt) == "exit status 100: E: no"
