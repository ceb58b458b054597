"""What is to be judged brings no judge: static helpers that came along in dist/ start cells only where the plan of the run
names their digest. The kit's own, which come with it or are compiled here, always go first; without any the cells are
UNPROVEN (engine), and nothing that came along was started."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import py_portable
from py_portable.ci import travel
from py_portable.ci.job_config import Project
from py_portable.engines import static_helpers
from py_portable.engines.static_helpers.stored import Helpers
from py_portable.errors import MachineError
from py_portable.project import as_made, records
from py_portable.store import Store, digest
from tests.unit.test_as_made import Dist, there

__all__ = ["there"]

SPY = r"""
#include <fcntl.h>
int main(void) { open("%s", O_CREAT | O_WRONLY, 0666); return 0; }
"""
PROGRAMS = ("bwrap", "sh", "env", "unshare", "mount", "umount", "setpriv", "newuidmap", "newgidmap", "id", "tar")


class Elsewhere:
    """A machine without a compiler and with an empty store, which gets dist/ from somewhere else. With `edit` its kit
    has no helpers either. The kit is the builder's, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        told = platform.freedesktop_os_release()
        host = f"{told['ID']}:{told.get('VERSION_ID', 'unknown')}"
        config = {
            "version": 1,
            "app": {"requirement": "tool==1", "script": "tool", "smoke": [{"args": [], "stdout": ["hello"]}]},
            "python": "3.13",
            "artifacts": {"tool": {"format": "file", "path": "tool"}},
            "portability": {"images": [host]},
        }
        (folder / "portable.yaml").write_text(json.dumps(config))
        (folder / "tool").write_text("#!/bin/sh\necho hello\n")
        (folder / "tool").chmod(0o755)
        self.package = folder / "kit" / "py_portable"
        ours = Path(py_portable.__file__).parent
        shutil.copytree(ours, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        self.key = static_helpers.key()
        (folder / "programs").mkdir()
        for name in PROGRAMS:
            if found := shutil.which(name):
                (folder / "programs" / name).symlink_to(found)

    def run(self, *words: str, elsewhere: bool = True) -> subprocess.CompletedProcess[str]:
        store = self.folder / ("store" if elsewhere else "builder")
        environ = {**os.environ, "PYTHONPATH": str(self.package.parent)}
        environ |= {"PY_PORTABLE_STORE": str(store), "PY_PORTABLE_ENGINE": "native"}
        if elsewhere:
            environ["PATH"] = str(self.folder / "programs")
        argv = [sys.executable, "-m", "py_portable", *words]
        done = subprocess.run(argv, cwd=self.folder, env=environ, capture_output=True, text=True)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def edit(self) -> None:
        """Its sources are other ones than its helpers were made of."""
        with (self.package / "engines" / "static_helpers" / "own-ids.c").open("a") as stream:
            stream.write("/* edited */\n")
        script = (
            "from py_portable.engines import static_helpers; assert static_helpers.stale(); print(static_helpers.key())"
        )
        environ = {**os.environ, "PYTHONPATH": str(self.package.parent)}
        done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
        self.key = done.stdout.strip()

    def cells(self, *words: str) -> list[dict[str, Any]]:
        done = self.run("portability", "--as-made", "--json", *words)
        assert done.stdout, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)["cells"]
        assert done.returncode == int(any(cell["verdict"] != "PASS" for cell in found))
        return found

    def forge(self) -> Path:
        """Helpers of somebody else in dist/, under a record that names them; the file that they would make."""
        mark = self.folder / "started"
        (self.folder / "spy.c").write_text(SPY % mark)
        fresh = self.folder / "dist" / records.CARRIED / "fresh"
        fresh.mkdir()
        for name in static_helpers.NAMES:
            argv = [*static_helpers.compiler(), "-static", "-o", fresh / name, self.folder / "spy.c"]
            subprocess.run(argv, check=True)
        sha256 = digest(fresh)
        fresh.rename(records.carried(self.folder / "dist", sha256))
        path = self.folder / "dist" / records.FOLDER / "tool.json"
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "carried": {**told["carried"], self.key: sha256}}))
        return mark


@pytest.fixture
def machine(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path)


@pytest.mark.integration
@pytest.mark.skipif(not static_helpers.compiled(), reason="no helpers for this machine")
def test_the_kits_own_need_no_compiler_and_go_first(machine: Elsewhere) -> None:
    built = machine.run("build", "--carry", elsewhere=False)
    assert built.returncode == 0, built.stderr
    mark = machine.forge()
    (cell,) = machine.cells()
    assert (cell["verdict"], cell["stdout_tail"]) == ("PASS", "hello\n") and not mark.exists()


