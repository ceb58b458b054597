"""Running a command: what is captured, what is ended, what is said."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.base import process
from py_portable.base.capture import Captured, Window
from py_portable.base.process import check, require, run
from py_portable.errors import MachineError, StepError, UnmetError


def sh(script: str, **options: object) -> process.Outcome:
    return run(["sh", "-c", script], **options)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_both_streams_and_the_status() -> None:
    outcome = sh("echo out; echo err >&2; exit 3")
    assert (outcome.stdout.text, outcome.stderr.text, outcome.status) == ("out\n", "err\n", 3)
    assert not outcome.ok and not outcome.timed_out
    assert outcome.argv[0] == "sh"
    assert sh("kill -TERM $$").status == -signal.SIGTERM


def test_stdin_is_empty_and_the_environment_is_only_what_is_given() -> None:
    assert sh("cat; env -u PWD -u OLDPWD -u SHLVL -u _", env={"A": "b"}).stdout.text == "A=b\n"


def test_only_the_named_file_descriptors_are_inherited(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as kept, (tmp_path / "b").open("w") as closed:
        os.set_inheritable(closed.fileno(), True)
        found = sh("ls -l /proc/self/fd", pass_fds=(kept.fileno(),)).stdout.text
    assert f"-> {tmp_path}/a\n" in found
    assert f"-> {tmp_path}/b\n" not in found


def test_a_hundred_megabytes_are_counted_and_not_kept() -> None:
    outcome = sh("head -c 50000000 /dev/zero; echo; head -c 50000000 /dev/zero", capture_bytes=1000)
    assert outcome.stdout.total == 100_000_001
    assert len(outcome.stdout.head) == len(outcome.stdout.tail) == 500
    assert b"\n[... 99999001 bytes left out ...]\n" in outcome.stdout.data


def test_binary_output_is_shown_with_replacement_characters() -> None:
    assert sh(r"printf 'a\377b'").stdout.text == "a�b"


@given(chunks=st.lists(st.binary(max_size=40), max_size=30), limit=st.integers(1, 64))
def test_a_window_keeps_head_and_tail(chunks: list[bytes], limit: int) -> None:
    window = Window(limit)
    for chunk in chunks:
        window.feed(chunk)
    whole, found, half = b"".join(chunks), window.done(), max(limit // 2, 1)
    assert found.total == len(whole)
    assert whole.startswith(found.head) and whole.endswith(found.tail)
    assert len(found.head) <= half and len(found.tail) <= half
    if len(whole) <= 2 * half:
        assert found.data == whole
    else:
        assert found.data.startswith(found.head + b"\n[... ") and found.data.endswith(found.tail)


def test_the_time_limit_ends_what_ignores_signals_and_its_children() -> None:
    started = time.monotonic()
    outcome = sh("trap '' TERM INT HUP; sh -c \"trap '' TERM; sleep 600\" & echo $!; sleep 600", timeout=0.5)
    assert outcome.timed_out and not outcome.ok
    assert time.monotonic() - started < process.KILL_GRACE_SECONDS
    wait_for(lambda: not alive(int(outcome.stdout.text)))


def test_an_orphan_of_the_group_is_ended_with_the_command() -> None:
    outcome = sh("sleep 600 >/dev/null 2>&1 & echo $!")
    assert outcome.ok
    wait_for(lambda: not alive(int(outcome.stdout.text)))


def test_an_orphan_that_holds_the_pipes_is_not_waited_for_long() -> None:
    outcome = sh("setsid sleep 600 & echo $!")
    try:
        assert outcome.ok and not outcome.timed_out
        assert outcome.seconds < process.KILL_GRACE_SECONDS + 2
    finally:
        os.kill(int(outcome.stdout.text), signal.SIGKILL)


def test_the_last_words_of_an_orphan_are_heard() -> None:
    assert sh("(sleep 0.2; echo late) & echo early").stdout.text == "early\nlate\n"


def test_an_interrupt_ends_the_command(tmp_path: Path) -> None:
    class Interrupt(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        with pytest.raises(Interrupt):
            sh(f"echo $$ > {tmp_path}/pid; sleep 600")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_child_outlives_the_thread_that_asked_for_it() -> None:
    words = ["setpriv", "--pdeathsig", "KILL", "--", "sleep", "60"]
    found: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: found.append(process._spawner.popen(words)))
    thread.start()
    thread.join()
    try:
        time.sleep(0.2)
        assert found[0].poll() is None
    finally:
        process.kill(found[0])
        assert found[0].wait() == -signal.SIGKILL


def test_many_at_once() -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(sh(f"sleep 0.1; echo {n}").stdout.text)) for n in range(20)
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, found)) == list(range(20))
    assert time.monotonic() - started < 20 * 0.1 + 1


def test_the_log_gets_the_command_and_both_streams(tmp_path: Path) -> None:
    log = tmp_path / "log"
    sh("echo out; sleep 0.1; echo err >&2", log=log)
    assert log.read_text() == "$ sh -c 'echo out; sleep 0.1; echo err >&2'\nout\nerr\n"
    outcome = sh("exit 1; echo secret", log=log, shown=["sh", "..."])
    assert log.read_text().endswith("\nerr\n$ sh ...\n")
    assert outcome.argv == ("sh", "...")


def test_a_log_that_cannot_be_written_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        sh(f"touch {tmp_path}/ran", log=tmp_path / "none" / "log")
    time.sleep(0.1)
    assert not (tmp_path / "ran").exists()


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(MachineError) as caught:
        run(["/nonexistent/program"])
    assert "/nonexistent/program cannot be started: No such file or directory" in str(caught.value)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo why >&2; exit 9", "it failed with exit status 9"),
        ("kill -KILL $$", "it was killed by SIGKILL"),
        ("kill -50 $$", "it was killed by signal 50"),
    ],
)
def test_a_failure_says_how(script: str, said: str) -> None:
    with pytest.raises(UnmetError) as caught:
        check(["sh", "-c", script], what="it", error=UnmetError, hint="do that")
    assert caught.value.what == said
    assert caught.value.hint == "do that"


def test_a_failure_shows_the_last_lines_and_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(StepError) as caught:
        check(["sh", "-c", "seq 9000; exit 1"], what="counting", log=log)
    assert "  | 9000" in caught.value.render().splitlines()
    assert caught.value.render().count("\n") < 40
    assert f"  log: {log}" in caught.value.render()


@pytest.mark.parametrize("length", [10, 9000])
def test_the_last_lines_are_those_of_the_command_itself(tmp_path: Path, length: int) -> None:
    log = tmp_path / "log"
    log.write_text("an earlier one\n")
    with pytest.raises(StepError) as caught:
        check(["sh", "-c", "echo own; exit 1", "x" * length], what="it", log=log)
    assert caught.value.tail == "own\n"
    assert "xxx" in log.read_text()


def test_a_time_limit_is_told() -> None:
    with pytest.raises(StepError, match="it did not end within 0 s"):
        check(["sleep", "60"], what="it", timeout=0.2)


def test_a_success_is_handed_back() -> None:
    outcome = sh("true")
    assert require(outcome, what="it") is outcome
    assert Captured(b"", b"", 0).text == ""
