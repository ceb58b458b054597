"""build/app.py: which program is the app's."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
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
        entry = app.chosen(own, script, entry_point)
        return entry.name, entry.value

    assert found() == ("my-app", "my.cli:main")
    assert found("other") == ("other", "my.cli:Group.run")
    assert found("module") == ("module", "my.cli")
    assert found("mine", "my.cli:own") == ("mine", "my.cli:own")
    with pytest.raises(SystemExit, match="my_app has the console scripts module, my-app, other: name one"):
        found("none")
    with pytest.raises(SystemExit, match="is not module:attribute"):
        found("mine", "my.cli:main()")


def test_the_script_of_the_apps_name_is_the_obvious_one_of_one_or_more(tmp_path: Path) -> None:
    alone = installed(tmp_path, "something = my.cli:main")
    assert app.chosen(alone, None, None).name == "something"
    (tmp_path / "my_app-1.0.dist-info" / "entry_points.txt").write_text("")
    with pytest.raises(SystemExit, match=r"has the console scripts \(none\)"):
        app.chosen(alone, None, None)


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
