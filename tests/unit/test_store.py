"""The store: make, get, verify, restore, collect."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from py_portable.errors import StepError
from py_portable.store import DamagedError, Entry, Store, StoreError, default_root, digest, gc, manifest
from py_portable.store.locks import FileLock, lock, try_lock
from py_portable.store.manifest import decode

KEY = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


def build(work: Path) -> Mapping[str, object]:
    out = work / "out"
    assert list(out.iterdir()) == []
    (out / "bin").mkdir()
    (out / "bin").chmod(0o755)
    (out / "bin" / "tool").write_bytes(b"#!/bin/sh\n")
    (out / "bin" / "tool").chmod(0o755)
    (out / "bin" / "alias").symlink_to("tool")
    (out / os.fsdecode(b"n\xe4me\n")).write_bytes(b"odd")
    (work / "log").write_text("did it\n")
    (work / "rubbish").mkdir()
    (work / "rubbish" / "f").touch()
    return {"version": "1.0", "words": ("a", "b")}


def never(work: Path) -> Mapping[str, object]:
    raise AssertionError("built again")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def entry(store: Store) -> Entry:
    return store.make(KEY, build)


def leftovers(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "tmp").iterdir())


def test_what_was_made_is_found_again(store: Store) -> None:
    assert store.get(KEY) is None
    assert not store.root.exists()
    made = store.make(KEY, build)
    assert made == store.make(KEY, never) == store.get(KEY) == Store(store.root).get(KEY)
    assert made.key == KEY
    assert made.path == store.root / "objects" / KEY[:2] / KEY / "out"
    assert made.meta == {"version": "1.0", "words": ["a", "b"]}
    assert made.log.read_text() == "did it\n"
    assert made.digest == digest(made.path)
    assert sorted(path.name for path in made.path.parent.iterdir()) == [
        "entry.json", "log", "manifest", "out", "seal", "used"
    ]  # fmt: skip
    store.verify(made)
    assert leftovers(store) == []


def test_the_digest_does_not_depend_on_the_store_the_key_or_the_umask_at_the_top(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        one = Store(tmp_path / "one").make(KEY, lambda work: {})
    finally:
        os.umask(before)
    two = Store(tmp_path / "two").make(OTHER, lambda work: {"other": 1})
    assert one.digest == two.digest


def test_a_step_without_a_log_has_an_empty_one(store: Store) -> None:
    assert store.make(KEY, lambda work: {}).log.read_text() == ""


@pytest.mark.parametrize("key", ["", "short", "../../../etc/x", "a/b" * 9, "A" * 64, "sha256:" + "a" * 64, ".a" * 9])
def test_a_key_is_no_path(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        store.get(key)
    with pytest.raises(ValueError, match="not a key"):
        store.make(key, build)


def test_the_store_is_closed_to_others(entry: Entry, store: Store) -> None:
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700
    assert (store.root / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    store.root.chmod(0o777)
    with pytest.raises(StoreError, match="others can write") as raised:
        Store(store.root)
    assert raised.value.hint == f"run: chmod go-w {store.root}"


def test_a_store_of_somebody_else_is_refused(store: Store, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StoreError, match=f"belongs to uid {os.getuid()}, and this is uid {os.getuid() + 1}"):
        Store(store.root)


def test_a_folder_with_other_things_is_not_taken_over(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(StoreError, match=r"not empty: thesis\.txt"):
        Store(tmp_path).make(KEY, build)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert list(tmp_path.iterdir()) == [tmp_path / "thesis.txt"]
    (tmp_path / "thesis.txt").rename(tmp_path / "objects")
    with pytest.raises(StoreError, match="could not make the store"):
        Store(tmp_path).make(KEY, build)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(StoreError, match="not a folder"):
        Store(tmp_path / "f")


def test_a_failed_build_keeps_its_log_and_nothing_else(store: Store) -> None:
    def fail(work: Path) -> Mapping[str, object]:
        (work / "out" / "half").touch()
        (work / "log").write_text("the reason\n")
        raise StepError("compiling failed", log=work / "log")

    with pytest.raises(StepError, match="compiling failed") as raised:
        store.make(KEY, fail)
    assert raised.value.log is not None
    assert raised.value.log.parent == store.root / "logs" / "failed"
    assert raised.value.log.read_text() == "the reason\n"
    assert leftovers(store) == []
    assert store.get(KEY) is None
    assert store.make(KEY, build)


def test_a_failed_build_without_a_log_names_none(store: Store) -> None:
    def fail(work: Path) -> Mapping[str, object]:
        raise StepError("no", log=work / "log")

    with pytest.raises(StepError) as raised:
        store.make(KEY, fail)
    assert raised.value.log is None


@pytest.mark.parametrize("problem", [RuntimeError("bug"), KeyboardInterrupt()])
def test_any_exception_is_passed_on_with_the_log_named(store: Store, problem: BaseException) -> None:
    def fail(work: Path) -> Mapping[str, object]:
        (work / "log").write_text("so far\n")
        raise problem

    with pytest.raises(type(problem)) as raised:
        store.make(KEY, fail)
    assert raised.value is problem
    (kept,) = (store.root / "logs" / "failed").iterdir()
    assert raised.value.__notes__ == [f"log: {kept}"]
    assert leftovers(store) == []


def test_a_full_disk_in_the_build_is_explained(store: Store) -> None:
    def fill(work: Path) -> Mapping[str, object]:
        (work / "log").write_text("so far\n")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(work / "out" / "big"))

    with pytest.raises(StoreError) as raised:
        store.make(KEY, fill)
    text = raised.value.render()
    assert "could not do the step: No space left on device" in text
    assert "out/big" in text
    assert "MB and" in text
    assert "are free at" in text
    assert "PY_PORTABLE_STORE" in text
    assert "logs/failed" in text


def test_meta_that_is_no_json_leaves_nothing(store: Store) -> None:
    with pytest.raises(TypeError):
        store.make(KEY, lambda work: {"x": object()})
    assert store.get(KEY) is None
    assert leftovers(store) == []


@pytest.mark.parametrize(
    "damage",
    ["entry.json empty", "entry.json changed", "entry.json gone", "entry.json array", "manifest changed",
     "manifest gone", "out gone", "out link"],
)  # fmt: skip
def test_damage_that_get_sees_counts_as_missing_and_is_moved_aside(store: Store, entry: Entry, damage: str) -> None:
    folder = entry.path.parent
    name, how = damage.split()
    path = folder / name
    match how:
        case "empty":
            path.write_bytes(b"")
        case "changed":
            path.write_text(path.read_text().replace("1.0", "2.0").replace("0755", "0777"))
        case "array":
            path.write_text("[]")
        case "gone" | "link":
            path.rename(folder / "elsewhere")
            if how == "link":
                path.symlink_to("elsewhere")
    assert store.get(KEY) is None
    assert not folder.exists()
    (aside,) = (store.root / "quarantine").iterdir()
    assert aside.name.startswith(KEY)
    again = store.make(KEY, build)
    assert again.digest == entry.digest
    store.verify(again)


def test_an_entry_under_a_foreign_name_is_not_believed(store: Store, entry: Entry) -> None:
    place = store.root / "objects" / OTHER[:2]
    place.mkdir()
    entry.path.parent.rename(place / OTHER)
    assert store.get(OTHER) is None
    assert store.get(KEY) is None


def test_get_does_not_wait_for_who_holds_the_key(store: Store, entry: Entry) -> None:
    (entry.path.parent / "entry.json").write_text("{}")
    started, go = threading.Event(), threading.Event()

    def slow(work: Path) -> Mapping[str, object]:
        started.set()
        assert go.wait(10)
        return build(work)

    with ThreadPoolExecutor() as pool:
        made = pool.submit(store.make, KEY, slow)
        assert started.wait(10)
        assert store.get(KEY) is None
        go.set()
        assert made.result().digest == entry.digest


def test_verify_names_what_changed(store: Store, entry: Entry) -> None:
    (entry.path / "bin" / "tool").write_bytes(b"#!/bin/xx\n")
    (entry.path / "new").touch()
    with pytest.raises(DamagedError) as raised:
        store.verify(entry)
    assert "bin/tool: other contents" in raised.value.what
    assert "new: was not there" in raised.value.what
    assert raised.value.hint and "again" in raised.value.hint
    assert raised.value.exit_code == 4
    store.set_aside(KEY)
    with pytest.raises(DamagedError, match="it was removed or replaced"):
        store.verify(entry)
    assert store.make(KEY, build).digest == entry.digest


def test_one_builds_and_the_others_wait(store: Store) -> None:
    count = 0

    def slow(work: Path) -> Mapping[str, object]:
        nonlocal count
        count += 1
        time.sleep(0.1)
        return build(work)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: store.make(KEY, slow), range(8)))
    assert count == 1
    assert len({entry.digest for entry in made}) == 1


def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_stay(store: Store) -> None:
    program = (
        "import sys, os\nfrom pathlib import Path\nfrom py_portable.store import Store\n"
        "with Store(Path(sys.argv[1])).scratch('thing') as path:\n"
        "    (path / 'f').touch(); print(path, flush=True); os.read(0, 1)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    path = Path(child.stdout.readline().strip())
    (store.root / "tmp" / "nobody").mkdir()
    store.make(KEY, build)
    assert (path / "f").exists()
    assert leftovers(store) == [path.name, f"{path.name}.lock"]
    child.kill()
    child.wait()
    assert path.exists()
    Store(store.root).make(OTHER, build)
    assert leftovers(store) == []


def test_scratch_and_cache(store: Store) -> None:
    with store.scratch("cell") as one, store.scratch("cell") as two:
        assert one != two
        assert one.stat().st_dev == store.root.stat().st_dev
        (one / "f").touch()
    assert not one.exists()
    assert not two.exists()
    with pytest.raises(ZeroDivisionError), store.scratch("cell") as three:
        1 / 0  # noqa: B018
    assert not three.exists()
    cache = store.cache("ccache")
    (cache / "f").touch()
    assert store.cache("ccache") == cache
    for name in ("..", "a/b", "", ".x"):
        with pytest.raises(ValueError, match="not a name"):
            store.cache(name)


def age(store: Store, key: str, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(store.root / "objects" / key[:2] / key / "used", (then, then))


def collect_elsewhere(store: Store, days: float) -> int:
    """By another process: one that uses nothing."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom py_portable.store import Store\n"
        "print(Store(Path(sys.argv[1])).gc(keep_days=float(sys.argv[2])))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(store.root), str(days)], capture_output=True, check=True)
    return int(done.stdout)


