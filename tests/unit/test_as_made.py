"""Artifacts from another machine: what is taken as it lies in dist/, and what comes of all that does not fit."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_portable import cli, formats
from py_portable.ci.github import calls
from py_portable.ci.github.inputs import Inputs, read
from py_portable.ci.job_config import Project
from py_portable.ci.travel import DIST, pack_dist, unpack_dist
from py_portable.commands import portability as portability_command
from py_portable.engines import static_helpers
from py_portable.engines.static_helpers import stored
from py_portable.engines.static_helpers.stored import Helpers
from py_portable.errors import ConfigError, MachineError, PortableError, UnmetError
from py_portable.evidence import merge, reading
from py_portable.evidence.typed import CellResult, Evidence
from py_portable.formats import Made
from py_portable.images import Image
from py_portable.plan.cell import CellId
from py_portable.plan.selection import Selection, narrow
from py_portable.project import as_made, building, handover, records
from py_portable.project.records import BuildRecord
from py_portable.project.session import Session, open_session
from py_portable.prove.bench import Cell
from py_portable.steps.identity import NodeId
from py_portable.steps.runner import Report
from py_portable.store import Store, digest
from tests.unit.test_cli import HELD, House

LOCK = "d" * 64
TOLD = HELD | {
    "artifacts": {
        "wheels": {"format": "wheelhouse"},
        "folder": {"format": "nuitka-standalone"},
        "made": {"format": "file", "path": "made"},
    }
}
CELLS = 3 * 2 * 2 + 2


@dataclass(frozen=True)
class Done:
    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Dist:
    """A folder with a config and a dist/ as a build elsewhere left it, and the command line over it."""

    base: Path
    call: Callable[..., Done]

    @property
    def dist(self) -> Path:
        return self.base / "dist"

    def record(self, name: str, *, control: bool = False) -> Path:
        return self.dist / (records.CONTROLS if control else records.FOLDER) / f"{name}.json"

    def change(self, name: str, *, control: bool = False, **changes: Any) -> None:
        path = self.record(name, control=control)
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def carried(self, name: str, what: str) -> Path:
        return records.carried(self.dist, json.loads(self.record(name).read_text())["carried"][what])

    def control(self) -> Path:
        return records.carried(self.dist, json.loads(self.record("built-too-new", control=True).read_text())["sha256"])

    def session(self) -> Session:
        return open_session(self.base / "portable.yaml")

    def run(self, *words: str) -> Done:
        """`portability --as-made`, which never ends with a traceback."""
        done = self.call("portability", "--as-made", *words)
        assert done.status != 70 and "Traceback" not in done.stderr, done.stderr
        return done

    def part(self) -> Evidence:
        (path,) = (self.dist / "evidence" / "parts").glob("portability-*.json")
        return reading.read(path)


def row(name: str, format_: str, path: Path, **changes: Any) -> dict[str, Any]:
    told = {"name": name, "format": format_, "path": f"/elsewhere/{name}", "sha256": digest(path), "bytes": 3}
    told |= {"arch": None, "interpreter": None, "measured_floor": "2.28", "licences": None, "seconds": 1.5}
    return told | {"cached": False} | changes


def carry(dist: Path, make: Callable[[Path], object]) -> str:
    """A folder with what `make` writes, where `build --carry` puts it; its digest."""
    fresh = dist / records.CARRIED / "fresh"
    fresh.mkdir(parents=True)
    make(fresh)
    sha256 = digest(fresh)
    fresh.rename(records.carried(dist, sha256))
    return sha256


def program(path: Path, text: str = "#!/bin/sh\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def lay(base: Path) -> None:
    """What a build of TOLD leaves in `base`/dist, without building anything."""
    dist = base / "dist"
    program(base / "made")
    program(dist / "wheels" / "aaa-1.0-py3-none-any.whl", "wheel")
    program(dist / "folder" / "aaa" / "aaa.bin")
    python = carry(dist, lambda at: program(at / "bin" / "python3"))
    wheels = carry(dist, lambda at: program(at / "bbb-1.0-py3-none-any.whl"))
    control = carry(dist, lambda at: program(at / "aaa" / "aaa.bin", "#!/bin/sh\n# too new\n"))
    script = {"script": "aaa.bin", "payload": "aaa"}
    installs = {"script": "aaa", "distribution": "aaa", "entry_point": None, "payload": "."}
    sha256 = formats.load_config(base / "portable.yaml").sha256
    compared = {"interpreter": python, "wheelhouse": wheels}
    for name, format_, place, meta, carried in (
        ("wheels", "wheelhouse", "wheels", installs, {"interpreter": python}),
        ("folder", "nuitka-standalone", "folder/aaa", script, {}),
        ("made", "file", None, {"script": None}, {}),
    ):
        one = row(name, format_, dist / place if place else base / "made")
        beside = compared if place else {}
        record = BuildRecord(sha256, LOCK, one["sha256"], "2.28", meta, one, place, carried, beside)
        records.write(dist, name, record)
    records.write(dist, "built-too-new", BuildRecord(sha256, LOCK, control, "2.41", script))


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dist:
    """Images are there, cells pass without being started, and nothing asks for a lock."""
    house = House(tmp_path)
    house.write(TOLD)
    for name, value in house.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    lay(tmp_path)

    def run(_session: Session, _plan: object, wanted: Iterable[NodeId], *_more: object, learn: bool) -> Report:
        assert not learn
        found = {n: Image(n.subject, tmp_path, f"sha256:{n.subject}", "registry", None, None) for n in wanted}
        return Report(images=found)

    def start(cells: Sequence[Cell], _bench: object, tell: Callable[[CellResult], None]) -> list[CellResult]:
        return [started(cell, tell) for cell in cells]

    monkeypatch.setattr(Session, "run", run)
    monkeypatch.setattr(Session, "lock", lambda *_words, **_more: pytest.fail("a lock was asked for"))
    monkeypatch.setattr(Session, "host", lambda session: {})
    monkeypatch.setattr("py_portable.prove.cell_runs.run", start)
    monkeypatch.setattr(portability_command, "bench_of", lambda session: None)

    def call(*words: str) -> Done:
        capsys.readouterr()
        status = cli._run(list(words))
        return Done(status, *capsys.readouterr())

    return Dist(tmp_path, call)


def started(cell: Cell, tell: Callable[[CellResult], None]) -> CellResult:
    fails = cell.expect != "pass"
    verdict, reason = ("XFAIL", "glibc") if fails else ("PASS", None)
    if cell.image is None:
        verdict, reason = "UNPROVEN", cell.lacks
    done = CellResult(
        artifact=cell.artifact,
        format=cell.format,
        sha256=cell.sha256,
        image=cell.image_name,
        image_identity=None if cell.image is None else cell.image.identity,
        image_source=None if cell.image is None else "registry",
        condition=str(cell.id.condition),
        expect=cell.expect,
        verdict=verdict,
        reason=reason,
        detail=cell.unavailable,
        argv=cell.smoke.args,
        optional=cell.optional,
        isolation="full",
        exit_status={"PASS": 0, "XFAIL": 1}.get(verdict),
        smoke=cell.asked,
        when="2026-01-01",
    )
    tell(done)
    return done


# ------------------------------------------------------------------------------------------- what is taken


def test_what_another_machine_made_is_started_and_nothing_is_asked(there: Dist) -> None:
    done = there.run()
    assert done.status == 0, done.stderr + done.stdout
    part = there.part()
    assert len(part["cells"]) == len(part["expected"]) == CELLS
    assert {c["verdict"] for c in part["cells"]} == {"PASS", "XFAIL"}
    told = [json.loads(there.record(name).read_text())["row"] for name in ("wheels", "folder", "made")]
    assert part["artifacts"] == told
    assert part["failures"] == []
    assert not (there.base / "portable.lock").exists()
    # The file of the control that was carried is what is started for it.
    (sha,) = {c["sha256"] for c in part["cells"] if c["condition"] == "control:built-too-new"}
    assert sha == digest(there.control() / "aaa")
    merged = json.loads((there.dist / "evidence.json").read_text())
    assert len(merged["cells"]) == CELLS and merged["conclusions"]["verdict"] == "PASS"


def test_one_artifact_after_the_other_is_all_of_them(there: Dist) -> None:
    for name in ("wheels", "folder", "made"):
        assert there.run("--artifact", name).status == 0
    merged = json.loads((there.dist / "evidence.json").read_text())
    assert len(merged["cells"]) == CELLS
    # The control is a variant of one of them, and started with no other.
    conditions = [{cell["condition"] for cell in part["cells"]} for part in merge.read_parts(there.dist / "evidence")]
    assert sum("control:built-too-new" in found for found in conditions) == 1


# ------------------------------------------------------------------------------------- what does not fit


def fifo(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def linked_dist(there: Dist, path: Path) -> None:
    to = there.base / "elsewhere"
    path.rename(to)
    path.symlink_to(to)


def failed_build(there: Dist) -> None:
    there.record("folder").unlink()
    why = "nuitka failed with exit status 1"
    merge.write_part(there.dist / "evidence", "build", ["x"], {"failures": [{"name": "folder", "why": why}]})


def replaced(there: Dist, name: str) -> None:
    """A record that is sound by itself, of something that is not what its build made."""
    program(there.dist / "folder" / "aaa" / "aaa.bin", "#!/bin/sh\n# other\n")
    sha = digest(there.dist / "folder" / "aaa")
    told = json.loads(there.record("folder").read_text())
    there.change("folder", sha256=sha, row=told["row"] | {"sha256": sha}, meta={"script": name})


LOST: dict[str, tuple[Callable[[Dist], object], str, int]] = {
    "gone": (lambda d: shutil.rmtree(d.dist / "folder" / "aaa"), "folder is missing", 1),
    "changed": (
        lambda d: (d.dist / "folder" / "aaa" / "aaa.bin").write_text("x"),
        "folder is not what was built: its digest is",
        1,
    ),
    "another mode": (
        lambda d: (d.dist / "folder" / "aaa" / "aaa.bin").chmod(0o644),
        "folder is not what was built",
        1,
    ),
    "a pipe": (lambda d: fifo(d.dist / "folder" / "aaa"), "folder is missing", 1),
    "no record": (lambda d: d.record("folder").unlink(), "folder has no record of its build", 1),
    "the build failed": (failed_build, "nuitka failed with exit status 1", 4),
    "another config": (
        lambda d: d.change("folder", config="e" * 64),
        "folder was made with another portable.yaml",
        1,
    ),
    "behind a link": (lambda d: linked_dist(d, d.dist / "folder"), "folder is behind a symbolic link", 1),
    "a link itself": (lambda d: linked_dist(d, d.dist / "folder" / "aaa"), "folder is behind a symbolic link", 1),
    "the place of another": (lambda d: d.change("folder", place="wheels"), "names the place of another", 1),
    "all of dist": (lambda d: d.change("folder", place="."), "names the place of another", 1),
    "no place": (lambda d: d.change("folder", place=None), "describes a different kind of artifact", 1),
    "a record of nothing": (lambda d: d.change("folder", meta={}), "does not fit its format: KeyError", 1),
}


@pytest.mark.parametrize("case", LOST)
def test_an_artifact_that_is_not_what_was_built_is_named_and_the_others_are_started(there: Dist, case: str) -> None:
    spoil, said, status = LOST[case]
    spoil(there)
    done = there.run()
    assert done.status == status and said in done.stderr, done.stderr
    assert any("folder" in line for line in done.stderr.splitlines() if said in line), done.stderr
    part = there.part()
    (failure,) = part["failures"]
    assert failure["name"] == "folder" and said in failure["why"]
    if "no record" in said:
        # Others read it, who do not know this machine's folders.
        assert str(there.dist) not in failure["why"]
    assert {c["artifact"] for c in part["cells"] if not c["condition"].startswith("control:")} == {
        "wheels",
        "made",
    }
    assert {c["verdict"] for c in part["cells"]} == {"PASS", "XFAIL"}
    assert [a["name"] for a in part["artifacts"]] == ["wheels", "made"]
    # Nothing excuses it.
    assert there.run("--allow-unproven").status == status


def test_a_published_wheel_lies_where_an_upload_takes_it_from(there: Dist) -> None:
    session = there.session()
    program(there.dist / "publish" / "aaa.whl")
    program(there.dist / "publish" / "more" / "aaa.whl")
    record = records.artifact(there.dist, "wheels")
    assert record
    published = replace(record, place="publish/aaa.whl")
    assert as_made._place(session, "wheels", published) == there.dist / "publish" / "aaa.whl"
    with pytest.raises(UnmetError, match="the place of another"):
        as_made._place(session, "wheels", replace(record, place="publish/more/aaa.whl"))


def test_what_a_record_names_never_leads_a_cell_out_of_dist(there: Dist) -> None:
    """The bundle's way to start shows the folder that its record names."""
    (there.base / "secret").mkdir()
    program(there.base / "secret" / "app")
    session = there.session()
    (there.dist / "folder" / "aaa" / "out").symlink_to(there.base / "secret")
    made = Made("folder", "bundle", there.dist / "folder" / "aaa", {"script": "out"})
    with pytest.raises(UnmetError, match="leads out of it"):
        as_made._startable(session, made)
    (there.dist / "folder" / "aaa" / "in").mkdir()
    inside = replace(made, meta={"script": "in"})
    assert as_made._startable(session, inside).binds[0].source == there.dist / "folder" / "aaa" / "in"


