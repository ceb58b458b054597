"""The seal of an object: any single change of a tree is seen without reading it, and nothing else is taken for one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_portable.doctor import store_check
from py_portable.store import DamagedError, Examined, Store, StoreError, seal
from py_portable.store.whole import SEAL

KEY = "0123456789abcdef" * 4
NAMES = st.text("ab\nä é.", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=4), min_size=1, max_size=6
)


def plant(folder: Path, tree: Mapping[str, bytes]) -> list[Path]:
    """The files that could be made: a name may be a folder for one and a file for another."""
    made = []
    for name, data in tree.items():
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / name).is_dir():
                (folder / name).write_bytes(data)
                made.append(folder / name)
        except (FileExistsError, NotADirectoryError):
            continue
    return made


def rewrite(path: Path) -> None:
    """Other bytes of the same length, and the times put back as far as a program can."""
    before = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()) or b"\0")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def put_another_in_its_place(path: Path) -> None:
    fresh = path.with_name("fresh-one")
    shutil.copy2(path, fresh)
    fresh.replace(path)


def truncate(path: Path) -> None:
    with path.open("ab") as stream:
        stream.truncate(path.stat().st_size + 1)


CHANGES: dict[str, Callable[[Path], object]] = {
    "other bytes": rewrite,
    "longer": truncate,
    "another mode": lambda path: path.chmod(path.stat().st_mode ^ 0o001),
    "gone": lambda path: path.unlink(),
    "another name": lambda path: path.rename(path.with_name("another-name")),
    "another file in its place": put_another_in_its_place,
    "one more beside it": lambda path: path.with_name("one-more").touch(),
    "one more folder": lambda path: path.with_name("one-more").mkdir(),
    "a link to it": lambda path: path.with_name("one-more").symlink_to(path.name),
    "a second name for it": lambda path: path.with_name("one-more").hardlink_to(path),
    "its folder's mode": lambda path: path.parent.chmod(path.parent.stat().st_mode ^ 0o001),
    "the mode of the top": lambda path: None,
}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES, data=st.data())
@pytest.mark.parametrize("change", CHANGES)
def test_any_single_change_is_seen(
    tmp_path_factory: pytest.TempPathFactory, change: str, tree: dict[str, bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    try:
        files = plant(folder, tree)
        before = seal.look(folder)
        seal.settle(before)
        assert seal.look(folder) == before
        CHANGES[change](data.draw(st.sampled_from(files)))
        if change == "the mode of the top":
            folder.chmod(0o711)
        assert seal.look(folder).value != before.value
    finally:
        shutil.rmtree(folder)


def test_reading_changes_nothing(tmp_path: Path) -> None:
    (file,) = plant(tmp_path, {"a/b": b"text"})
    before = seal.look(tmp_path)
    file.read_bytes()
    list(file.parent.iterdir())
    os.utime(file.parent.parent.parent)
    assert seal.look(tmp_path) == before


def test_no_link_is_followed_and_nothing_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out").symlink_to("/")
    (tmp_path / "loop").symlink_to(".")
    assert seal.look(tmp_path) == seal.look(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    with pytest.raises(OSError, match="Not a directory"):
        seal.look(tmp_path / "out")


def test_settling_waits_until_a_change_is_one(tmp_path: Path) -> None:
    (file,) = plant(tmp_path, {"a": b"1"})
    for _ in range(20):
        state = seal.look(tmp_path)
        began = time.monotonic()
        seal.settle(state)
        assert time.monotonic() - began < 1
        rewrite(file)
        assert seal.look(tmp_path) != state


def test_a_clock_that_was_set_back_is_not_waited_for() -> None:
    began = time.monotonic()
    seal.settle(seal.State("", time.time_ns() + 3_600_000_000_000))
    assert time.monotonic() - began < 1


def build(work: Path) -> Mapping[str, object]:
    (work / "out" / "lib").mkdir()
    (work / "out" / "lib" / "libm.so").write_bytes(b"code" * 1000)
    return {}


def never(work: Path) -> Mapping[str, object]:
    raise AssertionError("made again")


def test_an_object_is_sealed_when_it_is_made_and_looked_at_once_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    look = seal.look
    monkeypatch.setattr(seal, "look", lambda folder: looked.append(folder) or look(folder))
    made = Store(tmp_path / "store").make(KEY, build)
    assert (made.path.parent / SEAL).read_text() == seal.text(made.digest, look(made.path))
    looked.clear()
    store = Store(tmp_path / "store")
    for _ in range(3):
        assert store.get(KEY) == made
    assert looked == [made.path]


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    from py_portable.store import whole

    seen: list[Path] = []
    hash_tree = whole.hash_tree
    monkeypatch.setattr(whole, "hash_tree", lambda folder, prefix=(): seen.append(folder) or hash_tree(folder, prefix))
    return seen


@pytest.mark.parametrize("how", ["no seal", "another seal", "half a seal", "touched", "a second name for a file"])
def test_without_a_seal_that_fits_it_is_hashed_and_sealed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    made = Store(tmp_path / "store").make(KEY, build)
    path, library = made.path.parent / SEAL, made.path / "lib" / "libm.so"
    match how:
        case "no seal":
            path.unlink()
        case "another seal":
            path.write_text(f"{made.digest} {'0' * 64}\n")
        case "half a seal":
            path.write_text(path.read_text()[:40])
        case "touched":
            os.utime(library)
        case _:
            (tmp_path / "twin").hardlink_to(library)
    seen = hashed(monkeypatch)
    assert Store(tmp_path / "store").make(KEY, never) == made
    assert seen == [made.path]
    assert Store(tmp_path / "store").make(KEY, never) == made
    assert seen == [made.path], "it was hashed a second time"


def test_the_seal_of_another_object_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    one = store.make(KEY, build)
    other = store.make("f" * 64, lambda work: {})
    shutil.copy(other.path.parent / SEAL, one.path.parent / SEAL)
    assert Store(tmp_path / "store").make(KEY, never) == one


def test_a_folder_where_the_seal_should_be_costs_hashing_and_nothing_else(tmp_path: Path) -> None:
    made = Store(tmp_path / "store").make(KEY, build)
    (made.path.parent / SEAL).unlink()
    (made.path.parent / SEAL).mkdir()
    assert Store(tmp_path / "store").make(KEY, never) == made


def test_a_store_that_was_copied_is_hashed_and_what_was_lost_on_the_way_is_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a cache of CI is: sizes, modes and times of the files are those of the original."""
    made = Store(tmp_path / "store").make(KEY, build, title="the library")
    subprocess.run(["cp", "-a", tmp_path / "store", tmp_path / "whole"], check=True)
    rewrite(made.path / "lib" / "libm.so")
    subprocess.run(["cp", "-a", tmp_path / "store", tmp_path / "lost"], check=True)
    assert Store(tmp_path / "whole").make(KEY, never).digest == made.digest
    assert caplog.text == ""
    assert Store(tmp_path / "lost").get(KEY) is None
    assert "the stored result of the library is damaged: lib/libm.so: other contents" in caplog.text


