"""Places of a build in a root without mounts, and what a command changed of that root."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from py_portable.engines.engine import Bind
from py_portable.engines.footprint import Footprint, change, remove
from py_portable.engines.places import Places


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A step's folder, with what steps have: inputs, a scratch folder, an out folder."""
    for name in ("out", "scratch", "input", "empty"):
        (tmp_path / "work" / name).mkdir(parents=True)
    (tmp_path / "work/input/file").write_text("original\n")
    (tmp_path / "work/input/link").symlink_to("file")
    (tmp_path / "work/input/program").write_text("#!/bin/sh\n")
    (tmp_path / "work/input/program").chmod(0o755)
    return tmp_path / "work"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """It stands for /: the places are absolute paths, whatever they are below."""
    (tmp_path / "root/opt/python").mkdir(parents=True)
    (tmp_path / "root/opt/python/of-the-image").touch()
    return tmp_path / "root"


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else oct(path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
    }


def test_places_are_there_for_the_time_of_a_step_and_gone_afterwards(work: Path, root: Path) -> None:
    places = Places(str(root / "aside"))
    before = tree(root)
    binds = (
        Bind(work / "scratch", f"{root}/build", writable=True),
        Bind(work / "out", f"{root}/out", writable=True),
        Bind(work / "input", f"{root}/opt/python"),
        Bind(work / "input/file", f"{root}/kit/deep/file"),
    )
    with places.laid(binds, work):
        assert (root / "opt/python/link").readlink() == Path("file")
        assert (root / "opt/python/program").stat().st_mode & 0o777 == 0o755
        assert not (root / "opt/python/of-the-image").exists()
        (root / "opt/python/file").write_text("changed\n")
        (root / "kit/deep/file").write_text("changed\n")
        (root / "out/made").write_text("made\n")
        (root / "build/left").touch()
    assert (work / "input/file").read_text() == "original\n"
    assert (work / "out/made").read_text() == "made\n" and not (work / "out").is_symlink()
    assert (work / "scratch/left").exists()
    assert tree(root) == {**before, "aside": oct((root / "aside").stat().st_mode)}
    assert list((root / "aside").iterdir()) == []


def test_a_folder_under_two_names_is_one_folder(work: Path, root: Path) -> None:
    """As the out folder is, which an interpreter is installed into at /opt/python."""
    binds = (
        Bind(work / "out", f"{root}/out", writable=True),
        Bind(work / "out", f"{root}/opt/python", writable=True),
    )
    with Places(str(root / "aside")).laid(binds, work):
        assert not (root / "opt/python").is_symlink()
        (root / "opt/python/one").touch()
        (root / "out/two").touch()
    assert sorted(path.name for path in (work / "out").iterdir()) == ["one", "two"]
    assert [path.name for path in (root / "opt/python").iterdir()] == ["of-the-image"]


def test_what_lasts_longer_than_a_step_stays_where_it_is(work: Path, root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    with Places(str(root / "aside")).laid((Bind(cache, f"{root}/cache", writable=True),), work):
        (root / "cache/entry").touch()
        assert (cache / "entry").exists() and not cache.is_symlink()
    assert (cache / "entry").exists() and not (root / "cache").exists()


def test_a_second_step_while_the_first_one_waits(work: Path, root: Path) -> None:
    """As the compilers of Nuitka: both have /build and /out, and what one asks the other answers."""
    places = Places(str(root / "aside"))
    (work / "own").mkdir()
    (work / "answered").mkdir()
    first = (
        Bind(work / "out", f"{root}/out", writable=True),
        Bind(work / "answered", f"{root}/answered"),
    )
    with places.laid(first, work):
        (root / "out/of-the-first").touch()
        with places.laid((Bind(work / "own", f"{root}/out", writable=True),), work):
            assert list((root / "out").iterdir()) == []
            (root / "out/of-the-second").touch()
        (work / "own").rename(work / "answered/1")
        assert (root / "answered/1/of-the-second").exists()
        assert [path.name for path in (root / "out").iterdir()] == ["of-the-first"]
    assert (work / "answered/1/of-the-second").exists()


def test_a_step_that_ends_first_waits_for_what_was_laid_on_top(work: Path, root: Path) -> None:
    places, order = Places(str(root / "aside")), []
    (work / "own").mkdir()
    entered = threading.Event()

    def lower() -> None:
        with places.laid((Bind(work / "out", f"{root}/out", writable=True),), work):
            (root / "out/mine").touch()
            entered.set()
            time.sleep(0.2)
        order.append("lower")

    thread = threading.Thread(target=lower)
    thread.start()
    entered.wait()
    with places.laid((Bind(work / "own", f"{root}/out", writable=True),), work):
        time.sleep(0.6)
        order.append("upper")
    thread.join()
    assert order == ["upper", "lower"] and (work / "out/mine").exists()


@pytest.mark.parametrize(
    "change_place",
    [
        lambda place, away: (place.rmdir(), place.symlink_to(away)),
        lambda place, away: (place.rmdir(), place.write_text("x")),
        lambda place, away: place.rmdir(),
        lambda place, away: os.mkfifo(place / "pipe"),
    ],
    ids=["a link", "a file", "nothing", "a pipe in it"],
)
def test_a_step_that_puts_something_else_in_its_place_reaches_nothing(
    work: Path, root: Path, tmp_path: Path, change_place: Callable[[Path, Path], object]
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    (away / "kept").touch()
    with Places(str(root / "aside")).laid((Bind(work / "out", f"{root}/out", writable=True),), work):
        change_place(root / "out", away)
    assert (work / "out").is_dir() and not (work / "out").is_symlink()
    assert (away / "kept").exists() and not os.path.lexists(root / "out")


def test_what_a_command_made_is_removed_and_what_it_changed_is_named(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    for name in ("usr/lib/one", "usr/lib/two", "usr/lib/three", "store/object"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    spared = (str(tmp_path / "store"),)
    before = Footprint.look(spared, str(tmp_path))
    assert change(before, Footprint.look(spared, str(tmp_path))).new == ()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/left").touch()
    (tmp_path / "tmp/away").symlink_to(tmp_path / "usr")
    (tmp_path / "usr/lib/new.so").touch()
    (tmp_path / "store/object").write_text("other")
    kept = (tmp_path / "usr/lib/one").stat()
    (tmp_path / "usr/lib/one").write_text("y")
    # With the same size and times: what no program can set is the time of the change itself.
    os.utime(tmp_path / "usr/lib/one", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    (tmp_path / "usr/lib/two").unlink()
    (tmp_path / "usr/lib").chmod(0o777)
    (tmp_path / "usr/lib/three").rename(tmp_path / "away")
    (tmp_path / "away").rename(tmp_path / "usr/lib/three")
    # What stood in the way of a place was moved there and back by the kit.
    assert f"{tmp_path}/usr/lib/three" in change(before, Footprint.look(spared, str(tmp_path))).lost
    moved = (f"{tmp_path}/usr/lib/three", f"{tmp_path}/usr/lib/two")
    seen = change(before, Footprint.look(spared, str(tmp_path)), moved)
    assert seen.lost == tuple(str(tmp_path / name) for name in ("usr/lib", "usr/lib/one", "usr/lib/two"))
    remove(seen.new)
    assert not (tmp_path / "tmp").exists() and not (tmp_path / "usr/lib/new.so").exists()
    assert (tmp_path / "usr/lib/three").exists()
    assert "and 2 more" in type(seen)((), tuple("abcdefg")).told
