"""`init`: what is written fits the folder, and `load` accepts it as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from py_portable.config import Config
from py_portable.config.init import render
from py_portable.errors import ConfigError
from py_portable.formats import load_config
from py_portable.plan.ground import interpreter_pins

DATA = Path(__file__).parent / "data" / "config-init"


def loaded(folder: Path) -> Config:
    path = folder / "portable.yaml"
    path.write_text(render(folder), "utf-8")
    return load_config(path)


def project(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text, "utf-8")
    return folder


def test_the_whole_text(tmp_path: Path) -> None:
    project(
        tmp_path,
        '[project]\nname = "shop"\nrequires-python = ">=3.10,<3.13"\n'
        '[project.scripts]\nshop-admin = "shop:admin"\nshop = "shop:main"\n',
    )
    assert render(tmp_path) == (DATA / "project.yaml").read_text("utf-8")
    config = loaded(tmp_path)
    assert config.app.source == tmp_path
    assert config.app.script == "shop"
    # The newest that the project takes is 3.12, and there is no pin to compile one.
    assert config.python == "3.11"
    assert {artifact.format for artifact in config.artifacts.values()} == {
        "wheelhouse",
        "nuitka-standalone",
        "nuitka-onefile",
    }


def test_a_python_that_cannot_be_compiled_here_is_one_that_an_image_brings(tmp_path: Path) -> None:
    project(tmp_path, '[project]\nname = "shop"\nrequires-python = ">=3.12,<3.13"\n')
    config = loaded(tmp_path)
    assert (config.python, config.interpreter.provider) == ("3.12", "manylinux")
    assert config.baselines["default"].image == "manylinux_2_28"
    # Nothing among these would have to be linked to an interpreter that is not there.
    assert interpreter_pins(config) == {}


def test_an_empty_folder(tmp_path: Path) -> None:
    assert render(tmp_path) == (DATA / "empty.yaml").read_text("utf-8")
    config = loaded(tmp_path)
    assert config.app.requirement == "httpie==3.2.4"
    assert config.python == "3.13"


def test_only_a_setup_py(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    config = loaded(tmp_path)
    assert config.app.source == tmp_path
    assert config.app.script is None


def test_the_commented_lines_fit_too(tmp_path: Path) -> None:
    project(tmp_path, '[project]\nname = "shop"\n')
    text = render(tmp_path)
    for line, instead in {
        "  # extras: []": "  extras: []",
        "      # stdout: ": "      stdout: ",
        "    # include-packages: ": "    include-packages: ",
        "    # include-data: ": "    include-data: ",
        "  # entry-point: ": "  entry-point: ",
    }.items():
        assert text.count(line) == 1, line
        text = text.replace(line, instead)
    (tmp_path / "portable.yaml").write_text(text, "utf-8")
    config = load_config(tmp_path / "portable.yaml")
    assert config.app.entry_point == "pkg.mod:main"
    assert config.app.smoke[0].stdout == ("a line that it must print",)


@pytest.mark.parametrize(
    ("text", "script", "python"),
    [
        ("", None, "3.13"),
        ('[project]\nname = 7\nrequires-python = 3\nscripts = "x"\n', None, "3.13"),
        ('[project.scripts]\n"a\\u0007" = "x"\n"-b" = "x"\n', None, "3.13"),
        ('[project.scripts]\nyes = "x"\n', "yes", "3.13"),
        ('[project.scripts]\n"3.10" = "x"\n', "3.10", "3.13"),
        ('[tool.poetry]\nname = "b"\n[tool.poetry.scripts]\na = "x"\nb = "x"\n', "b", "3.13"),
        ('[project]\nrequires-python = ">=3.14"\n', None, "3.14"),
        ('[project]\nrequires-python = ">=3.12.4"\n', None, "3.13"),
        ('[project]\nrequires-python = "==3.11.*"\n', None, "3.11"),
        ('[project]\nrequires-python = ">=9"\n', None, "3.13"),
        ('[project]\nrequires-python = "new ones: #"\n', None, "3.13"),
        ('[project]\nrequires-python = ">=3.10,\\n<3.12"\n', None, "3.11"),
    ],
)
def test_odd_projects(tmp_path: Path, text: str, script: str | None, python: str) -> None:
    config = loaded(project(tmp_path, text))
    assert config.app.script == script
    assert config.python == python


def test_a_pyproject_that_is_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        render(project(tmp_path, "[project\n"))
    assert str(caught.value).startswith("Error: pyproject.toml: is not valid TOML: ")
    (tmp_path / "pyproject.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        render(tmp_path)
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: is not a regular file"):
        render(tmp_path)