def test_what_changes_while_it_is_kept_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that a step left running writes into its output after that was hashed."""
    from py_portable.store import whole

    hash_tree = whole.hash_tree

    def hashed_and_changed(folder: Path, prefix: tuple[str, ...] = ()) -> bytes:
        data = hash_tree(folder, prefix)
        rewrite(folder / "lib" / "libm.so")
        return data

    store = Store(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(whole, "hash_tree", hashed_and_changed)
        with pytest.raises(StoreError, match="still being changed"):
            store.make(KEY, build)
    assert store.get(KEY) is None
    store.verify(store.make(KEY, build))


def test_a_thousand_files_are_looked_at_quickly(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number}").touch()
    best = min(_seconds(lambda: seal.look(tmp_path)) for _ in range(5))
    assert best < 0.1, "8,000 files have to take well under 0.1 s on a machine that is not this busy"


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def test_an_object_is_hashed_on_demand_and_moved_aside_where_it_is_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = store.make(KEY, build, title="the library")
    store.require(KEY, None, "f" * 64)
    found = store.examine(KEY)
    assert (found.state, found.title, found.size) == ("whole", "the library", 4000)
    rewrite(made.path / "lib" / "libm.so")
    with pytest.raises(DamagedError, match=r"the library is damaged: lib/libm\.so: other contents") as raised:
        store.require(KEY)
    assert raised.value.exit_code == 4 and "makes it again" in str(raised.value.hint)
    assert store.examine(KEY).state == "gone"
    assert store.get(KEY) is None


@pytest.mark.parametrize("where", ["", "lib", "lib/libm.so"])
def test_a_path_in_the_store_leads_to_its_key(tmp_path: Path, where: str) -> None:
    store = Store(tmp_path / "store")
    made = store.make(KEY, build)
    assert store.key_of(made.path / where) == KEY
    for other in (made.log, made.path.parent, store.root, tmp_path, made.path / ".." / ".." / "x" / "out"):
        assert store.key_of(other) is None, other


def test_a_file_that_its_owner_may_not_read_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is one that the disk does not give any more: the error of the read is what is told."""
    made = Store(tmp_path / "store").make(KEY, build)
    os.utime(made.path / "lib" / "libm.so")

    def broken(handle: int, buffers: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "readv", broken)
    found = Store(tmp_path / "store").examine(KEY)
    assert (found.state, found.damage) == ("damaged", "a file: Input/output error")


def test_what_this_process_lacks_damages_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Store(tmp_path / "store").make(KEY, build)
    os.utime(made.path / "lib" / "libm.so")

    def broken(handle: int, buffers: object) -> int:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "readv", broken)
    found = Store(tmp_path / "store").examine(KEY)
    assert found.state == "unread" and "Cannot allocate memory" in found.damage
    Store(tmp_path / "store").require(KEY)
    with pytest.raises(StoreError, match="Cannot allocate memory"):
        Store(tmp_path / "store").get(KEY)
    monkeypatch.undo()
    assert Store(tmp_path / "store").get(KEY) == made


def test_the_doctor_says_what_it_could_not_read() -> None:
    found = (
        Examined("a" * 64, "unread", "image debian:12", "reading a tree of foreign ids failed"),
        Examined("b" * 64, "whole", "a wheel", size=2_000_000),
        Examined("c" * 64, "busy"),
    )
    checked = store_check.StoreCheck("/store", found, 0)
    assert not checked.sound
    assert store_check.render(checked) == [
        "Checked 1 stored result (2 MB are as they were stored).",
        "Could not be read: image debian:12: reading a tree of foreign ids failed",
        "1 result could not be checked: other runs are working on them now.",
    ]
    assert store_check.render(checked, quiet=True) == store_check.render(checked)[1:2]