def test_what_did_not_come_along_leaves_its_cells_unproven(there: Dist) -> None:
    shutil.rmtree(there.carried("wheels", "interpreter"))
    done = there.run()
    assert done.status == 1
    part = there.part()
    lost = [c for c in part["cells"] if c["verdict"] == "UNPROVEN"]
    assert {(c["artifact"], c["reason"]) for c in lost} == {("wheels", "artifact")} and len(lost) == 4
    assert "the interpreter that its cells need is missing" in lost[0]["detail"]
    assert "build --carry)" in lost[0]["detail"]
    assert (part["failures"], len(part["artifacts"])) == ([], 3)
    # It may be unproven; that nothing shows that the artifact starts anywhere is not excused.
    done = there.run("--allow-unproven")
    assert done.status == 1 and done.stdout.endswith("evidence.json\n  wheels has no PASS\n")


def test_what_came_along_as_another_is_as_an_artifact_that_is_another(there: Dist) -> None:
    (there.carried("wheels", "interpreter") / "bin" / "python3").write_text("x")
    done = there.run()
    assert done.status == 1 and "the interpreter of wheels is not what was built" in done.stderr
    assert [failure["name"] for failure in there.part()["failures"]] == ["wheels"]


def test_an_optional_image_excuses_what_is_unproven_there(there: Dist) -> None:
    shutil.rmtree(there.carried("wheels", "interpreter"))
    told = copy.deepcopy(TOLD)
    told["portability"] = {"images": [{"image": "debian:11", "optional": True}]}
    (there.base / "portable.yaml").write_text(json.dumps(told))
    for path in (there.dist / records.FOLDER).glob("*.json"):
        there.change(path.stem, config=formats.load_config(there.base / "portable.yaml").sha256)
    done = there.run("--artifact", "wheels", "--artifact", "made")
    found = {(c["artifact"], c["verdict"]) for c in there.part()["cells"]}
    assert found == {("wheels", "UNPROVEN"), ("made", "PASS")}
    # An artifact without one PASS is no success, whatever is optional.
    assert done.status == 1 and "wheels" in done.stdout


