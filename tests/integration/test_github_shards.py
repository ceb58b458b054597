"""The reusable workflow from plan to report, in several shards, against the action and the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from py_portable.engines import static_helpers
from py_portable.store import default_root
from tests.integration.conftest import MainJob, portable
from tests.integration.github import Server, copy_of_the_kit, example, sharded
from tests.integration.registry import Layout, tar_layer

pytestmark = pytest.mark.integration

PROGRAM = '#include <stdio.h>\nint main(void) { puts("tool 1.2"); return STATUS; }\n'
FILES = {"bin/": "", "tmp/": "", "proc/": "", "dev/": "", "etc/": "", "etc/passwd": "root:x:0:0::/:/bin/sh\n"}


def write_app(folder: Path, images: Path) -> None:
    """Two programs, one of them broken, on an image with next to nothing in it and on one that is not to be had."""
    for name, status in (("good", 0), ("bad", 3)):
        source = folder / f"{name}.c"
        source.write_text(PROGRAM)
        words = [
            *static_helpers.compiler(),
            "-static",
            "-Os",
            f"-DSTATUS={status}",
            "-o",
            folder / "vendor" / name,
            source,
        ]
        subprocess.run(words, check=True)
        source.unlink()
    config = yaml.safe_load((folder / "portable.yaml").read_text())
    config["artifacts"] = {name: {"format": "file", "path": f"vendor/{name}"} for name in ("good", "bad")}
    config["portability"] = {
        "images": [f"oci:{images}", {"image": f"oci:{images}-gone", "optional": True}],
        "probes": ["read-only"],
    }
    (folder / "portable.yaml").write_text(yaml.safe_dump(config))


def seen(evidence: dict[str, Any]) -> list[tuple[str | None, ...]]:
    names = ("artifact", "image", "condition", "verdict", "reason")
    return sorted(tuple(cell[name] for name in names) for cell in evidence["cells"])


def take_away(image: Path, when: Path) -> threading.Thread:
    """From then on the image can be had from the plan's job only."""

    def wait() -> None:
        end = time.monotonic() + 300
        while not (when / "images.json").exists() and time.monotonic() < end:
            time.sleep(0.05)
        image.rename(image.with_name("away"))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_one_config_has_one_outcome_wherever_it_is_run(tmp_path: Path) -> None:
    image = tmp_path / "image"
    Layout(image).add([tar_layer(FILES)])
    server = Server(tmp_path / "server", copy_of_the_kit(tmp_path / "py-portable"))
    server.env["PY_PORTABLE_ENGINE"] = "bubblewrap"
    write_app(server.app, image)

    # As nox does it: `build`, then `portability`.
    laptop = tmp_path / "laptop"
    shutil.copytree(server.app, laptop)
    env = {"PY_PORTABLE_STORE": str(tmp_path / "store")}
    for command, status in (("build", 0), ("portability", 1)):
        ran = portable(command, "--engine", "bubblewrap", cwd=laptop, env=env)
        assert ran.status == status, ran.stderr
    told = json.loads((laptop / "dist" / "evidence.json").read_text())
    assert {(cell["artifact"], cell["verdict"]) for cell in told["cells"]} == {
        ("good", "PASS"),
        ("bad", "FAIL"),
        ("good", "UNPROVEN"),
        ("bad", "UNPROVEN"),
    }
    assert len(told["cells"]) == 8
    verdict = told["conclusions"]["verdict"]
    assert verdict == "FAIL"

    action = server.workflow(example("one-job.yml"))
    assert action.status != 0 and "Job failed" in action.log
    by_action = action.evidence(tmp_path / "by-action")
    assert seen(by_action) == seen(told)
    assert by_action["conclusions"]["verdict"] == verdict

    # A run that was seen to be dear is shared out between more jobs.
    for cell in told["cells"]:
        cell["seconds"] = 90.0
    kept = server.cache / "py-portable-push-costs-earlier"
    (kept / "files").mkdir(parents=True)
    (kept / "files" / "evidence.json").write_text(json.dumps(told))
    (kept / "path").write_text("py-portable/costs")
    thread = take_away(image, server.work / "run-2" / "artifacts" / "py-portable-plan")
    many = server.workflow(sharded(example("shards.yml")))
    thread.join()
    assert many.status != 0
    names = {one.name for one in many.artifacts.iterdir()}
    shards = {name for name in names if "-shard-" in name}
    assert len(shards) > 1
    assert names - shards == {"py-portable-plan", "py-portable-build-001", "py-portable-dist"}
    by_shards = many.evidence(tmp_path / "by-shards")
    assert seen(by_shards) == seen(told)
    assert by_shards["conclusions"]["verdict"] == verdict
    # No shard asked for the image: there was none to be had any more.
    assert ", 1 images" in many.log
    assert {c["image_identity"] for c in by_shards["cells"] if c["image_identity"]} == {
        c["image_identity"] for c in told["cells"] if c["image_identity"]
    }
    # For the plan of the next run.
    (fresh,) = {*server.cache.glob("py-portable-push-costs-*")} - {kept}
    assert seen(json.loads((fresh / "files" / "evidence.json").read_text())) == seen(told)
    # The last job is red for what a shard found, and says it first.
    assert "::set-output:: verdict=FAIL" in many.log
    last = many.summary[many.summary.rindex("# FAIL") :]
    assert "`bad`" in last.split("## Cells")[0]


