"""Packages looked at by the real lintian and rpmlint, in an image that has them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Project, sample

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
        },
        "portability": {"images": [IMAGE]},
    }
    (tmp_path / "portable.yaml").write_text(json.dumps(config))
    project = Project(tmp_path)
    ran = project.run("portability", *(f"--artifact={name}" for name in ("deb", "rpm", "nobody", "spaced")))
    cells = {cell["artifact"]: cell for cell in project.cells()}
    found = {name: (cell["verdict"], cell["reason"]) for name, cell in cells.items()}
    stages = linted(project)
    assert found == {
        "deb": ("PASS", None),
        "rpm": ("PASS", None),
        "nobody": ("FAIL", "lint"),
        "spaced": ("PASS", None),
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
    assert f"; {stages['deb']['detail']}" in ran.stdout
    report = project.run("report").stdout
    assert "What lint says" in report and "no-manual-page" in report
    # All is still looked at after it.
    assert [stage["stage"] for stage in cells["nobody"]["stages"]] == ["install", "lint", "upgrade", "remove", "purge"]


def test_the_packages_of_the_sample_have_no_errors(tmp_path: Path) -> None:
    project = sample(tmp_path)
    text = (tmp_path / "portable.yaml").read_text()
    artifacts = f"""artifacts:
  tree: {{format: bundle}}
  deb: {{format: deb, from: tree, maintainer: "{WHO["maintainer"]}"}}
  rpm: {{format: rpm, from: tree, maintainer: "{WHO["maintainer"]}", depends: []}}

portability:
  images: [{json.dumps(IMAGE)}]
"""
    (tmp_path / "portable.yaml").write_text(text[: text.index("artifacts:")] + artifacts)
    ran = project.run("portability", "--artifact", "deb", "--artifact", "rpm")
    stages = linted(project)
    assert ran.status == 0, ran.stdout + ran.stderr
    assert {name: re.sub(r".*: (\d+ errors?),.*", r"\1", one["detail"]) for name, one in stages.items()} == {
        "deb": "0 errors",
        "rpm": "0 errors",
    }, stages
    (package,) = (tmp_path / "dist" / "deb").glob("*.deb")
    listed = subprocess.run(["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True).stdout
    for name in ("copyright", "changelog.Debian.gz", "licenses/click.txt", "licenses/psycopg2.txt"):
        assert f"./usr/share/doc/myapp/{name}\n" in listed
