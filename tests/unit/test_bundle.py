"""The bundle's archive and its launcher. Nothing is built here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from py_portable import resources
from py_portable.config import Artifact
from py_portable.formats import FORMATS, House
from py_portable.formats.bundle import BundleOptions
from py_portable.formats.folder_archive import pack, unpack
from tests.unit.build_scripts import script

NAMES = ("with blank", "ü", "new\nline", "-dash", "quote'\"$x")


def tree(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_text(name)
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o755)
    (folder / "link").symlink_to("tool")
    os.link(folder / "tool", folder / "twin")
    return folder


def test_an_archive_is_the_same_whenever_it_is_packed_and_gives_the_tree_back(tmp_path: Path) -> None:
    first = tree(tmp_path / "a" / "app")
    second = tree(tmp_path / "b" / "app")
    os.utime(second / "tool", (1, 1))
    for place in ("a", "b"):
        pack(tmp_path / place / "app", tmp_path / f"{place}.tar.zst", epoch=1000)
    assert (tmp_path / "a.tar.zst").read_bytes() == (tmp_path / "b.tar.zst").read_bytes()
    unpack(tmp_path / "a.tar.zst", tmp_path / "out")
    got = tmp_path / "out" / "app"
    assert sorted(p.name for p in got.iterdir()) == sorted(p.name for p in first.iterdir())
    assert [(got / name).read_text() for name in NAMES] == list(NAMES)
    assert (got / "tool").stat().st_mode & 0o777 == 0o755 and (got / "tool").stat().st_mtime == 1000
    assert (got / "link").readlink() == Path("tool")
    assert (got / "twin").read_text() == "#!/bin/sh\n" and (got / "twin").stat().st_nlink == 1


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A launcher in a folder with an odd name, before an interpreter that says how it was called."""
    folder = tmp_path / "ü x" / "app"
    (folder / "bin").mkdir(parents=True)
    command = '"$here/bin/said" -I -B "$here/lib/start.py" "$0"'
    (folder / "app").write_text(resources.path("build/launcher.sh").read_text().replace("@COMMAND@", command))
    (folder / "bin" / "said").write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    for file in (folder / "app", folder / "bin" / "said"):
        file.chmod(0o755)
    return folder / "app"


def said(*words: str | Path, cwd: Path, **env: str) -> list[str]:
    environ = {**os.environ, **env}
    done = subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_launcher_finds_its_folder_however_it_is_called(program: Path, tmp_path: Path) -> None:
    folder = program.parent
    links = tmp_path / "links"
    links.mkdir()
    (links / "one").symlink_to(os.path.relpath(program, links))
    (links / "two").symlink_to("one")
    for call, cwd, path in (
        (program, tmp_path, ""),
        ("./app", folder, ""),
        ("../app/app", folder, ""),
        (links / "two", tmp_path, ""),
        ("./two", links, ""),
        ("two", tmp_path, f"{links}:"),
    ):
        env = {"PATH": path + os.environ["PATH"], "CDPATH": "/"}
        python, *words = said(call, "a b", "", cwd=cwd, **env)
        assert Path(python) == folder / "bin" / "said", call
        assert words[:3] == ["-I", "-B", f"{folder}/lib/start.py"] and words[4:] == ["a b", ""], call


HOUSE = House("default/3.13", "image", "interpreter", None, "toolbox", "wheelhouse", "app", "app", None, {}, "bare")


def test_both_options_decide_what_is_made() -> None:
    told = []
    for options in (
        BundleOptions(archive=True, trim=True),
        BundleOptions(archive=False, trim=True),
        BundleOptions(archive=True, trim=False),
    ):
        (step,) = FORMATS["bundle"].steps(Artifact("tree", "bundle", "default", "3.13", None, (), options), HOUSE)
        assert step.needs == ("interpreter", "wheelhouse") and step.image == "image"
        told.append((step.params["archive"], step.params["spec"]["trim"]))
    assert told == [(True, True), (False, True), (True, False)]


@pytest.fixture(scope="module")
def builder() -> Any:
    return script("bundle")


def test_a_program_cannot_have_the_name_of_a_folder(
    builder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(builder, "TREE", tmp_path)
    with pytest.raises(SystemExit, match="the program can't be called lib"):
        builder.launcher(builder.app.Entry("lib", "my.cli", "main"))


def test_a_script_of_a_wheel_finds_the_interpreter_beside_it(
    builder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved, and through a link from elsewhere."""
    monkeypatch.setattr(builder, "TREE", tmp_path / "tree")
    (tmp_path / "ü x").mkdir()
    script = tmp_path / "ü x" / "tool"
    script.write_text(f"#!{tmp_path}/tree/bin/python3\nprint('it')\n")
    script.chmod(0o755)
    other = tmp_path / "ü x" / "other"
    other.write_text("#!/bin/sh\n")
    builder.move_script(script)
    builder.move_script(other)
    assert other.read_text() == "#!/bin/sh\n"
    (script.parent / builder.PYTHON).write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    (script.parent / builder.PYTHON).chmod(0o755)
    (tmp_path / "link").symlink_to("ü x/tool")
    for call in (script, tmp_path / "link"):
        python, *words = said(call, "a b", cwd=tmp_path)
        assert Path(python) == script.parent / builder.PYTHON
        assert words == ["-I", "-B", str(call), "a b"]
