"""Modes belong to what was built: an artifact that is not executable as it was built is restored by `build`, is never
started as it is, and is not what the evidence speaks of.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from py_portable.base.talk import Talk
from py_portable.commands import portability as portability_command
from py_portable.errors import ConfigError
from py_portable.evidence.typed import CellResult
from py_portable.plan.selection import Selection
from py_portable.project import records
from py_portable.project.refreshing import refresh
from py_portable.project.session import open_session
from py_portable.store import Entry, Store, digest, file_mode
from tests.integration.conftest import MainJob, Project
from tests.promises import tiny


def build(work: Path) -> Mapping[str, object]:
    out = work / "out"
    (out / "app").write_text("#!/bin/sh\n")
    (out / "app").chmod(0o755)
    (out / "folder" / "lib").mkdir(parents=True)
    (out / "folder" / "run").write_text("#!/bin/sh\n")
    (out / "folder" / "run").chmod(0o755)
    return {}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def entry(store: Store) -> Entry:
    return store.make("0" * 64, build)


@pytest.mark.parametrize(
    ("payload", "changed"),
    [("app", "."), ("folder", "run"), ("folder", "lib"), ("folder", "."), (".", "app")],
)
@pytest.mark.parametrize("mode", [0o600, 0o700, 0o777, 0o4755, 0])
def test_another_mode_anywhere_is_another_thing(
    store: Store, entry: Entry, tmp_path: Path, payload: str, changed: str, mode: int
) -> None:
    part, place = store.part(entry, payload), tmp_path / "dist"
    store.restore(entry, payload, place)
    assert store.is_at(part, place)
    (place / changed).chmod(mode)
    assert not store.is_at(part, place)
    store.restore(entry, payload, place)
    assert store.is_at(part, place)


@pytest.mark.parametrize("payload", ["app", "folder", "."])
def test_the_published_digest_is_the_one_that_people_can_check(
    store: Store, entry: Entry, tmp_path: Path, payload: str
) -> None:
    """Of a file what sha256sum prints, whatever its mode; so its mode is told beside it."""
    part = store.part(entry, payload)
    store.restore(entry, payload, tmp_path / "dist")
    assert part.digest == digest(tmp_path / "dist") == digest(part.path)
    assert part.mode == (0o755 if payload == "app" else None)


@pytest.mark.parametrize("what", ["a link to it", "a folder", "a pipe", "nothing"])
def test_what_only_looks_like_it_is_not_it(store: Store, entry: Entry, tmp_path: Path, what: str) -> None:
    place = tmp_path / "dist"
    match what:
        case "a link to it":
            store.restore(entry, "app", tmp_path / "real")
            place.symlink_to("real")
        case "a folder":
            place.mkdir()
        case "a pipe":
            os.mkfifo(place)
    assert not store.is_at(store.part(entry, "app"), place)


CONFIG = """version: 1
python: "3.13"
app: {{requirement: "tool==1", script: tool, smoke: [{{args: [], stdout: ["it is good"]}}]}}
artifacts:
  tool: {{format: file, path: tool}}
portability: {{images: ["docker-archive:{image}"]}}
"""


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A file of the user's own, on a tiny image."""
    monkeypatch.setenv("PY_PORTABLE_STORE", str(tiny.store(tmp_path_factory, tmp_path / "store").root))
    tiny.image(tmp_path / "image.tar", {"etc/passwd": b"root:x:0:0::/:/none\n"})
    tiny.sayer(tmp_path / "tool", "it is good")
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "portable.yaml").write_text(CONFIG.format(image=tmp_path / "image.tar"))
    return Project(tmp_path)


def told(project: Project) -> CellResult:
    session = open_session(project.folder / "portable.yaml", talk=Talk(quiet=True))
    (cell,) = portability_command.prove(session, Selection(), lambda cell: None).cells
    return cell


@pytest.mark.integration
def test_no_pass_is_remembered_for_a_file_that_cannot_be_started_any_more(project: Project) -> None:
    assert told(project).verdict == "PASS"
    assert told(project).cached
    (project.folder / "tool").chmod(0o600)
    cell = told(project)
    assert (cell.verdict, cell.cached) == ("FAIL", False)
    (project.folder / "tool").chmod(0o755)
    assert told(project).cached


@pytest.mark.integration
def test_what_another_machine_built_is_not_started_with_another_mode(project: Project) -> None:
    assert project.run("build").status == 0
    assert project.evidence["artifacts"][0]["mode"] == "0755"
    (project.folder / "tool").chmod(0o644)
    ran = project.run("portability", "--as-made")
    assert ran.status == 1
    assert "tool is not as it was built: its mode is 0644, the build's was 0755" in ran.stderr
    assert "in a tar archive, which keeps modes" in ran.stderr


@pytest.mark.integration
def test_evidence_of_a_file_is_not_evidence_of_one_with_another_mode(project: Project) -> None:
    assert told(project).verdict == "PASS"
    session = open_session(project.folder / "portable.yaml", talk=Talk(quiet=True))
    assert [cell["verdict"] for cell in refresh(session)["cells"]] == ["PASS"]
    (project.folder / "tool").chmod(0o600)
    told_now = refresh(session)
    assert (told_now["cells"], told_now["artifacts"]) == ([], [])
    (project.folder / "tool").chmod(0o755)
    assert [cell["verdict"] for cell in refresh(session)["cells"]] == ["PASS"]


def test_the_record_of_an_older_kit_says_no_mode_and_is_read(tmp_path: Path) -> None:
    sha256 = f"sha256:{'0' * 64}"
    row = {
        "name": "app", "format": "file", "path": "dist/app", "sha256": sha256, "bytes": 1, "arch": None,
        "interpreter": None, "measured_floor": None, "licences": None, "seconds": 0.0, "cached": False,
    }  # fmt: skip

    def write(row: Mapping[str, Any]) -> records.BuildRecord | None:
        records.write(tmp_path, "app", records.BuildRecord("0" * 64, "0" * 64, sha256, None, {}, row))
        return records.artifact(tmp_path, "app")

    for given in (row, {**row, "mode": "0755"}):
        found = write(given)
        assert found is not None and found.row == given
    with pytest.raises(ConfigError, match=r"row\.mode cannot be 'rwx'"):
        write({**row, "mode": "rwx"})


@pytest.mark.integration
def test_a_built_binary_that_lost_its_mode_gets_it_back(main_job: MainJob, tmp_path: Path) -> None:
    shutil.copytree(main_job.project.folder, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    binary = project.folder / "dist" / "binary" / "myapp"
    binary.chmod(0o600)
    ran = project.run("build", "binary")
    assert ran.status == 0, ran.stderr
    assert binary.stat().st_mode & 0o7777 == 0o755
    binary.chmod(0o600)
    ran = project.run("portability", "--artifact", "binary", "--image", "debian:12", "--probes", "none")
    assert ran.status == 0, ran.stdout + ran.stderr
    assert binary.stat().st_mode & 0o7777 == 0o755


def test_who_else_may_write_is_the_umask_of_a_checkout(tmp_path: Path) -> None:
    """GitLab's runner checks out under a umask of 0: the file of the build's job is the one of the cell's job."""
    file = tmp_path / "app"
    file.touch()
    seen = set()
    for mode in (0o755, 0o775, 0o777):
        file.chmod(mode)
        seen.add(file_mode(file))
    file.chmod(0o700)
    assert seen == {0o755} and file_mode(file) == 0o700