def test_the_example_of_a_release_goes_as_far_as_the_servers(tmp_path: Path) -> None:
    """Signing and publishing need GitHub's identity of a run, which no other server gives: their stand-ins say what
    they would have signed and published."""
    server = Server(tmp_path / "server", copy_of_the_kit(tmp_path / "py-portable"))
    wheel = server.app / "dist" / "publish" / "tool-1.2-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    wheel.write_text("made by the app's own build\n")
    ran = server.workflow(sharded(example("release.yml")))
    assert ran.status == 0, ran.log
    assert "would attest: dist/evidence.json" in ran.log
    assert "would publish: dist/publish/tool-1.2-py3-none-any.whl" in ran.log
    # What a release is made of is made by its own run.
    assert "cache: " not in ran.log and not server.cache.exists()


@pytest.mark.nightly
def test_the_sample_is_built_proven_and_measured_by_the_workflow(tmp_path: Path, main_job: MainJob) -> None:
    """In the store of the main job: what that made is not made again."""
    server = Server(tmp_path / "server", copy_of_the_kit(tmp_path / "py-portable"))
    server.env |= {"PY_PORTABLE_STORE": str(default_root(os.environ)), "PY_PORTABLE_ENGINE": "bubblewrap"}
    shutil.rmtree(server.app)
    shutil.copytree(main_job.project.folder, server.app, ignore=shutil.ignore_patterns("dist", ".py-portable"))
    config = yaml.safe_load((server.app / "portable.yaml").read_text())
    config["artifacts"] = {"tree": config["artifacts"]["tree"]}
    config["portability"] = {"images": ["debian:12"]}
    (server.app / "portable.yaml").write_text(yaml.safe_dump(config))
    asked = yaml.safe_load(sharded(example("shards.yml")))
    asked["jobs"]["portable"]["with"] |= {"benchmark": True, "cache": "false"}
    ran = server.workflow(yaml.safe_dump(asked, sort_keys=False))
    evidence = ran.evidence(tmp_path / "came")
    assert {cell["verdict"] for cell in evidence["cells"]} == {"PASS"}, ran.log
    assert {row["artifact"] for row in evidence["benchmark"]} == {"tree"}, ran.log
    # A machine too loud to measure on is told of; the verdict is that of the cells.
    assert evidence["conclusions"]["verdict"] == "PASS"
    assert "Start-up" in ran.summary
