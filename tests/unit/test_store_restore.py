"""Copying out of the store: exact, checked, atomic, never past its folder."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from py_portable.store import DamagedError, Entry, Part, Store, StoreError, digest

KEY = "0123456789abcdef" * 4
ODD = os.fsdecode(b"n\xe4me\n")


def build(work: Path) -> Mapping[str, object]:
    out = work / "out"
    (out / "app" / "lib").mkdir(parents=True)
    (out / "app" / "run").write_bytes(b"#!/bin/sh\necho hi\n")
    (out / "app" / "run").chmod(0o755)
    (out / "app" / "lib" / "data").write_bytes(os.urandom(3_000_000))
    (out / "app" / "lib" / "data").chmod(0o640)
    (out / "app" / "lib" / ODD).write_bytes(b"odd")
    (out / "app" / "lib" / "twin").hardlink_to(out / "app" / "lib" / ODD)
    (out / "app" / "lib" / "up").symlink_to("../run")
    (out / "app" / "etc").symlink_to("/etc")
    (out / "app" / "lib").chmod(0o555)
    os.mkfifo(out / "pipe")
    (out / "ln").symlink_to("app/run")
    return {}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def entry(store: Store) -> Entry:
    return store.make(KEY, build)


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return tmp_path / "dist"


def test_a_folder_comes_out_as_it_went_in(store: Store, entry: Entry, dist: Path) -> None:
    store.restore(entry, "app", dist / "x")
    assert digest(dist / "x") == digest(entry.path / "app")
    assert (dist / "x" / "lib" / "up").readlink() == Path("../run")
    assert (dist / "x" / "lib" / "twin").stat().st_nlink == 1
    assert (dist / "x").stat().st_uid == os.geteuid()
    assert list(dist.iterdir()) == [dist / "x"]


def test_a_file_comes_out_as_a_copy_with_its_mode(store: Store, entry: Entry, dist: Path) -> None:
    store.restore(entry, "app/run", dist / "deep" / "run")
    path = dist / "deep" / "run"
    assert path.read_bytes() == b"#!/bin/sh\necho hi\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert path.stat().st_nlink == 1
    path.write_text("mine now")
    store.verify(entry)
    store.restore(entry, f"app/lib/{ODD}", dist / "odd")
    assert (dist / "odd").read_bytes() == b"odd"


@pytest.mark.parametrize(
    "before", ["nothing", "file", "folder", "empty folder", "link", "broken link", "locked folder"]
)
@pytest.mark.parametrize("what", ["app", "app/run"])
def test_whatever_was_there_is_replaced(store: Store, entry: Entry, dist: Path, before: str, what: str) -> None:
    target = dist / "x"
    other = dist / "other"
    other.mkdir(parents=True)
    (other / "keep").touch()
    match before:
        case "file":
            target.write_text("old")
        case "folder" | "locked folder":
            (target / "old").mkdir(parents=True)
            (target / "old" / "file").touch()
            target.chmod(0o555 if before == "locked folder" else 0o755)
        case "empty folder":
            target.mkdir()
        case "link":
            target.symlink_to(other)
        case "broken link":
            target.symlink_to("nowhere")
    store.restore(entry, what, target)
    assert not target.is_symlink()
    assert digest(target) == digest(entry.path / what)
    assert sorted(path.name for path in dist.iterdir()) == ["other", "x"]
    assert (other / "keep").exists()


@pytest.mark.parametrize("relative", ["..", "../x", "app/../..", "/etc/passwd", "app/etc/passwd", "nothing", "a\0b"])
def test_no_path_leaves_the_output(store: Store, entry: Entry, dist: Path, relative: str) -> None:
    with pytest.raises(StoreError) as raised:
        store.restore(entry, relative, dist / "x")
    assert not isinstance(raised.value, DamagedError)
    assert not (dist / "x").exists()
    assert store.get(KEY) == entry


@pytest.mark.parametrize(("relative", "word"), [("pipe", "fifo"), ("ln", "link"), (".", "pipe is a fifo")])
def test_what_is_no_file_is_said(store: Store, entry: Entry, dist: Path, relative: str, word: str) -> None:
    with pytest.raises(StoreError, match=word):
        store.restore(entry, relative, dist / "x")


def test_the_whole_output_can_be_restored(store: Store, dist: Path) -> None:
    def simple(work: Path) -> Mapping[str, object]:
        (work / "out" / "f").write_text("x")
        (work / "out").chmod(0o711)
        return {}

    made = store.make("a" * 64, simple)
    store.restore(made, ".", dist)
    assert digest(dist) == made.digest


@pytest.mark.parametrize("damage", ["changed", "gone", "a folder", "a link", "parent a link"])
def test_damage_is_found_while_copying_and_moved_aside(
    store: Store, entry: Entry, dist: Path, tmp_path: Path, damage: str
) -> None:
    path = entry.path / "app" / "lib" / "data"
    content = path.read_bytes()
    path.parent.chmod(0o755)
    match damage:
        case "changed":
            path.write_bytes(content[:-1] + b"\0\0"[: 1 + (content[-1] == 0)])
        case "gone":
            path.unlink()
        case "a folder":
            path.unlink()
            path.mkdir()
        case "a link":
            (tmp_path / "same").write_bytes(content)
            path.unlink()
            path.symlink_to(tmp_path / "same")
        case "parent a link":
            path.parent.rename(tmp_path / "lib")
            path.parent.symlink_to(tmp_path / "lib")
    dist.mkdir()
    (dist / "app").write_text("old")
    with pytest.raises(DamagedError, match=r"is damaged: .*lib") as raised:
        store.restore(entry, "app", dist / "app")
    assert raised.value.hint and "run the same command again" in raised.value.hint
    assert (dist / "app").read_text() == "old"
    assert list(dist.iterdir()) == [dist / "app"]
    assert store.get(KEY) is None
    assert len(list((store.root / "quarantine").iterdir())) == 1
    store.restore(store.make(KEY, build), "app", dist / "app")
    assert digest(dist / "app") != ""


def test_a_destination_that_cannot_be_made_is_explained(store: Store, entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="could not copy out of the store"):
        store.restore(entry, "app", tmp_path / "file" / "x")
    assert store.get(KEY) == entry


def test_leftovers_of_killed_restores_are_swept(store: Store, entry: Entry, dist: Path) -> None:
    dist.mkdir()
    dead = dist / ".py-portable-restore-0123456789abcdef"
    (dead / "lib").mkdir(parents=True)
    (dist / ".py-portable-restore-0123456789abcdee").touch()
    alike = dist / ".py-portable-restore-notes"
    alike.touch()
    program = (
        "import fcntl, os, sys\nos.mkdir(sys.argv[1]); f = os.open(sys.argv[1], 0)\n"
        "fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); os.read(0, 1)"
    )
    living = dist / ".py-portable-restore-fedcba9876543210"
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(living)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stdin
    child.stdout.readline()
    store.restore(entry, "app", dist / "app")
    assert sorted(dist.iterdir()) == sorted([living, alike, dist / "app"])
    child.stdin.close()
    child.wait()
    store.restore(entry, "app", dist / "app")
    assert not living.exists()


def test_readers_never_see_a_half_replaced_folder(store: Store, entry: Entry, dist: Path) -> None:
    store.restore(entry, "app", dist / "app")
    stop = threading.Event()
    missing = []

    def watch() -> None:
        while not stop.is_set():
            if not (dist / "app").exists():
                missing.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    threads = [threading.Thread(target=store.restore, args=(entry, "app", dist / "app")) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    watcher.join()
    assert missing == []
    assert digest(dist / "app") == digest(entry.path / "app")
    assert list(dist.iterdir()) == [dist / "app"]


def touched_as(change: str, file: Path) -> None:
    before = file.stat()
    match change:
        case "other bytes of the same length and time":
            file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "another mode":
            file.chmod(0o600)
        case "another file with the same bytes in its place":
            fresh = file.with_name("fresh")
            shutil.copy2(file, fresh)
            fresh.replace(file)
        case "gone":
            file.unlink()


@pytest.mark.parametrize("payload", ["app", "folder"])
@pytest.mark.parametrize(
    ("change", "still"),
    [
        ("other bytes of the same length and time", False),
        ("another mode", False),
        ("another file with the same bytes in its place", True),
        ("gone", False),
    ],
)
def test_what_lies_in_its_place_is_hashed_once_and_again_when_it_was_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payload: str, change: str, still: bool
) -> None:
    def build(work: Path) -> dict[str, object]:
        (work / "out" / "folder").mkdir()
        for name in ("app", "folder/inner"):
            (work / "out" / name).write_bytes(b"bytes")
            (work / "out" / name).chmod(0o755)
        return {}

    store = Store(tmp_path / "store")
    entry = store.make("0" * 64, build)
    part, place = store.part(entry, payload), tmp_path / "dist"
    store.restore(entry, payload, place)
    hashed: list[Path] = []

    def watched(self: Part, there: Path) -> bool:
        hashed.append(there)
        return real(self, there)

    real = Part.is_at
    monkeypatch.setattr(Part, "is_at", watched)
    assert [store.is_at(part, place) for _ in range(3)] == [True] * 3
    assert hashed == [place]
    touched_as(change, place if payload == "app" else place / "inner")
    assert store.is_at(part, place) is still
    assert change == "gone" or hashed == [place, place]
