"""A format is a module: one that the kit does not have is added, and checked, locked, planned, built and started."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from py_portable.base import process
from tests.integration.conftest import Project, Ran
from tests.promises import tiny

pytestmark = pytest.mark.integration
DRIVER = "tests.integration.toy_formats"
ROOT = Path(__file__).parents[2]


class Toys(Project):
    def run(self, *words: str | Path, env: dict[str, str] | None = None) -> Ran:
        import os

        environ = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        done = process.run([sys.executable, "-m", DRIVER, *words], cwd=self.folder, env=environ, timeout=600)
        return Ran(done.status, done.stdout.text, done.stderr.text)

    def write(self, **artifacts: Any) -> None:
        told = {
            "version": 1,
            "app": {"requirement": "toy==1", "smoke": [{"args": []}]},
            "python": "3.13",
            "artifacts": artifacts,
            "portability": {"images": self.images},
        }
        (self.folder / "portable.yaml").write_text(json.dumps(told, indent=1))

    @property
    def images(self) -> list[str]:
        return [f"docker-archive:{self.folder}/{number}.tar" for number in (1, 2)]

    def verdicts(self) -> dict[tuple[str, str], tuple[str, str]]:
        return {(c["artifact"], c["image"][-5:]): (c["expect"], c["verdict"]) for c in self.evidence["cells"]}


@pytest.fixture
def toys(tmp_path: Path) -> Toys:
    found = Toys(tmp_path)
    for number in (1, 2):
        tiny.image(tmp_path / f"{number}.tar", {"etc/passwd": b"root:x:0:0::/:/none\n", "etc/number": b"%d" % number})
    return found


def test_a_format_of_one_module_is_built_and_started_and_what_is_made_from_it_takes_its_node(toys: Toys) -> None:
    toys.write(folder={"format": "toy", "word": "hi"}, box={"format": "toy-box", "from": "folder"})
    checked = toys.run("check")
    assert checked.status == 0, checked.stderr
    ran = toys.run("portability")
    assert ran.status == 0, ran.stdout + ran.stderr
    assert toys.verdicts() == {
        (name, image): ("pass", "PASS") for name in ("folder", "box") for image in ("1.tar", "2.tar")
    }
    assert json.loads((toys.folder / "portable.lock").read_text())["pins"]["toy maker"] == "1.0 sha256:0"
    steps = [step["name"] for step in toys.evidence["steps"]]
    assert steps.count("artifact folder") == 1 and "artifact box" in steps
    # The child alone: its parent is made for it, and is no artifact of that run.
    alone = toys.run("build", "box", "--json")
    assert alone.status == 0 and [row["name"] for row in json.loads(alone.stdout)] == ["box"]


def test_one_artifact_fans_out_and_its_format_says_where_each_has_to_fail(toys: Toys) -> None:
    one, two = toys.images
    toys.write(all={"format": "toy", "word": "elsewhere", "releases": [one, two]})
    ran = toys.run("portability")
    # As this toy starts on the first image alone, the second of them is the one that has to be seen to fail.
    assert toys.verdicts() == {
        ("all-1", "1.tar"): ("pass", "PASS"),
        ("all-1", "2.tar"): ("fail:loader", "XFAIL"),
        ("all-2", "1.tar"): ("fail:loader", "XPASS"),
        ("all-2", "2.tar"): ("pass", "FAIL"),
    }, ran.stdout + ran.stderr
    # What the artifact says in the config goes before what its format says.
    told = {one: "pass", two: "fail:loader"}
    toys.write(all={"format": "toy", "word": "elsewhere", "releases": [one, two], "expect": told})
    assert toys.run("portability").status == 0
    assert {verdict for _, verdict in toys.verdicts().values()} == {"PASS", "XFAIL"}


def test_the_doctor_asks_for_what_a_format_needs(toys: Toys) -> None:
    toys.write(folder={"format": "toy"})
    assert "makes toys: 2.0" in toys.run("doctor", env={"TOY_MAKER": "2.0"}).stdout
