"""Shards on a machine that built nothing: no compiler, no network, no lock, an empty store; only dist/ in a tar."""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from py_portable import images
from py_portable.benchmark.pairs import LEAST_PAIRS
from py_portable.engines.select import select
from py_portable.engines.static_helpers import key
from py_portable.store import Store, default_root
from tests.integration.conftest import MainJob, Project, Ran
from tests.integration.registry import Layout, root_layer
from tests.integration.test_private_index import tiny_wheel

pytestmark = pytest.mark.integration

CONFIG = """version: 1
app:
  requirement: "tinyapp==1.0"
  script: tinyapp
  smoke: [{stdout: ["tiny app works"], args: []}]
python: "3.13"
baselines:
  # As the sample app has it, so that both have the same interpreter.
  default: {image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}
wheels: {max-glibc: "2.31"}
artifacts:
  house: {format: wheelhouse}
  one: {format: file, path: one}
  two: {format: file, path: two}
portability:
  images: ["oci:./first:latest", "oci:./second:latest"]
  probes: [no-home]
"""
INSIDE = """version: 1
app: {requirement: "tinyapp==1.0", script: tinyapp, smoke: [{stdout: ["tiny app works"], args: []}]}
python: "3.13"
artifacts:
  one: {format: file, path: one}
  two: {format: file, path: two}
portability: {images: [HOST]}
"""
PROGRAMS = (
    "bwrap",
    "tar",
    "sh",
    "env",
    "unshare",
    "mount",
    "umount",
    "setpriv",
    "newuidmap",
    "newgidmap",
    "id",
    "cat",
)
SAME = (
    "artifact",
    "sha256",
    "image",
    "image_identity",
    "condition",
    "argv",
    "expect",
    "verdict",
    "reason",
    "isolation",
)