CONTROLS: dict[str, tuple[Callable[[Dist], object], str]] = {
    "not carried": (lambda d: shutil.rmtree(d.control()), "its file is missing"),
    "no record": (lambda d: d.record("built-too-new", control=True).unlink(), "its file is missing"),
    "another lock": (
        lambda d: d.change("built-too-new", control=True, lock="e" * 64),
        "was made with another config or another lock",
    ),
    "changed": (
        lambda d: (d.control() / "aaa" / "aaa.bin").write_text("x"),
        "its file is not what was built",
    ),
    "behind a link": (lambda d: linked_dist(d, d.control()), "its file is behind a symbolic link"),
    "no such payload": (
        lambda d: d.change("built-too-new", control=True, meta={"payload": "other", "script": "x"}),
        "its file is not where its record says",
    ),
}


@pytest.mark.parametrize("case", CONTROLS)
def test_a_control_that_did_not_come_along_is_lost_and_all_else_is_started(there: Dist, case: str) -> None:
    spoil, said = CONTROLS[case]
    spoil(there)
    done = there.run()
    assert done.status == 1
    part = there.part()
    (failure,) = part["failures"]
    assert failure["name"] == "control built-too-new" and said in failure["why"]
    assert {c["verdict"] for c in part["cells"]} == {"PASS"} and len(part["cells"]) == CELLS - 2
    assert there.run("--no-controls").status == 0
    assert there.run("--tier", "pr").status == 0


