"""The main job on the sample app: real roots, real builds, real starts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

from py_portable.images.find import resolve
from py_portable.inspect.elf.floor import measure
from py_portable.store import Store, default_root
from tests.integration.conftest import REPOSITORY, MainJob, Project, portable, sample

pytestmark = pytest.mark.integration

ARTIFACTS = ("wheels", "folder", "binary", "tree")
IMAGES = ("debian:11", "debian:12", "debian:13")
CONDITIONS = ("plain", "read-only", "no-home")
LINES = ["psycopg2 works!", "pycurl works!", "myextension works!"]


def test_everything_is_as_expected(main_job: MainJob) -> None:
    assert main_job.portability.status == 0, main_job.portability.stdout + main_job.portability.stderr
    own = [c for c in main_job.project.evidence["cells"] if not c["condition"].startswith("control:")]
    seen = {(c["artifact"], c["image"], c["condition"]): c["verdict"] for c in own}
    assert seen == {(a, i, c): "PASS" for a in ARTIFACTS for i in IMAGES for c in CONDITIONS}


def test_all_that_the_cells_need_was_made_while_compilers_ran(main_job: MainJob) -> None:
    assert "image debian:13" in main_job.build.stderr and "control built-too-new" in main_job.build.stderr
    assert not re.search(r"\] (started|   done)", main_job.portability.stderr), main_job.portability.stderr


def test_every_cell_has_its_line_as_in_the_contract(main_job: MainJob) -> None:
    lines = main_job.portability.stdout.splitlines()
    passed = [line for line in lines if line.startswith("Success: ")]
    pattern = r"Success: [\w ]+-?[\w -]* (passed|failed) on debian:1[123](, [a-z-]+)?.*"
    assert len(passed) == len(ARTIFACTS) * len(IMAGES) * len(CONDITIONS) + 2
    assert [line for line in passed if not re.fullmatch(pattern, line)] == []
    assert any(re.fullmatch(r"Success: binary passed on debian:11 \(\d+\.\d\d s(, cached)?\)", line) for line in lines)


def test_the_app_said_its_lines_in_every_cell(main_job: MainJob) -> None:
    assert {tuple(c["stdout_tail"].splitlines()) for c in main_job.project.cells(verdict="PASS")} == {tuple(LINES)}


def test_the_roots_have_nothing_that_would_help_the_app(main_job: MainJob) -> None:
    assert main_job.build.status == 0
    helpful = re.compile(r"^(python3?(\.\d+)?|libpython.*|libpq\.so.*|libcurl\.so.*|libcurl-gnutls.*|gcc(-\d+)?|cc)$")
    identities = {cell["image_identity"] for cell in main_job.project.evidence["cells"]}
    entries = Path(default_root(os.environ), "objects").glob("*/*/out/root")
    # Other tests have images with a Python in the same store.
    roots = [
        p for p in entries if json.loads((p.parents[1] / "entry.json").read_text())["meta"]["identity"] in identities
    ]
    assert len(roots) >= len(identities) == len(IMAGES)
    found = [
        str(path)
        for root in roots
        for folder in ("usr/bin", "usr/lib/x86_64-linux-gnu", "usr/lib")
        for path in (root / folder).glob("*")
        if helpful.match(path.name)
    ]
    assert found == []


def test_the_control_fails_as_it_must_and_its_twin_passes(main_job: MainJob) -> None:
    (failed,) = main_job.project.cells(condition="control:built-too-new", image="debian:11")
    (passed,) = main_job.project.cells(condition="control:built-too-new", image="debian:13")
    assert failed["verdict"] == "XFAIL" and re.search(r"GLIBC_2\.\d\d not found", failed["detail"])
    assert re.search(r"version `GLIBC_2\.\d\d' not found", failed["stderr_tail"])
    assert passed["verdict"] == "PASS" and passed["sha256"] == failed["sha256"]
    (outcome,) = main_job.project.evidence["conclusions"]["controls"]
    assert outcome["verdict"] == "XFAIL"


def test_the_control_never_enters_dist(main_job: MainJob) -> None:
    control = main_job.project.cells(condition="control:built-too-new")[0]["sha256"]
    dist = main_job.project.folder / "dist"
    assert sorted(p.name for p in dist.iterdir()) == [
        "binary",
        "evidence",
        "evidence.json",
        "folder",
        "logs",
        "tree",
        "wheels",
    ]
    assert control not in {a["sha256"] for a in main_job.project.evidence["artifacts"]}


def test_floors_are_measured_and_proven(main_job: MainJob) -> None:
    conclusions = main_job.project.evidence["conclusions"]
    assert conclusions["proven_floor"] == dict.fromkeys(ARTIFACTS, "2.31")
    for floor in conclusions["measured_floor"].values():
        assert [int(n) for n in floor.split(".")] <= [2, 31]


def test_the_evidence_keeps_its_schema(main_job: MainJob) -> None:
    schema = json.loads((REPOSITORY / "schemas" / "evidence.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(main_job.project.evidence)
    for part in (main_job.project.folder / "dist" / "evidence" / "parts").iterdir():
        assert json.loads(part.read_text())["schema"] == 1
    binary = main_job.project.folder / "dist" / "binary" / "myapp"
    (row,) = [a for a in main_job.project.evidence["artifacts"] if a["name"] == "binary"]
    assert row["sha256"] == "sha256:" + hashlib.sha256(binary.read_bytes()).hexdigest()
    assert row["bytes"] == binary.stat().st_size


def test_a_second_run_does_nothing_again(main_job: MainJob) -> None:
    before = main_job.project.evidence
    built = main_job.project.run("build", "-v")
    assert built.status == 0
    assert not re.search(r"\] (started|   done)", built.stderr), built.stderr
    proven = main_job.project.run("portability", "--json")
    cells = json.loads(proven.stdout)["cells"]
    assert {c["cached"] for c in cells if c["verdict"] == "PASS"} == {True}
    assert {c["cached"] for c in cells if c["verdict"] == "XFAIL"} == {False}
    assert [a["sha256"] for a in main_job.project.evidence["artifacts"]] == [a["sha256"] for a in before["artifacts"]]


def test_what_was_changed_in_dist_is_put_right(main_job: MainJob, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    config = main_job.project.folder / "portable.yaml"
    assert portable("build", "binary", "-c", config, "--dist", dist).status == 0
    whole = (dist / "binary" / "myapp").read_bytes()
    (dist / "binary" / "myapp").write_bytes(b"something else")
    assert portable("build", "binary", "-c", config, "--dist", dist).status == 0
    assert (dist / "binary" / "myapp").read_bytes() == whole


def test_nuitkas_second_compile_hits_the_cache(main_job: MainJob) -> None:
    """Folder and onefile are compiled one after the other from the same C files."""
    assert main_job.build.status == 0
    logs = [p.read_text(errors="replace") for p in Path(default_root(os.environ), "objects").glob("*/*/log")]
    compiled = [text for text in logs if "--mode=" in text and "--output-filename=myapp.bin" in text]
    assert len(compiled) >= 2 and any("cache hit" in text for text in compiled)


def test_foreign_ownership_and_modes(main_job: MainJob) -> None:
    for path in (main_job.project.folder / "dist").rglob("*"):
        assert path.lstat().st_uid == os.getuid()
    assert (main_job.project.folder / "dist" / "binary" / "myapp").stat().st_mode & 0o777 == 0o755


def test_wheels_in_the_house_are_what_they_say(main_job: MainJob) -> None:
    wheels = main_job.project.folder / "dist" / "wheels"
    assert portable("tags", wheels, "manylinux_2_31_x86_64", "any").status == 0
    assert portable("tags", wheels, "manylinux_2_5_x86_64", "any").status == 1
    rows = {w["file"]: w for w in main_job.project.evidence["wheels"]}
    assert {w["origin"] for w in rows.values()} == {"index", "repaired"}
    for name, row in rows.items():
        assert row["measured_floor"] == measure(wheels / name).floor


def test_the_app_runs_outside_of_any_cell(main_job: MainJob) -> None:
    done = subprocess.run(
        [main_job.project.folder / "dist" / "folder" / "myapp" / "myapp.bin", "run"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == LINES


def test_a_broken_app_is_explained(tmp_path: Path, main_job: MainJob) -> None:
    assert main_job.build.status == 0
    project = sample(tmp_path)
    (source,) = (tmp_path / "examples" / "myapp").rglob("*.c")
    source.write_text(source.read_text() + "\n#error the sample is broken on purpose\n")
    done = project.run("build")
    assert done.status == 4
    assert "wheel of the app 3.13 (default) failed with exit status" in done.stderr
    assert "broken on purpose" in done.stderr and "a bug in py-portable" not in done.stderr
    (log,) = set(re.findall(r"log: (\S+)", done.stderr))
    assert "broken on purpose" in Path(log).read_text(errors="replace")


def test_only_what_a_failure_blocks_is_missing(tmp_path: Path, main_job: MainJob) -> None:
    assert main_job.build.status == 0
    project = sample(tmp_path)
    config = tmp_path / "portable.yaml"
    config.write_text(
        config.read_text().replace("format: nuitka-onefile", "format: nuitka-onefile\n    args: [--no-such-option]")
    )
    done = project.run("build")
    assert done.status == 4 and "no-such-option" in done.stderr
    assert (tmp_path / "dist" / "folder" / "myapp" / "myapp.bin").exists()
    assert not (tmp_path / "dist" / "binary").exists()


def test_stored_images_are_as_they_were_made(main_job: MainJob) -> None:
    """After all the cells: nothing that an app did reached an image."""
    assert main_job.portability.status == 0
    store = Store(default_root(os.environ))
    objects = Path(default_root(os.environ), "objects")
    keys = [p.parents[1].name for p in objects.glob("*/*/out/root")]
    assert keys
    for key in keys:
        entry = store.get(key)
        assert entry is not None
        store.verify(entry)


@pytest.mark.parametrize("engine", ["chroot"])
def test_other_engines_come_to_the_same_verdicts(main_job: MainJob, engine: str, tmp_path: Path) -> None:
    config = main_job.project.folder / "portable.yaml"
    done = portable(
        "portability",
        "-c",
        config,
        "--dist",
        tmp_path,
        "--engine",
        engine,
        "--artifact",
        "binary",
        "--no-controls",
        "--json",
    )
    cells = json.loads(done.stdout)["cells"]
    assert {c["verdict"] for c in cells} == {"PASS"}, cells
    assert {c["isolation"] for c in cells} == {"partial"}


def test_a_config_without_network_or_engine_is_checked(main_job: MainJob, tmp_path: Path) -> None:
    project: Project = sample(tmp_path)
    assert "not locked yet" in project.run("check").stdout
    assert main_job.project.run("check", "--locked").status == 0


def test_an_image_is_asked_for_anew_on_request(tmp_path: Path, main_job: MainJob) -> None:
    assert main_job.portability.status == 0
    project = sample(tmp_path)
    done = project.run("lock", "--update", "debian:bookworm")
    assert done.status == 0 and "asking anew for image debian:12" in done.stderr
    locked = json.loads((tmp_path / "portable.lock").read_text())["images"]
    before = json.loads((main_job.project.folder / "portable.lock").read_text())["images"]
    asked = "image debian:12"
    if locked[asked] != before[asked]:
        # The distribution has published something since the main job: then whoever asks now gets the same.
        fresh = resolve("debian:12", store=Store(tmp_path / "store"))
        assert locked[asked] == fresh.identity
    assert {**locked, asked: before[asked]} == before
    for image in ("debian:11", "debian:12", "debian:13"):
        (cell, *_) = main_job.project.cells(image=image)
        assert before[f"image {image}"] == cell["image_identity"]
    assert project.run("lock", "--update", "no-such-package").status == 2
