"""The bundle's archive and its launcher. Nothing is built here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from py_portable import resources
from py_portable.formats.packed import pack, unpack

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
    (folder / "app").write_text(resources.path("build/launcher.sh").read_text().replace("@PYTHON@", "said"))
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