def test_two_locks_are_refused_and_both_are_named(there: Dist) -> None:
    there.change("folder", lock="e" * 64)
    done = there.run()
    assert done.status == 2
    assert "folder" in done.stderr and "two locks: dddddddddddd… and eeeeeeeeeeee…" in done.stderr


@pytest.mark.parametrize("seconds", [10**400, -1, float("nan"), True])
def test_a_quantity_that_is_none_is_refused(there: Dist, seconds: Any) -> None:
    row = json.loads(there.record("folder").read_text())["row"]
    there.change("folder", row=row | {"seconds": seconds})
    done = there.run()
    assert done.status == 2 and "folder.json" in done.stderr


@pytest.mark.parametrize("name", ["folder", "controls/built-too-new"])
@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"7", b'{"schema": 1}', b"[" * 99_999, b"\xff", b'{"schema":NaN}'])
def test_a_record_that_is_none_is_refused(there: Dist, name: str, text: bytes) -> None:
    path = there.dist / records.FOLDER / f"{name}.json"
    path.write_bytes(text)
    done = there.run()
    if name == "folder":
        assert done.status == 2 and path.name in done.stderr
    else:
        (failure,) = there.part()["failures"]
        assert done.status == 1 and failure["name"] == "control built-too-new"


@pytest.mark.parametrize("make", [fifo, lambda path: (path.unlink(), path.symlink_to("/dev/zero")), os.mkdir])
def test_a_record_is_a_regular_file(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "x.json"
    if make is not os.mkdir:
        path.touch()
    make(path)
    with pytest.raises(ConfigError):
        records.read(path)


def test_a_record_behind_a_link_is_none_and_a_row_is_whole(there: Dist) -> None:
    path = there.record("folder")
    told = json.loads(path.read_text())
    linked_dist(there, path)
    with pytest.raises(ConfigError, match="cannot be read"):
        records.artifact(there.dist, "folder")
    del told["row"]["path"]
    path.unlink()
    path.write_text(json.dumps(told))
    with pytest.raises(ConfigError, match="is not the record of a build"):
        records.artifact(there.dist, "folder")


def test_a_record_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b" " * (records.MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="bytes"):
        records.read(path)


# ----------------------------------------------------------------------------------------------- records


def test_a_record_is_read_back_as_it_was_written(there: Dist) -> None:
    for name in ("wheels", "folder", "made"):
        record = records.artifact(there.dist, name)
        assert record is not None and record.row is not None
        records.write(there.base / "again", name, record)
        assert records.artifact(there.base / "again", name) == record
    control = records.control(there.dist, "built-too-new")
    assert control is not None and control.row is None and control.floor == "2.41"
    records.write(there.base / "again", "built-too-new", control)
    assert records.control(there.base / "again", "built-too-new") == control
    assert records.artifact(there.base / "again", "built-too-new") is None


def test_only_what_starts_an_artifact_is_recorded_of_it(tmp_path: Path) -> None:
    record = BuildRecord("c" * 64, LOCK, f"sha256:{'1' * 64}", None, {"payload": "x", "compiler": object()})
    records.write(tmp_path, "x", record)
    found = records.control(tmp_path, "x")
    assert found is not None and found.meta == {"payload": "x"}


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["", ".", "..", "../x", "/etc", "a/../../b", "a\0b", "\ud800", "a\nb", f"sha256:{'1' * 64}"]),
    st.text(max_size=5),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def places_in(told: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    return [at, *(place for key, value in inner for place in places_in(value, (*at, key)))]


def spoilt(told: Any, at: tuple[Any, ...], junk: Any) -> Any:
    if not at:
        return junk
    changed = copy.copy(told)
    changed[at[0]] = spoilt(told[at[0]], at[1:], junk)
    return changed


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["wheels", "folder", "made", "controls/built-too-new"]), st.data(), JUNK)
def test_whatever_a_record_holds_it_is_read_or_refused_and_never_leads_out(
    there: Dist, name: str, data: st.DataObject, junk: Any
) -> None:
    told = json.loads((there.dist / records.FOLDER / f"{name}.json").read_text())
    at = data.draw(st.sampled_from(places_in(told)))
    path = there.base / "record.json"
    path.write_text(json.dumps(spoilt(told, at, junk)))
    try:
        record = records.read(path)
    except PortableError as problem:
        assert problem.render()
        return
    for place in (record.place, record.meta.get("payload"), record.meta.get("script")):
        assert place is None or not {"..", "/"} & set(Path(place).parts)
    assert all(len(sha) == 71 for sha in (*record.carried.values(), *record.compared.values(), record.sha256))
    json.dumps(record.row, allow_nan=False)
    if record.row is not None:
        # What is read can be taken: an artifact, what it lacks, or an error of the kit.
        try:
            assert as_made._take(there.session(), record.row["name"], record, False)
        except KeyError:
            assert record.row["name"] not in TOLD["artifacts"]
        except PortableError:
            pass


