"""Packages looked at by the real lintian and rpmlint, in an image that has them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from py_portable import resources
from py_portable.config import Smoke
from py_portable.engines.engine import Bind
from py_portable.engines.static_helpers.stored import helpers
from py_portable.formats import Install, Stage, Start
from py_portable.images import resolve
from py_portable.prove import cell_runs
from py_portable.prove.bench import Bench, Cell
from py_portable.store import Store, default_root
from tests.integration.conftest import Project, bubblewrap, sample

pytestmark = pytest.mark.integration
IMAGE = {"image": "debian:12", "packages": ["lintian", "rpm", "rpmlint"]}
WHO = {"maintainer": "Jane Doe <jane@example.com>"}


def linted(project: Project) -> dict[str, dict[str, Any]]:
    """The stage `lint` of each artifact."""
    cells = project.cells(condition="plain")
    return {cell["artifact"]: stage for cell in cells for stage in cell.get("stages", ()) if stage["stage"] == "lint"}


def test_errors_are_a_failure_and_warnings_are_reported(tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()
    shutil.copy(shutil.which("true") or "/bin/true", tmp_path / "tool" / "tool")
    plain = {"from": "folder", "version": "2.0~rc1", "license": "MIT", "homepage": "https://example.com/tool"}
    config = {
        "version": 1,
        "app": {"requirement": "tool==1", "script": "tool", "smoke": [{"args": []}]},
        "python": "3.13",
        "artifacts": {
            "folder": {"format": "file", "path": "tool"},
            "deb": {"format": "deb", **plain, **WHO},
            "rpm": {"format": "rpm", **plain, **WHO, "depends": []},
            "nobody": {"format": "deb", **plain, "maintainer": "Nobody <root@localhost>"},
            "spaced": {"format": "rpm", **plain, **WHO, "depends": [], "summary": "ends with a dot."},
            "known": {"format": "rpm", **plain, **WHO, "depends": [], "lint-overrides": ["no-manual-page-for-binary"]},
            "also": {"format": "deb", **plain, **WHO, "lint-overrides": ["no-manual-page"]},
        },
        "portability": {"images": [IMAGE]},
    }
    (tmp_path / "portable.yaml").write_text(json.dumps(config))
    project = Project(tmp_path)
    ran = project.run(
        "portability", *(f"--artifact={name}" for name in ("deb", "rpm", "nobody", "spaced", "known", "also"))
    )
    cells = {cell["artifact"]: cell for cell in project.cells()}
    found = {name: (cell["verdict"], cell["reason"]) for name, cell in cells.items()}
    stages = linted(project)
    assert found == {
        "deb": ("PASS", None),
        "rpm": ("PASS", None),
        "nobody": ("FAIL", "lint"),
        "spaced": ("PASS", None),
        "known": ("PASS", None),
        "also": ("PASS", None),
    }, stages
    assert re.match(
        r"the stage lint failed: lintian 2\.[\d.]+\S*: \d+ errors?, \d+ warnings?: ", cells["nobody"]["detail"]
    )
    assert "root@localhost" in cells["nobody"]["detail"]
    # Nobody knows the licence of a folder that was made elsewhere.
    assert [one.split()[1] for one in stages["deb"]["warnings"]] == [
        "copyright-without-copyright-notice",
        "no-manual-page",
    ]
    assert re.match(r"rpmlint 2\.[\d.]+: 0 errors, ", stages["rpm"]["detail"])
    assert any("summary-ended-with-dot" in one for one in stages["spaced"]["warnings"]), stages["spaced"]
    gone = set(stages["rpm"]["warnings"]) - set(stages["known"]["warnings"])
    assert [one.split()[0] for one in gone] == ["no-manual-page-for-binary"]
    gone = set(stages["deb"]["warnings"]) - set(stages["also"]["warnings"])
    assert [one.split()[1] for one in gone] == ["no-manual-page"]
    assert f"; {stages['deb']['detail']}" in ran.stdout
    report = project.run("report").stdout
    assert "What lint says" in report and "no-manual-page" in report
    # All is still looked at after it.
    assert [stage["stage"] for stage in cells["nobody"]["stages"]] == ["install", "lint", "upgrade", "remove", "purge"]


def test_a_tool_that_cannot_run_proves_nothing(tmp_path: Path) -> None:
    store, engine = Store(default_root(os.environ)), bubblewrap()
    image = resolve("debian:12", store=store)
    script = Bind(resources.path("images/lint.sh"), "/run/lint.sh")
    results = {}
    for name, tool in {"breaks": "exit 9", "finds": 'echo "E: tool: bad"; exit 2', "clean": "exit 0"}.items():
        fake = f'[ "$1" = --version ] && {{ echo "v1.$0"; exit; }}; {tool}'
        (tmp_path / name).write_text(f"#!/bin/sh\n{fake}\n")
        (tmp_path / name).chmod(0o755)
        binds = (script, Bind(tmp_path / name, "/run/tool"))
        lint = Stage(("/bin/sh", "/run/lint.sh", "faked", "2", "", "/run/tool", "package"), binds)
        install = Install(("/bin/true",), lint=lint, remove=Stage(("/bin/true",)))
        start = Start("/bin/true", (), install)
        sha256 = f"sha256:{time.time()}"
        cell = Cell(name, "file", sha256, start, Smoke(args=()), "debian:12", image, "plain", "pass")
        bench = Bench(engine, engine.probe(), helpers(store), store, "flags", tmp_path)
        (results[name],) = cell_runs.run([cell], bench, lambda _result: None)
    found = {name: (one.verdict, one.reason) for name, one in results.items()}
    assert found == {"breaks": ("UNPROVEN", "engine"), "finds": ("FAIL", "lint"), "clean": ("PASS", None)}, results
    assert results["finds"].detail == "the stage lint failed: faked 1./run/tool: 1 error, 0 warnings: tool: bad"
    assert "the tool could not be run: exit status" in (results["breaks"].detail or "")


@pytest.mark.nightly
def test_the_packages_of_the_sample_have_no_errors(tmp_path: Path) -> None:
    project = sample(tmp_path)
    text = (tmp_path / "portable.yaml").read_text()
    artifacts = f"""artifacts:
  tree: {{format: bundle}}
  folder: {{format: nuitka-standalone}}
  small: {{format: deb, from: folder, maintainer: "{WHO["maintainer"]}"}}
  deb: {{format: deb, from: tree, maintainer: "{WHO["maintainer"]}"}}
  rpm: {{format: rpm, from: tree, maintainer: "{WHO["maintainer"]}", depends: []}}

portability:
  images: [{json.dumps(IMAGE)}]
"""
    (tmp_path / "portable.yaml").write_text(text[: text.index("artifacts:")] + artifacts)
    ran = project.run("portability", "--artifact", "deb", "--artifact", "rpm", "--artifact", "small")
    stages = linted(project)
    assert ran.status == 0, ran.stdout + ran.stderr
    assert {name: re.sub(r".*: (\d+ errors?),.*", r"\1", one["detail"]) for name, one in stages.items()} == {
        "deb": "0 errors",
        "rpm": "0 errors",
        "small": "0 errors",
    }, stages
    (package,) = (tmp_path / "dist" / "deb").glob("*.deb")
    listed = subprocess.run(["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True).stdout
    for name in ("copyright", "changelog.Debian.gz", "licenses/click.txt", "licenses/psycopg2.txt"):
        assert f"./usr/share/doc/myapp/{name}\n" in listed
