"""build/app.py: which program is the app's."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.build_scripts import script as load

app = load("app")


def installed(folder: Path, *scripts: str) -> importlib.metadata.Distribution:
    info = folder / "my_app-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_app\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[console_scripts]", *scripts]))
    return importlib.metadata.Distribution.at(info)


def test_the_entry_point_is_the_named_one_else_the_obvious_one(tmp_path: Path) -> None:
    own = installed(tmp_path, "my-app = my.cli:main [colour]", "other=my.cli : Group.run[a,b]", "module = my.cli")

    def found(script: str | None = None, entry_point: str | None = None) -> tuple[str, str]:
        entry = app.chosen(own, script, entry_point, ())
        return entry.name, entry.value

    assert found() == ("my-app", "my.cli:main")
    assert found("other") == ("other", "my.cli:Group.run")
    assert found("module") == ("module", "my.cli")
    assert found("mine", "my.cli:own") == ("mine", "my.cli:own")
    with pytest.raises(SystemExit, match=r"my_app has no program 'none'\. There are: module"):
        found("none")
    with pytest.raises(SystemExit, match="is not module:attribute"):
        found("mine", "my.cli:main()")


def test_the_script_of_the_apps_name_is_the_obvious_one_of_one_or_more(tmp_path: Path) -> None:
    alone = installed(tmp_path, "something = my.cli:main")
    assert app.chosen(alone, None, None, ()).name == "something"
    (tmp_path / "my_app-1.0.dist-info" / "entry_points.txt").write_text("")
    with pytest.raises(SystemExit, match=r"There are no programs at all\. Name a program of my_app in app\.script"):
        app.chosen(alone, None, None, ())


@given(st.text())
def test_nothing_but_names_gets_into_source_code(text: str) -> None:
    try:
        entry = app.parsed("app", text)
    except SystemExit:
        return
    assert f"{entry.module}.{entry.attribute}".replace(".", "_").isidentifier()


@pytest.mark.parametrize(
    ("value", "said"),
    [("tally.main:main", "function"), ("tally.main:Group.run", "method"), ("tally.module", "__main__")],
)
def test_an_entry_point_is_run_as_its_own_script_runs_it(tmp_path: Path, value: str, said: str) -> None:
    """The package hides its module `main` behind a function of that name."""
    package = tmp_path / "tally"
    package.mkdir()
    (package / "__init__.py").write_text("from tally.main import main\n")
    (package / "main.py").write_text(
        "def main():\n    print('function')\nclass Group:\n    @staticmethod\n    def run():\n        print('method')\n"
    )
    (package / "module.py").write_text("print(__name__)\n")
    entry = app.parsed("tally", value)
    (tmp_path / "start.py").write_text(f"import sys\n{entry.imported}\n{entry.called()}\n")
    done = subprocess.run([sys.executable, tmp_path / "start.py"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{said}\n", "")


def wheel_of(folder: Path, name: str, **files: bytes) -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for program, data in files.items():
            archive.writestr(f"{name}-1.0.data/scripts/{program}", data)
        archive.writestr(f"{name}-1.0.data/scripts/../evil", "#!python\n")
        archive.writestr(f"{name}/data/scripts/none", "no script")
    return path


def test_files_of_the_wheel_are_programs_of_their_kinds(tmp_path: Path) -> None:
    own = installed(tmp_path)
    files = {"my-app": b"#!python\nprint()\n", "elf": b"\x7fELF", "sh": b"#!/bin/sh\n", "old": b"#!/usr/bin/python2\n"}
    wheel = wheel_of(tmp_path, "My_App", **files)
    found = app.chosen(own, None, None, [wheel])
    assert (found.name, found.value, found.file.data) == ("my-app", "", files["my-app"])
    kinds = {name: app.chosen(own, name, None, [wheel]).file.kind for name in files}
    assert kinds == {"my-app": "Python script", "elf": "ELF file", "sh": "script", "old": "Python script"}
    with pytest.raises(SystemExit, match=r"has no program '\.\./evil'"):
        app.chosen(own, "../evil", None, [wheel])


def test_a_console_script_comes_before_a_file(tmp_path: Path) -> None:
    own = installed(tmp_path, "tool = my.cli:main")
    wheel = wheel_of(tmp_path, "my_app", helper=b"#!python\n", tool=b"#!python\n")
    assert app.chosen(own, None, None, [wheel]).value == app.chosen(own, "tool", None, [wheel]).value == "my.cli:main"
    assert app.chosen(own, "helper", None, [wheel]).file


def test_all_programs_are_named_where_there_is_no_such_one(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    own, other = installed(tmp_path, "tool = my.cli:main"), installed(tmp_path / "other", "theirs = a:b")
    (tmp_path / "other/my_app-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: dep\nVersion: 1.0\n")
    wheels = [wheel_of(tmp_path, "my_app", run=b"#!python\n"), wheel_of(tmp_path, "dep", native=b"\x7fELF")]
    with pytest.raises(SystemExit) as caught:
        app.chosen(own, "missing", None, wheels, [own, other])
    told = "native (ELF file of dep), theirs (console script of dep), run (Python script of my_app), "
    assert str(caught.value) == (
        f"my_app has no program 'missing'. There are: {told}tool (console script of my_app). "
        "Name a program of my_app in app.script, or give app.entry-point"
    )