# ------------------------------------------------------------------------------------------------ shards


def sharded(there: Dist, tier: str = "release") -> Evidence:
    """The plan as a machine with a lock makes it."""
    from py_portable.commands import plan as plan_command
    from py_portable.lock.lockfile import Lock
    from py_portable.plan.assemble import made_elsewhere

    session = there.session()
    plan = narrow(made_elsewhere(session.config, Lock()), Selection(tier=tier))
    assert bool(plan.controls) == (tier == "release")
    plan_command.write(session, Lock(), plan, plan_command.Jobs("github", 2), None)
    told = json.loads((there.dist / "plan.json").read_text())
    for name, is_control in (("wheels", False), ("folder", False), ("made", False), ("built-too-new", True)):
        there.change(name, control=is_control, lock=told["plan"]["lock"])
    return reading.read(there.dist / "plan.json")


def parts_of(there: Dist, planned: Evidence, *words: str) -> tuple[list[Evidence], list[int]]:
    statuses = []
    for shard in planned["plan"]["shards"]:
        statuses.append(there.run("--shard", shard["name"], *words).status)
    return merge.read_parts(there.dist / "evidence"), statuses


def test_shards_of_what_another_machine_made_are_the_whole_run(there: Dist) -> None:
    planned = sharded(there)
    parts, statuses = parts_of(there, planned)
    assert len(parts) == 2 and statuses == [0, 0]
    merged = merge.merge([planned, *parts], shards=True)
    assert len(merged["cells"]) == CELLS and {c["verdict"] for c in merged["cells"]} == {"PASS", "XFAIL"}
    there.run()
    whole = merge.merge([p for p in merge.read_parts(there.dist / "evidence") if not p["shards"]])
    assert merged["cells"] == [{key: value for key, value in cell.items() if key != "turn"} for cell in whole["cells"]]