MAKE = """
import sys
from pathlib import Path
from py_portable.store import Store
for key in sys.argv[2:]:
    Store(Path(sys.argv[1])).make(key, lambda work: {})
"""


def test_what_is_old_is_collected_unless_it_is_in_use(store: Store) -> None:
    subprocess.run([sys.executable, "-c", MAKE, str(store.root), KEY, OTHER], check=True)
    assert collect_elsewhere(store, 1) == 0
    age(store, KEY, 3)
    assert collect_elsewhere(store, 4) == 0
    age(store, OTHER, 3)
    mine = store.get(KEY)
    assert mine
    age(store, KEY, 3)
    assert collect_elsewhere(store, 1) == 1
    assert store.gc(keep_days=1) == 0
    assert mine.path.is_dir()
    assert store.get(OTHER) is None
    assert leftovers(store) == []
    assert not list((store.root / "locks").glob(f"{OTHER}*"))


def test_a_cache_that_nobody_asks_for_any_more_goes_too(store: Store) -> None:
    for name in ("old", "asked"):
        (store.cache(name) / "file").touch()
        then = time.time() - 3 * 86400
        os.utime(store.root / "cache" / name, (then, then))
    store.cache("asked")
    collect_elsewhere(store, 1)
    assert sorted(path.name for path in (store.root / "cache").iterdir()) == ["asked"]
    assert leftovers(store) == []


