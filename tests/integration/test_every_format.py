"""The sample app as PyOxidizer makes it, from the config that has every format: two Pythons, one lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import MainJob, Project, sample
from tests.integration.rust import needs_rust

pytestmark = [pytest.mark.integration, pytest.mark.nightly, needs_rust]


def test_the_sample_in_every_format(tmp_path: Path, main_job: MainJob) -> None:
    assert main_job.portability.status == 0
    project = Project(sample(tmp_path).folder / "examples")
    ran = project.run("portability", "--config", "every-format.yaml")
    assert ran.status == 0, ran.stdout + ran.stderr
    seen = {(cell["artifact"], cell["image"], cell["condition"]): cell["verdict"] for cell in project.cells()}
    # A pex takes a Python of the image, so it fails where there is none; a package for one release, on all others.
    without = {key for key, verdict in seen.items() if verdict == "XFAIL"}
    own = {"zipped": {"debian:12+python3"}, "distro-debian-12": {"debian:12", "debian:12+python3"}}
    own["distro-debian-13"] = {"debian:13"}
    assert without == {key for key in seen if key[1] not in own.get(key[0], {key[1]})}
    assert {verdict for key, verdict in seen.items() if key not in without} == {"PASS"}
    assert len(seen) == len({key[0] for key in seen}) * 12 == 120
    lock = json.loads((project.folder / "every-format.lock").read_text())
    assert sorted(lock["houses"]) == ["default/3.11", "default/3.13", "distro-debian-12/3.11", "distro-debian-13/3.13"]
    assert {"driver pyoxidizer", "library openssl", "cpython 3.11", "cpython 3.13"} <= set(lock["pins"])
    assert project.run("check", "--config", "every-format.yaml", "--locked").status == 0