def test_a_shard_tells_of_every_cell_whose_artifact_is_gone(there: Dist) -> None:
    planned = sharded(there)
    shutil.rmtree(there.dist / "folder")
    parts, statuses = parts_of(there, planned)
    assert 1 in statuses
    merged = merge.merge([planned, *parts], shards=True)
    lost = [c for c in merged["cells"] if c["artifact"] == "folder" and not c["condition"].startswith("control")]
    assert len(merged["cells"]) == CELLS and {(c["verdict"], c["reason"]) for c in lost} == {("UNPROVEN", "shard")}
    assert all("folder is missing" in c["detail"] for c in lost)


def test_a_shard_with_a_control_that_did_not_come_along_says_so(there: Dist) -> None:
    planned = sharded(there)
    shutil.rmtree(there.control())
    parts, _ = parts_of(there, planned)
    cells = [c for part in parts for c in part["cells"] if c["condition"].startswith("control:")]
    assert {(c["verdict"], c["reason"]) for c in cells} == {("UNPROVEN", "artifact")} and len(cells) == 2
    assert "its file is missing" in cells[0]["detail"]


def test_where_every_build_failed_each_artifact_is_named_and_no_lock_is_missed(there: Dist) -> None:
    planned = sharded(there)
    shutil.rmtree(there.dist / records.FOLDER)
    parts, statuses = parts_of(there, planned)
    assert set(statuses) == {1}
    assert {c["condition"] for part in parts for c in part["cells"]} == {"control:built-too-new"}
    merged = merge.merge([planned, *parts], shards=True)
    assert {c["verdict"] for c in merged["cells"]} == {"UNPROVEN"} and len(merged["cells"]) == CELLS


def test_a_plan_of_another_lock_is_refused(there: Dist) -> None:
    planned = sharded(there)
    for name in ("wheels", "folder", "made"):
        there.change(name, lock=LOCK)
    done = there.run("--shard", planned["plan"]["shards"][0]["name"])
    assert done.status == 2 and "the plan was made with another lock" in done.stderr


# ------------------------------------------------------------------------------------------------- tiers


def test_of_a_pull_request_neither_probes_nor_controls_are_started(there: Dist) -> None:
    assert there.run("--tier", "pr").status == 0
    assert {c["condition"] for c in there.part()["cells"]} == {"plain"}
    assert there.run("--tier", "pr", "--probes", "no-home").status == 0
    newest = max(merge.read_parts(there.dist / "evidence"), key=lambda part: str(part["when"]))
    assert {c["condition"] for c in newest["cells"]} == {"plain", "no-home"}


@pytest.mark.parametrize(("words", "environ"), [(["--tier", ""], None), ([], ""), (["--tier", "release"], "pr")])
def test_an_empty_tier_is_all_of_it(
    there: Dist, monkeypatch: pytest.MonkeyPatch, words: list[str], environ: str | None
) -> None:
    if environ is not None:
        monkeypatch.setenv("PY_PORTABLE_TIER", environ)
    assert there.run(*words).status == 0
    assert len(there.part()["cells"]) == CELLS