def test_a_use_renews_the_lease(store: Store) -> None:
    subprocess.run([sys.executable, "-c", MAKE, str(store.root), KEY], check=True)
    age(store, KEY, 30)
    subprocess.run([sys.executable, "-c", MAKE, str(store.root), KEY], check=True)
    assert collect_elsewhere(store, 1) == 0


def test_a_use_while_the_collector_looks_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-c", MAKE, str(store.root), KEY], check=True)
    age(store, KEY, 30)

    def used_meanwhile(path: Path, note: Mapping[str, Any]) -> FileLock | None:
        age(store, KEY, 0)
        return try_lock(path, note)

    monkeypatch.setattr(gc, "try_lock", used_meanwhile)
    assert store.gc(keep_days=1) == 0
    assert store.get(KEY)


def test_what_is_being_made_is_not_collected(store: Store) -> None:
    subprocess.run([sys.executable, "-c", MAKE, str(store.root), KEY], check=True)
    age(store, KEY, 30)
    held = lock(store.root / "locks" / f"{KEY}.lock", "it")
    assert collect_elsewhere(store, 1) == 0
    held.release()
    assert collect_elsewhere(store, 1) == 1


def test_old_failures_and_damage_are_collected_too(store: Store) -> None:
    def fail(work: Path) -> Mapping[str, object]:
        (work / "log").write_text("x")
        raise StepError("no")

    store.make(KEY, build)
    with pytest.raises(StepError):
        store.make(OTHER, fail)
    store.set_aside(KEY)
    assert store.gc(keep_days=1) == 0
    assert len([*(store.root / "logs" / "failed").iterdir(), *(store.root / "quarantine").iterdir()]) == 2
    assert store.gc(keep_days=0) == 0
    assert [*(store.root / "logs" / "failed").iterdir(), *(store.root / "quarantine").iterdir()] == []


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"PY_PORTABLE_STORE": "/big/store", "XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/big/store"),
        ({"PY_PORTABLE_STORE": "", "XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/py-portable"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/py-portable"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/py-portable"),
    ],
)
def test_where_the_store_is(environ: dict[str, str], expected: str) -> None:
    assert default_root(environ) == Path(expected)