@pytest.mark.integration
def test_helpers_of_a_dist_folder_are_not_started_by_its_own_word(machine: Elsewhere) -> None:
    machine.edit()
    built = machine.run("build", "--carry", elsewhere=False)
    assert built.returncode == 0, built.stderr
    (cell,) = machine.cells()
    assert (cell["verdict"], cell["reason"]) == ("UNPROVEN", "engine")
    assert "came together with the artifacts" in cell["detail"] and "musl-tools" in cell["detail"]
    mark = machine.forge()
    (cell,) = machine.cells()
    assert (cell["verdict"], cell["reason"]) == ("UNPROVEN", "engine") and not mark.exists()
    assert machine.run("portability", "--as-made", "--allow-unproven").returncode == 1  # not one PASS
    report = machine.run("report")
    assert report.returncode == 1 and "1 UNPROVEN" in report.stdout


@pytest.mark.integration
def test_helpers_that_the_plan_names_are_and_others_are_not(machine: Elsewhere) -> None:
    machine.edit()
    for words in (("build", "--carry"), ("plan", "--github"), ("build", "--carry")):
        done = machine.run(*words, elsewhere=False)
        assert done.returncode == 0, done.stderr
    plan = json.loads((machine.folder / "dist" / "plan.json").read_text())["plan"]
    (pinned,) = plan["helpers"].values()
    (shard,) = plan["shards"]
    # A build that comes after the plan leaves them alone, though no record need name them.
    lent = records.carried(machine.folder / "dist", pinned)
    assert digest(lent) == pinned and sorted(path.name for path in lent.iterdir()) == sorted(static_helpers.NAMES)
    mark = machine.forge()
    (cell,) = machine.cells("--shard", shard["name"])
    assert (cell["verdict"], cell["stdout_tail"]) == ("PASS", "hello\n") and not mark.exists()
    # The folder that the plan names holds something else.
    shutil.copy(next(path for path in lent.parent.glob("*/cell-run") if path.parent != lent), lent / "cell-run")
    (cell,) = machine.cells("--shard", shard["name"])
    assert (cell["verdict"], cell["reason"]) == ("UNPROVEN", "engine") and not mark.exists()


def test_ones_own_helpers_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Helpers(Store(tmp_path / "store"), tmp_path / "lent")
    monkeypatch.setattr("py_portable.engines.static_helpers.stored.helpers", lambda store: tmp_path / "mine")
    assert own() == tmp_path / "mine"


@pytest.mark.parametrize("words", [(), ("--no-controls",)])
def test_every_cell_says_so_and_none_is_started(
    there: Dist, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_store: Store) -> Path:
        raise MachineError("no compiler", hint="install one")

    started: list[object] = []
    monkeypatch.setattr("py_portable.engines.static_helpers.stored.helpers", none)
    monkeypatch.setattr("py_portable.prove.cell_runs.run", lambda cells, *_more: started.append(cells) or [])
    # Nothing came along at all: the machine lacks something.
    assert there.run(*words).status == 3
    there.change("made", carried={static_helpers.key(): f"sha256:{'0' * 64}"})
    assert there.run(*words).status == 1
    told = there.part()
    assert {(cell["verdict"], cell["reason"]) for cell in told["cells"]} == {("UNPROVEN", "engine")}
    assert len(told["cells"]) == 12 + (0 if words else 2) and not started and "host" not in told


@pytest.mark.parametrize(
    "pinned", [{}, {"native-other-" + "0" * 64: f"sha256:{'1' * 64}"}, {static_helpers.key(): f"sha256:{'1' * 64}"}]
)
def test_what_is_not_pinned_is_not_there(there: Dist, pinned: Mapping[str, str]) -> None:
    session = there.session()
    (room,) = {path.parent for path in (session.dist / records.CARRIED).iterdir()}
    (room / ("1" * 64)).mkdir()
    (room / ("1" * 64) / "cell-run").write_text("of another digest")
    assert as_made._helpers(session, pinned) is None


def test_a_link_to_pinned_helpers_is_none_of_them(there: Dist, tmp_path: Path) -> None:
    session = there.session()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "cell-run").write_text("x")
    sha256 = digest(tmp_path / "outside")
    records.carried(session.dist, sha256).symlink_to(tmp_path / "outside")
    assert as_made._helpers(session, {static_helpers.key(): sha256}) is None


@pytest.mark.parametrize("order", [("plan", "build", "portability"), ("portability", "build", "plan")])
def test_only_the_plans_own_job_brings_the_plan(tmp_path: Path, order: tuple[str, ...]) -> None:
    """A job that ran what strangers wrote could name its own helpers in another one."""
    for job in order:
        dist = tmp_path / job / "dist"
        (dist / "evidence").mkdir(parents=True)
        (dist / "plan.json").write_text(job)
        (dist / "evidence" / job).touch()
        travel.pack_dist([Project("portable.yaml", dist)], tmp_path / job, tmp_path / "handed" / job)
    here = tmp_path / "here"
    here.mkdir()
    archives = [tmp_path / "handed" / job / travel.DIST for job in order]
    assert travel.unpack_dist(archives, here, [Project("portable.yaml", here / "dist")]) == len(order)
    assert (here / "dist" / "plan.json").read_text() == "plan"
    assert sorted(path.name for path in (here / "dist" / "evidence").iterdir()) == sorted(order)
