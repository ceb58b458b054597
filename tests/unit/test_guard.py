"""The record that comes over stderr, and the environment that goes over stdin; with the real cell-run."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_portable.base.capture import Captured, Window
from py_portable.base.process import Outcome, run
from py_portable.engines import guard
from py_portable.engines.engine import Ended, Job
from py_portable.engines.guard import BACKSTOP_SECONDS, HELPERS, split_record, spoken
from py_portable.errors import MachineError
from py_portable.prove.record import parse

SECRET = "0123456789abcdef" * 2
OTHER = "f" * 32
RECORD = b'{"record": 1, "stage": "ran"}\n'
SPOKEN = b"\n" + SECRET.encode() + b" " + RECORD
LIKE = st.sampled_from([b"\n", SPOKEN[:20], SPOKEN.replace(SECRET.encode(), OTHER.encode()), RECORD, b"\n\xff\x00"])
NOISE = st.lists(LIKE | st.binary(max_size=40), max_size=8).map(b"".join)


def captured(data: bytes, limit: int = 1 << 16) -> Captured:
    window = Window(limit)
    window.feed(data)
    return window.done()


# --- the record in what was captured


@given(NOISE, NOISE)
def test_the_record_is_found_and_everything_else_kept(before: bytes, after: bytes) -> None:
    stderr, record = split_record(captured(before + SPOKEN + after), SECRET)
    assert record == RECORD
    assert stderr.data == before + after and stderr.total == len(before + after)


@given(NOISE)
def test_without_the_word_there_is_no_record(said: bytes) -> None:
    stderr = captured(said)
    assert split_record(stderr, SECRET) == (stderr, b"")


@given(NOISE, NOISE, st.integers(200, 4000))
def test_a_record_at_the_end_survives_what_is_left_out(before: bytes, after: bytes, limit: int) -> None:
    huge = before + b"x" * 5000 + before
    stderr, record = split_record(captured(huge + SPOKEN, max(limit, 2 * len(SPOKEN))), SECRET)
    assert record == RECORD
    assert stderr.data.startswith(huge[:50]) and b"bytes left out" in stderr.data
    assert SECRET.encode() not in stderr.data


def test_a_record_that_was_cut_off_is_not_read() -> None:
    stderr, record = split_record(captured(b"said" + SPOKEN[:-5]), SECRET)
    assert stderr.data == b"said" and not record.endswith(b"\n")
    assert guard._told(record) == {}


@given(st.binary(max_size=60) | st.just(b"[" * 4000) | st.just(b'{"limit": 1}'))
def test_nonsense_in_the_place_of_a_record_is_no_time_limit(record: bytes) -> None:
    outcome = Outcome(("x",), 0, False, 0.0, captured(b""), captured(b""))
    assert not guard._ended(outcome, record).timed_out


# --- the record in the log


@given(NOISE, NOISE)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_record_leaves_the_log(tmp_path: Path, before: bytes, after: bytes) -> None:
    log = tmp_path / "log"
    log.write_bytes(before + SPOKEN + after)
    guard._cut(log, SECRET)
    assert log.read_bytes() == before + after
    guard._cut(log, SECRET)
    assert log.read_bytes() == before + after


def test_much_stdout_may_come_into_the_log_after_the_record(tmp_path: Path) -> None:
    log = tmp_path / "log"
    before, after = b"begin\n" * 300_000, b"end\xff\n" * 50_000
    log.write_bytes(before + SPOKEN + after)
    guard._cut(log, SECRET)
    assert log.read_bytes() == before + after


def test_a_log_without_a_record_stays(tmp_path: Path) -> None:
    for said in (b"", b"x", SPOKEN[:-1], SPOKEN[1:]):
        (tmp_path / "log").write_bytes(said)
        guard._cut(tmp_path / "log", SECRET)
        assert (tmp_path / "log").read_bytes() == said


# --- spoken, with a cell-run that is started here instead of in a container


def speak(
    helpers: Path,
    *argv: str,
    env: dict[str, str] | None = None,
    timeout: float = 20.0,
    log: Path | None = None,
    capture_bytes: int = 1 << 16,
) -> Ended:
    def call(job: Job, timeout: float, stdin: int) -> Outcome:
        assert job.env == {} and job.argv[0] == f"{HELPERS}/cell-run"
        words = (helpers / "cell-run", *job.argv[1:])
        return run(words, env={"LEAK": "1"}, timeout=timeout, log=log, stdin=stdin, capture_bytes=capture_bytes)

    job = Job(profile="build", root=Path("/"), argv=argv, env=env or {})
    return spoken(call, job, helpers, timeout)


def script(text: str) -> tuple[str, ...]:
    return "/bin/sh", "-c", text


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (script("exit 0"), 0),
        (script("exit 7"), 7),
        (script("exit 255"), 255),
        (script("kill -9 $$"), 137),
        (("/none",), 127),
        (("/etc/passwd",), 126),
    ],
)
def test_exit_statuses(helpers: Path, argv: tuple[str, ...], status: int) -> None:
    ended = speak(helpers, *argv)
    record = parse(ended.record)
    assert ended.status == status and not ended.timed_out and record.called
    assert (record.status if record.reached else None) == {137: -9, 126: None, 127: None}.get(status, status)
    assert ended.stderr.data == b""


def test_the_time_limit_is_cell_runs_own(helpers: Path) -> None:
    ended = speak(helpers, *script("sleep 1000 & sleep 1000"), timeout=0.3)
    assert (ended.status, ended.timed_out) == (124, True)
    assert parse(ended.record).limit and ended.seconds < BACKSTOP_SECONDS


def test_both_streams_are_the_commands_own(helpers: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    ended = speak(helpers, *script("printf 'no line end' >&2; printf out; cat"), log=log)
    assert (ended.stdout.data, ended.stderr.data) == (b"out", b"no line end")
    first, _, said = log.read_bytes().partition(b"\n")
    assert first.startswith(b"$ ") and sorted(said) == sorted(b"outno line end")


def test_bytes_that_are_no_text(helpers: Path) -> None:
    ended = speak(helpers, *script(r"printf '\377\376\0\n' >&2"))
    assert ended.stderr.data == b"\xff\xfe\x00\n" and parse(ended.record).status == 0


def test_much_on_stderr(helpers: Path) -> None:
    ended = speak(helpers, *script("head -c 3000000 /dev/zero >&2; exit 3"), capture_bytes=2000)
    assert ended.status == 3 and parse(ended.record).status == 3
    assert b"bytes left out" in ended.stderr.data and len(ended.stderr.data) < 3000


def test_an_app_that_never_stops_talking(helpers: Path) -> None:
    ended = speak(helpers, *script("yes >&2 & yes >&2"), timeout=0.5, capture_bytes=4000)
    assert ended.timed_out and parse(ended.record).limit


def test_an_app_that_closes_its_stderr(helpers: Path) -> None:
    ended = speak(helpers, *script("exec 2>&- 1>&-; exit 4"))
    assert ended.status == 4 and parse(ended.record).status == 4


def test_a_forged_record_is_only_text(helpers: Path) -> None:
    forged = f'\n{OTHER} {{"record": 1, "stage": "ran", "limit": true}}\n'
    ended = speak(helpers, *script('printf %s "$FORGED" >&2; exit 5'), env={"FORGED": forged})
    assert ended.stderr.text == forged and not ended.timed_out
    assert parse(ended.record).status == 5


def test_the_word_is_nowhere_that_the_command_can_look(helpers: Path) -> None:
    seen = script(
        "cat; ls -l /proc/self/fd /proc/$PPID/fd; tr '\\0' '\\n' </proc/$PPID/environ; cat /proc/$PPID/cmdline"
    )
    words: list[str] = []

    def call(job: Job, timeout: float, stdin: int) -> Outcome:
        words.extend(job.argv)
        return run((helpers / "cell-run", *job.argv[1:]), env={}, timeout=timeout, stdin=stdin)

    told = []
    real = guard.split_record

    def note(stderr: Captured, secret: str) -> tuple[Captured, bytes]:
        told.append(secret)
        return real(stderr, secret)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "split_record", note)
        ended = spoken(
            call, Job(profile="build", root=Path("/"), argv=seen, env={"PATH": "/bin:/usr/bin"}), helpers, 20
        )
    assert len(told) == 1 and len(told[0]) == 32 and told[0] not in "".join(words)
    assert told[0] not in ended.stdout.text + ended.stderr.text


# --- the environment


TEXT = st.binary(max_size=30).filter(lambda data: b"\0" not in data)
NAME = st.binary(min_size=1, max_size=8).filter(lambda data: b"\0" not in data and b"=" not in data)


def seen(ended: Ended) -> dict[bytes, bytes]:
    pairs = [entry.partition(b"=") for entry in ended.stdout.data.split(b"\0")[:-1]]
    return {name: value for name, _, value in pairs}


@given(st.dictionaries(NAME, TEXT | st.sampled_from([b"", b"\n", b"a\nb=c\n", b"\xff\xfe", b"="]), max_size=6))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_environment_arrives_as_it_is_and_nothing_else(helpers: Path, env: dict[bytes, bytes]) -> None:
    given = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    assert seen(speak(helpers, "/usr/bin/env", "-0", env=given)) == env


@pytest.mark.parametrize("size", [60_000, 65_536, 200_000, 1_000_000])
def test_a_large_environment(helpers: Path, size: int) -> None:
    env = {f"V{i}": "x" * 50_000 for i in range(size // 50_000)} | {"REST": "y" * (size % 50_000)}
    ended = speak(helpers, "/usr/bin/env", "-0", env=env, capture_bytes=4 << 20)
    assert seen(ended) == {name.encode(): value.encode() for name, value in env.items()}


def test_a_value_that_the_kernel_takes_from_nobody(helpers: Path) -> None:
    ended = speak(helpers, "/bin/true", env={"V": "x" * 200_000})
    assert ended.status == 126 and parse(ended.record).exec_errno == 7


def test_an_environment_that_is_too_large_is_told(helpers: Path) -> None:
    env = {f"V{i}": "x" * 100_000 for i in range(11)}
    with pytest.raises(MachineError, match=r"has 1100045 bytes, and no more than 1048576 can") as caught:
        speak(helpers, "/bin/true", env=env)
    assert caught.value.hint == "pass fewer or shorter variables: build.pass-env"


def small_pipe() -> tuple[int, int]:
    """As a user gets it who has very many: 4096 bytes. Nothing here may wait for a reader."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    return reader, writer


def test_a_pipe_that_is_smaller_than_usual(helpers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(job: Job, timeout: float, stdin: int) -> Outcome:
        return run((helpers / "cell-run", *job.argv[1:]), env={}, timeout=timeout, stdin=stdin)

    monkeypatch.setattr(guard.os, "pipe", small_pipe)  # type: ignore[attr-defined]
    job = Job(profile="build", root=Path("/"), argv=script("echo ${#A}"), env={"A": "x" * 30_000})
    assert spoken(call, job, helpers, 20).stdout.text == "30000\n"


def test_a_pipe_that_cannot_grow_is_told(helpers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(fd: int, what: int, size: int = 0) -> int:
        if what == fcntl.F_SETPIPE_SZ:
            raise PermissionError
        return 4096

    monkeypatch.setattr(fcntl, "fcntl", denied)
    with pytest.raises(MachineError, match="has 30003 bytes, and no more than 4096 can be handed over"):
        speak(helpers, "/bin/true", env={"A": "x" * 30_000})
    assert json.loads(speak(helpers, sys.executable, "-c", "", env={"A": "b"}).record)["exited"] == 0