def test_a_relative_store_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_root({"PY_PORTABLE_STORE": "s"}) == tmp_path / "s"


def test_a_prefix_is_used_to_hash_and_remembered(store: Store, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\necho "$*" >>{calls}\nexec "$@"\n')
    wrapper.chmod(0o755)
    made = store.make(KEY, build, prefix=(str(wrapper),))
    assert made.digest == Store(tmp_path / "two").make(KEY, build).digest
    assert json.loads((made.path.parent / "entry.json").read_text())["prefix"] == [str(wrapper)]
    store.verify(made)
    words = [line.split()[-2] for line in calls.read_text().splitlines()]
    assert words == ["hash", "hash"]


def test_a_prefix_that_fails_is_an_error_with_its_words(store: Store) -> None:
    with pytest.raises(StoreError, match="reading a tree of foreign ids failed with exit status 1"):
        store.make(KEY, build, prefix=("false",))
    assert leftovers(store) == []


def test_the_module_logs_and_never_prints(
    store: Store, entry: Entry, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry.path.parent / "entry.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        store.make(KEY, build)
    assert "the stored result of step 0123456789ab is damaged: entry.json can't be read (it is kept in" in caplog.text
    assert "until `py-portable gc` removes it); it is made again now" in caplog.text
    assert capsys.readouterr() == ("", "")


def test_the_manifest_on_disk_is_that_of_the_tree(entry: Entry) -> None:
    assert decode((entry.path.parent / "manifest").read_bytes()) == manifest(entry.path)