@dataclass(frozen=True)
class Elsewhere:
    """Another machine, as far as one machine can be two."""

    project: Project
    store: Path
    programs: Path

    def run(self, *words: str | Path) -> Ran:
        environ = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        environ |= {"PATH": str(self.programs), "PY_PORTABLE_STORE": str(self.store), "PIP_NO_INDEX": "1"}
        # An ordinary user cannot leave the network without becoming another one.
        alone = ("unshare", "--net", "--") if os.geteuid() == 0 else ()
        done = subprocess.run(
            [*alone, sys.executable, "-m", "py_portable", *map(str, words)],
            cwd=self.project.folder,
            env=environ,
            capture_output=True,
            text=True,
            errors="replace",
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def merge(self, to: str, *parts: Path, options: tuple[str, ...] = ()) -> tuple[Ran, bytes]:
        done = self.run("merge", *options, "--output", to, *parts)
        return done, (self.project.folder / to).read_bytes()


def elsewhere(folder: Path, project: Project, *files: str, store: Path | None = None) -> Elsewhere:
    """The repository's own files, and what lies in dist folders in a tar."""
    packed = folder / "dist.tar"
    (folder / "checkout").mkdir(parents=True)
    made = [path.name for path in project.folder.glob("dist*")]
    subprocess.run(["tar", "-C", project.folder, "-cf", packed, *made], check=True)
    subprocess.run(["tar", "-C", folder / "checkout", "-xpf", packed], check=True)
    packed.unlink()
    for name in files:
        (folder / "checkout" / name).symlink_to((project.folder / name).resolve())
    programs = folder / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    return Elsewhere(Project(folder / "checkout"), store or folder / "store", programs)


def same(evidence: dict[str, Any]) -> list[list[Any]]:
    return sorted([json.dumps(cell[name]) for name in SAME] for cell in evidence["cells"])


def test_shards_on_machines_that_built_nothing_are_the_run_of_the_one_that_did(
    tmp_path: Path, main_job: MainJob
) -> None:
    assert main_job.build.status == 0
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    (project.folder / "portable.yaml").write_text(CONFIG)
    for name in ("one", "two"):
        (project.folder / name).write_text(f"#!/bin/sh\necho tiny app works # {name}\n")
        (project.folder / name).chmod(0o755)
    engine = select("auto", None)[0]
    root = images.resolve("debian:12", store=Store(default_root(os.environ)), engine=engine).root
    Layout(tmp_path / "image").add([root_layer(root)], compress=False)
    for name in ("first", "second"):
        (project.folder / name).symlink_to(tmp_path / "image")
    (tmp_path / "wheels").mkdir()
    tiny_wheel(tmp_path / "wheels")
    env = {"PIP_FIND_LINKS": str(tmp_path / "wheels")}
    built = project.run("build", "--carry", env=env)
    assert built.status == 0, built.stderr
    assert project.run("plan", "--github", "--shards", "3", env=env).status == 0
    inside = ("--config", "inside.yaml", "--dist", "dist-inside", "--engine", "native")
    told = platform.freedesktop_os_release()
    host = f"{told['ID']}:{told.get('VERSION_ID', 'unknown')}"
    (project.folder / "inside.yaml").write_text(INSIDE.replace("HOST", json.dumps(host)))
    assert project.run("build", "--carry", *inside).status == 0
    assert project.run("plan", "--gitlab", *inside).status == 0
    files = ("portable.yaml", "inside.yaml", "one", "two", "first", "second")
    there = elsewhere(tmp_path / "there", project, *files)
    whole = project.run("portability", env=env)
    assert whole.status == 0, whole.stdout + whole.stderr

    dist = there.project.folder / "dist"
    plan = dist / "plan.json"
    shards = json.loads(plan.read_text())["plan"]["shards"]
    assert len(shards) == 3
    for shard in shards:
        done = there.run("portability", "--as-made", "--shard", shard["name"])
        assert done.status == 0, done.stdout + done.stderr
    assert not (there.project.folder / "portable.lock").exists()
    # Nothing was built there, and nothing that was brought is in the store: it has the image, its kit's helpers, and for
    # each HOME what cells are shown as their users.
    kept = [p for p in there.store.glob("objects/*/*") if p.is_dir() and p.name != key()]
    users = [p for p in kept if (p / "out" / "passwd").is_file()]
    (image,) = (p for p in kept if p not in users)
    assert (image / "out" / "root" / "etc").is_dir() and len(users) == 2

    parts = sorted((dist / "evidence" / "parts").glob("portability-*.json"))
    merged, text = there.merge("merged.json", plan, *parts)
    assert merged.status == 0, merged.stderr
    for number, order in enumerate(itertools.islice(itertools.permutations([plan, *parts]), 5, 24, 9)):
        assert there.merge(f"other-{number}.json", *order, *order)[1] == text
    told = json.loads(text)
    assert len(told["cells"]) == told["expected_cells"] == 3 * 2 * 2
    assert same(told) == same(project.evidence)

    # Of the shards one is missing; one whose artifacts have passed elsewhere, else that would be told too.
    lost = next(p for p in parts if passed(parts, p))
    rest = [plan, *(part for part in parts if part != lost)]
    (name,) = (shard["name"] for shard in json.loads(lost.read_text())["shards"])
    red, text = there.merge("red.json", *rest)
    missing = [cell for cell in json.loads(text)["cells"] if cell["verdict"] != "PASS"]
    assert red.status == 1 and f"shard missing: {name}" in red.stderr
    assert {(c["verdict"], c["reason"]) for c in missing} == {("UNPROVEN", "shard")}
    assert len(missing) == len(json.loads(lost.read_text())["cells"])
    assert there.merge("excused.json", *rest, options=("--allow-unproven",))[0].status == 0

    # Inside an image: no sandbox, and not an image to be had.
    native = there.run("portability", "--as-made", "--shard", host, "--json", *inside)
    assert native.status == 0, native.stdout + native.stderr
    cells = json.loads(native.stdout)["cells"]
    assert [(c["verdict"], c["isolation"]) for c in cells] == [("PASS", "partial")] * 2


def passed(parts: list[Path], without: Path) -> bool:
    rest = [json.loads(part.read_text()) for part in parts if part != without]
    return {"house", "one", "two"} <= {cell["artifact"] for part in rest for cell in part["cells"]}


def test_controls_and_what_a_benchmark_compares_with_come_along(tmp_path: Path, main_job: MainJob) -> None:
    assert main_job.portability.status == 0
    folder = main_job.project.folder
    project = Project(tmp_path / "project")
    shutil.copytree(folder, project.folder, ignore=shutil.ignore_patterns("dist"))
    built = project.run("build", "--carry-all")
    assert built.status == 0, built.stderr
    there = elsewhere(tmp_path / "there", project, "portable.yaml", "examples", store=default_root(os.environ))
    proven = there.run("portability", "--as-made")
    assert proven.status == 0, proven.stdout + proven.stderr
    assert same(there.project.evidence) == same(main_job.project.evidence)
    assert "control built-too-new: XFAIL" in proven.stdout
    done = there.run(
        *("benchmark", "--as-made", "folder", "--image", "debian:12", "--pairs", str(LEAST_PAIRS), "--json")
    )
    told = json.loads(done.stdout)
    # Eight pairs on a loaded machine may be too noisy; then the run has to say so.
    assert done.status == int(told["noisy"]) and told["lacking"] == {}, done.stderr
    assert {(row["artifact"], row["against"]) for row in told["benchmark"]} == {("folder", "python3.13 -m myapp.myapp")}
