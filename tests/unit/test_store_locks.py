"""Locks and leases: exact about who lives."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from py_portable.store import locks
from py_portable.store.locks import Leases, lock, owner_note, process_leases, read_note, started, try_lock

HOLD = """
import sys, time
from pathlib import Path
from py_portable.store.locks import Leases, lock
if sys.argv[1] == "lease":
    leases = Leases(Path(sys.argv[2])); leases.take(sys.argv[3])
else:
    held = lock(Path(sys.argv[2]), "it")
print("held", flush=True)
time.sleep(60)
"""


def holder(*words: str) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, *words], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    assert child.stdout.readline() == "held\n"
    return child


def test_a_lock_excludes_threads_of_one_process(tmp_path: Path) -> None:
    held = try_lock(tmp_path / "l", owner_note())
    assert held
    assert try_lock(tmp_path / "l", owner_note()) is None
    held.release()
    again = try_lock(tmp_path / "l", owner_note())
    assert again
    again.release(remove=True)
    assert not (tmp_path / "l").exists()


def test_a_removed_lock_file_never_gives_two_holders(tmp_path: Path) -> None:
    inside = 0
    worst = 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, worst
        for _ in range(40):
            held = lock(tmp_path / "l", "it")
            with guard:
                inside += 1
                worst = max(worst, inside)
            time.sleep(0)
            with guard:
                inside -= 1
            held.release(remove=True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst == 1


def test_a_lock_file_removed_between_open_and_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "l"
    calls: list[int] = []

    def flock(handle: int, how: int) -> None:
        if not calls:
            path.unlink()
        calls.append(handle)
        fcntl.flock(handle, how)

    monkeypatch.setattr(locks, "fcntl", SimpleNamespace(**{**vars(fcntl), "flock": flock}))
    held = try_lock(path, owner_note())
    assert held
    assert len(calls) == 2
    assert os.fstat(held.handle).st_ino == path.stat().st_ino
    held.release()


def test_a_killed_holder_frees_its_lock_and_the_waiter_named_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    child = holder("lock", str(tmp_path / "l"))
    note = read_note(tmp_path / "l")
    assert (note["pid"], note["start"]) == (child.pid, started(child.pid))
    threading.Timer(1.6, child.send_signal, [signal.SIGKILL]).start()
    begin = time.monotonic()
    lock(tmp_path / "l", "step abc").release()
    assert time.monotonic() - begin > 1.0
    child.wait()
    assert caplog.messages == [f"step abc: waiting for process {child.pid}, which is working on it"]


def test_a_short_wait_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    held = lock(tmp_path / "l", "it")
    threading.Timer(0.2, held.release).start()
    lock(tmp_path / "l", "it").release()
    assert caplog.messages == []


def test_a_lease_ends_with_its_process(tmp_path: Path) -> None:
    child = holder("lease", str(tmp_path / "leases"), "key-one")
    collector = Leases(tmp_path / "leases")
    assert not collector.claim("key-one")
    assert collector.claim("key-two")
    child.kill()
    child.wait()
    assert collector.claim("key-one")
    collector.close()


def test_leases_of_this_process_bind_its_own_collector(tmp_path: Path) -> None:
    mine = process_leases(tmp_path / "leases")
    assert process_leases(tmp_path / "leases") is mine
    mine.take("key-one")
    mine.take("key-one")
    collector = Leases(tmp_path / "leases")
    assert not collector.claim("key-one")
    assert collector.claim("key-two")
    taken = threading.Event()

    def take() -> None:
        mine.take("key-two")
        taken.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    assert not taken.wait(0.1)
    collector.waive("key-two")
    assert taken.wait(5)
    waiting.join()
    collector.close()


def test_who_is_gone_has_no_start_and_notes_may_be_rubbish(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert started(child.pid) is None
    assert started(os.getpid())
    for content in (b"", b"{", b"[1]", b"\xff"):
        (tmp_path / "note").write_bytes(content)
        assert read_note(tmp_path / "note") == {}
    assert read_note(tmp_path / "nothing") == {}
