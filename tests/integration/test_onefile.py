"""The sample's folders as onefiles: built in seconds from their parents, started on the oldest and the newest image."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from py_portable.formats import onefile, runtime
from py_portable.formats.runtime import packer
from tests.integration.conftest import Project, sample

pytestmark = pytest.mark.integration

PARENTS = ("folder", "tree")
ARTIFACTS = """  single: {format: onefile, from: folder}
  packed: {format: onefile, from: tree, expect: {read-only: "fail:room"}}
"""
IMAGES = ("debian:11", "debian:13")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Both artifacts, built beside their parents and proven."""
    project = sample(tmp_path_factory.mktemp("onefile"))
    config = project.folder / "portable.yaml"
    text = config.read_text()
    text = text.replace("\nportability:\n", f"{ARTIFACTS}\nportability:\n")
    text = re.sub(r"images: \[.*\]", f"images: [{', '.join(map(repr, IMAGES))}]", text)
    config.write_text(re.sub(r"controls: \[.*\]", "controls: []", text))
    ran = project.run("portability", "-v")
    assert ran.status == 0, ran.stdout + ran.stderr
    return project


def test_they_start_on_every_image_under_every_condition(built: Project) -> None:
    seen = {(cell["artifact"], cell["image"], cell["condition"]): cell["verdict"] for cell in built.cells()}
    own = {key: verdict for key, verdict in seen.items() if key[0] in ("single", "packed")}
    assert len(own) == 2 * len(IMAGES) * 3
    # Where everything is read-only there are 64 MiB of /tmp, and that folder has more: it fails, and says what to set.
    failed = {key for key, verdict in own.items() if verdict != "PASS"}
    assert failed == {("packed", image, "read-only") for image in IMAGES}
    for cell in built.cells(artifact="packed", condition="read-only"):
        assert (cell["verdict"], cell["reason"]) == ("XFAIL", "room"), cell
        assert "set XDG_CACHE_HOME to a folder of your own that has room for" in cell["detail"], cell
        assert "/tmp lacks the 69 MB of room" in cell["detail"], cell
    # A parent is built once, and its floor is that of the file.
    made = {one["name"]: one for one in built.evidence["artifacts"]}
    for name, parent in zip(("single", "packed"), PARENTS, strict=True):
        assert made[name]["measured_floor"] == made[parent]["measured_floor"]
    steps = [step["name"] for step in built.evidence["steps"]]
    assert [steps.count(f"artifact {name}") for name in (*PARENTS, "single", "packed")] == [1, 1, 1, 1]


def test_they_are_no_larger_than_an_archive_of_the_folder(built: Project) -> None:
    """At most 5 % above `tar | zstd -15`, the runtime and all."""
    for name, folder in (("single", "folder/myapp"), ("packed", "tree/myapp")):
        words = f"tar --sort=name -C {built.folder}/dist/{folder} -cf - . | zstd -15 -q -c | wc -c"
        archive = int(subprocess.run(words, shell=True, check=True, capture_output=True, text=True).stdout)
        assert (built.folder / "dist" / name / "myapp").stat().st_size <= 1.05 * archive


@pytest.mark.parametrize("name", ["single", "packed"])
def test_an_app_says_the_same_at_its_first_start_and_at_later_ones(built: Project, tmp_path: Path, name: str) -> None:
    file = built.folder / "dist" / name / "myapp"
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    environ = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache), "HOME": "/nonexistent"}
    said = [
        subprocess.run([file, "run"], env=environ, check=True, capture_output=True, text=True).stdout for _ in range(3)
    ]
    assert len(set(said)) == 1 and "psycopg2 works!" in said[0]
    verified = subprocess.run([file], env={**environ, "PY_PORTABLE_ONEFILE": "verify"}, capture_output=True, text=True)
    assert verified.returncode == 0 and verified.stdout.count("as it was") == 2, verified


def test_the_same_folder_gives_the_same_file(built: Project) -> None:
    """Built again, without the store's copy of it."""
    before = {name: (built.folder / "dist" / name / "myapp").read_bytes() for name in ("single", "packed")}
    for name, parent, script in (("single", "folder/myapp", "myapp.bin"), ("packed", "tree", "myapp")):
        folder, program = onefile.program_of(built.folder / "dist" / parent, script)
        out = built.folder / f"{name}-again"
        packer.pack(folder, out, name="myapp", program=program, runtime=runtime.runtime())
        assert out.read_bytes() == before[name]


ELSEWHERE = """version: 1
app: {requirement: "tool==1.0", script: tool, smoke: [{args: [it], stdout: ["tool says it"]}]}
python: "3.13"
artifacts:
  theirs: {format: file, path: vendor/tool-1.0}
  packed: {format: onefile, from: theirs}
portability: {images: ["debian:12"], probes: [read-only]}
"""


def test_a_folder_that_was_made_elsewhere_is_packed_as_it_lies(tmp_path: Path) -> None:
    """A change in it is seen; and what is no folder, or has no such program, is a failure that says so."""
    folder = tmp_path / "vendor" / "tool-1.0"
    folder.mkdir(parents=True)
    program = folder / "tool"
    program.write_text('#!/bin/sh\nread word < "${0%/*}/word.txt"\necho "tool $word $1"\n')
    program.chmod(0o755)
    (folder / "word.txt").write_text("says\n")
    (tmp_path / "portable.yaml").write_text(ELSEWHERE)
    project = Project(tmp_path)
    ran = project.run("portability", "-v")
    assert ran.status == 0, ran.stdout + ran.stderr
    verdicts = {(cell["artifact"], cell["condition"]): cell["verdict"] for cell in project.cells()}
    assert verdicts == dict.fromkeys([(a, c) for a in ("theirs", "packed") for c in ("plain", "read-only")], "PASS")
    first = (tmp_path / "dist" / "packed" / "tool").read_bytes()
    (folder / "word.txt").write_text("shouts\n")
    ran = project.run("portability", "--artifact", "packed")
    assert ran.status == 1 and "tool shouts it" in json.dumps(project.cells(artifact="packed"))
    assert (tmp_path / "dist" / "packed" / "tool").read_bytes() != first
    program.unlink()
    ran = project.run("build", "packed")
    assert ran.status != 0 and "the folder has no executable 'tool'" in ran.stderr
    (tmp_path / "portable.yaml").write_text(ELSEWHERE.replace("vendor/tool-1.0", "vendor/tool-1.0/word.txt"))
    ran = project.run("build", "packed")
    assert ran.status != 0 and "is not a folder" in ran.stderr