def test_the_tier_can_be_a_variable_and_another_word_is_status_2(there: Dist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PY_PORTABLE_TIER", "pr")
    assert there.run().status == 0
    assert len(there.part()["cells"]) == 6
    for command in ("portability", "plan"):
        done = there.call(command, "--tier", "nightly")
        assert done.status == 2 and "'release', 'pr'" in done.stderr


@pytest.mark.parametrize("asked", ["pr", "release"])
@pytest.mark.parametrize(("planned", "conditions"), [("pr", 1), ("release", 3)])
def test_of_a_shard_the_tier_of_its_plan_counts(there: Dist, planned: str, asked: str, conditions: int) -> None:
    plan = sharded(there, planned)
    cells = [cell for shard in plan["plan"]["shards"] for cell in shard["cells"]]
    assert len({cell["condition"] for cell in cells}) == conditions
    parts, statuses = parts_of(there, plan, "--tier", asked)
    assert set(statuses) == {0}
    assert sum(len(part["cells"]) for part in parts) == len(cells)
    merged = merge.merge([plan, *parts], shards=True)
    assert len(merged["cells"]) == len(cells) and not merged["failures"]


# ---------------------------------------------------------------------------- what builds leave behind them

FILES = {
    "version": 1,
    "app": {"requirement": "aaa", "script": "aaa"},
    "python": "3.13",
    "artifacts": {name: {"format": "file", "path": name} for name in ("one", "two")},
    "portability": {"images": ["debian:11"]},
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A job's own folder with the repository in it."""
    monkeypatch.setenv("PY_PORTABLE_STORE", str(tmp_path / "store"))

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "portable.yaml").write_text(json.dumps(FILES))
        for artifact in ("one", "two"):
            program(folder / artifact, f"#!/bin/sh\n# {artifact}\n")
        return folder

    return make


def test_what_two_jobs_built_is_put_into_one_dist(checkout: Callable[[str], Path], tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        job = checkout(f"job-{name}")
        session = open_session(job / "portable.yaml")
        # What a job finds of others stays.
        assert set(building.build(session, Selection((name,)), carry="cells").made) == {name}
        project = Project("portable.yaml", job / "dist")
        pack_dist([project], job, tmp_path / "handed" / f"build-{number:03}")
    last = checkout("last")
    archives = sorted((tmp_path / "handed").rglob(DIST))
    found = [Project("portable.yaml", last / "dist")]
    # Twice, as a job that runs again does.
    assert unpack_dist(archives, last, found) == unpack_dist(archives, last, found) == 2
    session = open_session(last / "portable.yaml")
    session = replace(session, helpers=Helpers(Store(tmp_path / "empty")))
    lock = as_made.lock_sha256(session)
    assert lock is not None
    found = {name: records.artifact(session.dist, name) for name in ("one", "two")}
    made = {name: as_made._take(session, name, record, False) for name, record in found.items()}
    assert {name: isinstance(one, Made) and one.path for name, one in made.items()} == {
        "one": last / "one",
        "two": last / "two",
    }
    # Both brought the helpers: one folder.
    (carried,) = (session.dist / records.CARRIED).iterdir()
    assert as_made._helpers(session, {}) is None
    assert as_made._helpers(session, {static_helpers.key(): digest(carried)}) == carried
    assert sorted(p.name for p in carried.iterdir()) == sorted(static_helpers.NAMES)


def test_what_is_built_anew_without_carrying_keeps_its_record_true(checkout: Callable[[str], Path]) -> None:
    job = checkout("job")
    session = open_session(job / "portable.yaml")
    building.build(session, Selection(), carry="cells")
    program(job / "one", "#!/bin/sh\n# newer\n")
    building.build(session, Selection(("one",), controls=False))
    one, two = (records.artifact(session.dist, name) for name in ("one", "two"))
    assert one and two and one.sha256 == digest(job / "one") and one.carried == {} and two.carried
    (job / "one").unlink()
    assert building.build(session, Selection(("one",), controls=False)).failures
    assert records.artifact(session.dist, "one") is None


def test_only_what_a_build_carried_is_ever_removed(checkout: Callable[[str], Path], tmp_path: Path) -> None:
    job = checkout("job")
    session = open_session(job / "portable.yaml")
    room = session.dist / records.CARRIED
    room.mkdir(parents=True)
    (room / ("0" * 64)).mkdir()
    (room / "notes").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    (room / ("1" * 64)).symlink_to(tmp_path / "mine")
    building.build(session, Selection(), carry="cells")
    left = sorted(path.name for path in room.iterdir())
    assert len(left) == 2 and left[1] == "notes"
    assert (tmp_path / "mine" / "file").exists()


def test_a_link_in_the_place_of_what_is_carried_is_refused(checkout: Callable[[str], Path], tmp_path: Path) -> None:
    job = checkout("job")
    session = open_session(job / "portable.yaml")
    mine = tmp_path / "mine" / ("2" * 64)
    mine.mkdir(parents=True)
    session.dist.mkdir()
    (session.dist / records.CARRIED).symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigError, match="is not a folder"):
        handover.carry_rest(session, LOCK, (), Report())
    built = building.build(session, Selection(("one",), controls=False))
    assert built.made and mine.exists()


# -------------------------------------------------------------------------------------------------- helpers


def test_helpers_of_another_machine_are_for_one_that_cannot_compile_and_never_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Helpers(Store(tmp_path / "store"), tmp_path / "lent")

    def none(_store: Store) -> Path:
        raise MachineError("no compiler")

    monkeypatch.setattr(stored, "helpers", lambda store: tmp_path / "mine")
    assert own() == tmp_path / "mine"
    monkeypatch.setattr(stored, "helpers", none)
    assert own() == tmp_path / "lent"
    own.lent = None
    with pytest.raises(MachineError):
        own()
    assert not list((tmp_path / "store").glob("objects/*/*"))


# ----------------------------------------------------------------------------------------------- benchmark


def test_a_benchmark_takes_what_was_carried_for_it(there: Dist) -> None:
    built = as_made.take(there.session(), Selection(images=("debian:11",), controls=False), compared=True)
    assert not built.failures and not built.lacking
    assert {name: bool(one.interpreter and one.wheelhouse) for name, one in built.made.items()} == {
        "wheels": True,
        "folder": True,
        # Made elsewhere: there is nothing to compare it with.
        "made": False,
    }
    told = json.loads(there.record("folder").read_text())["compared"]
    assert built.made["folder"].interpreter == records.carried(there.dist, told["interpreter"])
    # Cells of a compiled artifact know of neither.
    assert as_made.take(there.session(), Selection()).made["folder"].interpreter is None


def test_what_there_is_nothing_to_compare_with_is_named(there: Dist) -> None:
    told = json.loads(there.record("folder").read_text())["compared"]
    shutil.rmtree(records.carried(there.dist, told["wheelhouse"]))
    built = as_made.take(there.session(), Selection(controls=False), compared=True)
    assert set(built.lacking) == {"wheels", "folder"} and set(built.made) == {"made"}
    assert "build --carry-all" in built.lacking["folder"]
    done = there.call("benchmark", "--as-made", "--image", "debian:11")
    assert done.status == 1 and "wheels cannot be compared: the wheelhouse that it is compared with" in done.stderr
    # The cells need it for none of them.
    assert there.run().status == 0


def test_jobs_of_a_workflow_carry_and_take_what_a_benchmark_needs() -> None:
    project = Project("portable.yaml", Path("/dist"))

    def words(benchmark: bool, artifacts: list[str] | None, *commands: str) -> list[tuple[str, ...]]:
        inputs = Inputs(commands=commands, benchmark=benchmark)
        return [call.argv[:2] for call in calls.calls(inputs, project, artifacts)]

    assert words(True, ["x"], "build") == [("build", "--carry-all")]
    assert words(False, ["x"], "build") == [("build", "--carry")]
    assert words(True, None, "benchmark") == [("benchmark", "--as-made")]
    assert words(False, None, "build", "benchmark") == [("build", "--config"), ("benchmark", "--config")]
    (pr,) = calls.calls(Inputs(commands=("build",), tier="pr"), project, ["x"])
    assert pr.argv[1:4] == ("--carry", "--tier", "pr")
    # Their artifacts and what was carried need not travel twice.
    told = {"PY_PORTABLE_INPUT_BENCHMARK": "true", "PY_PORTABLE_INPUT_COMMAND": "benchmark"}
    assert read(told).only_looks
    assert not read(told | {"PY_PORTABLE_INPUT_COMMAND": "build"}).only_looks
    assert not read(told | {"PY_PORTABLE_INPUT_BENCHMARK": ""}).only_looks


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), JUNK)
def test_whatever_a_part_in_dist_holds_is_no_traceback(there: Dist, data: st.DataObject, junk: Any) -> None:
    part = there.dist / "evidence" / "parts" / "portability-of-another.json"
    if not part.exists():
        told = json.loads(json.dumps(row("folder", "nuitka-standalone", there.dist / "folder" / "aaa")))
        cell = CellResult(
            artifact="folder", format="file", sha256=told["sha256"], image="debian:11", image_identity=None,
            image_source=None, condition="plain", expect="pass", verdict="PASS", reason=None, detail=None,
            argv=("--help",), seconds=0.5, image_glibc="2.31",
        ).told()  # fmt: skip
        known = {"schema": 1, "command": "build", "when": "2026-01-01", "kit": {"version": "1"}, "shards": []}
        known |= {"config": {"file": "portable.yaml", "sha256": "c" * 64}, "host": {"os": "x"}}
        known |= {"artifacts": [told], "cells": [cell], "expected": [CellId.of(cell).told()]}
        known |= {"failures": [{"name": "gone", "why": "x"}], "steps": [{"name": "x", "cached": True}]}
        known |= {"benchmark": [{"artifact": "folder", "image": "debian:11", "start": "later", "sha256": "x"}]}
        part.parent.mkdir(parents=True)
        (there.base / "known.json").write_text(json.dumps(known))
    known = json.loads((there.base / "known.json").read_text())
    at = data.draw(st.sampled_from(places_in(known)))
    part.write_text(json.dumps(spoilt(known, at, junk)))
    there.run("--artifact", "made")


def test_a_run_that_started_nothing_says_so(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[1] / "ci" / "app", tmp_path / "app")
    (tmp_path / "app" / "vendor" / "tool").unlink()
    argv = (sys.executable, "-m", "py_portable", "portability", "--engine", "native", "--as-made")
    env = {**os.environ, "PY_PORTABLE_STORE": str(tmp_path / "store")}
    done = subprocess.run(argv, cwd=tmp_path / "app", env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "FAIL: no cell was started; evidence: " in done.stdout
