"""What a step's sandbox is asked to run, and the script that runs several commands in one."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_portable import resources
from py_portable.base.capture import Captured
from py_portable.engines.engine import Bind, Ended, EngineInfo, Job
from py_portable.images import Image
from py_portable.steps.context import BUILD_PATH, BuildFailed, Context, Environment, build_path
from py_portable.store import Store

IN_TURN = resources.path("build/in_turn.sh")


def in_turn(*commands: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
    words = [word for command in commands for word in (str(len(command)), *command)]
    return subprocess.run(["/bin/sh", IN_TURN, *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=30)


def say(*words: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", r'printf "%s\0" "$#" "$@"', "say", *words)


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6) | st.sampled_from(
    ["", " ", "a b", "\n", "a\n", "*", "$x", "-n", "--", "'", '"', "\\", "2", "0"]
)


@given(st.lists(st.lists(WORD, max_size=4), min_size=1, max_size=4))
@settings(max_examples=60)
def test_every_word_arrives_as_it_is(commands: list[list[str]]) -> None:
    done = in_turn(*(say(*words) for words in commands))
    assert (done.returncode, done.stderr) == (0, b"")
    told = [word for words in commands for word in (str(len(words)), *words)]
    assert done.stdout == "".join(f"{word}\0" for word in told).encode()


@pytest.mark.parametrize(
    ("statuses", "ran", "status"),
    [((0, 0, 0), "123", 0), ((7, 0, 0), "1", 7), ((0, 8, 0), "12", 8), ((0, 0, 9), "123", 9), ((255,), "1", 255)],
)
def test_the_first_that_fails_is_the_last(statuses: tuple[int, ...], ran: str, status: int) -> None:
    done = in_turn(*(("/bin/sh", "-c", f"printf {i}; exit {code}") for i, code in enumerate(statuses, 1)))
    assert (done.stdout.decode(), done.returncode) == (ran, status)


def test_a_signal_and_a_missing_program() -> None:
    assert in_turn(("/bin/sh", "-c", "kill -9 $$"), say("x")).returncode == 137
    done = in_turn(("/none",), say("x"))
    assert (done.returncode, done.stdout) == (127, b"") and b"/none" in done.stderr


def test_nothing_of_one_command_reaches_the_next(tmp_path: Path) -> None:
    change = ("/bin/sh", "-c", "cd /; A=changed; export A; umask 0; set --")
    done = in_turn(change, ("/bin/sh", "-c", 'printf "%s" "${A-none}"; umask'))
    assert done.stdout != b"changed" and done.stdout.startswith(b"none00")
    assert not done.stdout.startswith(b"none0000")


# --- PATH


@pytest.mark.parametrize("told", ["", ":", "::", BUILD_PATH, "/usr/bin:/bin"])
def test_a_path_that_adds_nothing(told: str) -> None:
    assert build_path(told) == BUILD_PATH


def test_places_of_the_image_come_after_the_kits_own_and_before_the_systems() -> None:
    told = "/opt/rh/gcc-toolset/bin:/usr/local/bin:/usr/bin:/opt/python/bin:/cuda/bin:"
    assert build_path(told) == BUILD_PATH.replace(
        ":/usr/local/bin", ":/opt/rh/gcc-toolset/bin:/cuda/bin:/usr/local/bin"
    )


@given(st.lists(st.sampled_from(["", "/a", "/b b", "/a", *BUILD_PATH.split(":")])).map(":".join))
def test_path_holds_each_known_place_once_and_no_empty_one(told: str) -> None:
    found = build_path(told).split(":")
    assert [place for place in found if place in BUILD_PATH.split(":")] == BUILD_PATH.split(":")
    assert "" not in found and set(found) == {*BUILD_PATH.split(":"), *filter(None, told.split(":"))}


# --- the sandbox


@dataclass
class Listener:
    """An engine that notes what it is asked for."""

    status: int = 0
    kept: str | None = None
    name: str = "listener"
    asked: list[Job] = field(default_factory=list)

    def probe(self) -> EngineInfo:
        raise NotImplementedError

    def argv(self, job: Job) -> tuple[str, ...]:
        return job.argv

    def run(self, job: Job, *, timeout: float, log: Path | None = None, capture_bytes: int = 65536) -> Ended:
        self.asked.append(job)
        assert log
        log.write_text("compiling with hunter2\nlast line\n")
        none = Captured(b"", b"", 0)
        return Ended(job.argv, self.status, False, 1.0, none, none, log, kept=self.kept)


def context(tmp_path: Path, engine: Listener, **options: Any) -> Context:
    image = Image(
        "debian:12",
        tmp_path,
        "sha256:0",
        "bootstrap",
        "2.36",
        "bookworm",
        env={"PATH": "/image/bin:/usr/bin", "IMAGE": "1"},
    )
    env = Environment(Store(tmp_path / "store"), engine, 1, 2, environ={}, **options)
    (tmp_path / "out").mkdir(exist_ok=True)
    return Context(env, "a step", {}, {}, image, tmp_path, tmp_path / "log")


def test_one_script(tmp_path: Path) -> None:
    engine = Listener()
    context(tmp_path, engine).sandbox("build/cpython.sh", "a b", "", environ={"MORE": "2"})
    (job,) = engine.asked
    assert job.argv == ("/bin/sh", "/kit/cpython.sh", "a b", "")
    assert [bind.target for bind in job.binds] == ["/build", "/out", "/kit/cpython.sh"]
    assert [bind.target for bind in job.binds if bind.writable] == ["/build", "/out"]
    assert job.env["PATH"] == build_path("/image/bin:/usr/bin") and job.env["HOME"] == "/build"
    assert (job.env["IMAGE"], job.env["MORE"]) == ("1", "2") and not job.network and not job.keep


def test_several_scripts_in_turn(tmp_path: Path) -> None:
    engine = Listener()
    then = (("build/settle.py", "x y"), ("build/settle.py",), ("build/self_sufficient.py",))
    context(tmp_path, engine, keep=tmp_path).sandbox("build/cpython.sh", "a b", then=then)
    (job,) = engine.asked
    python = "/opt/python/bin/python3"
    assert job.argv == (
        *("/bin/sh", "/kit/in_turn.sh", "3", "/bin/sh", "/kit/cpython.sh", "a b"),
        *("3", python, "/kit/settle.py", "x y", "2", python, "/kit/settle.py", "2", python, "/kit/self_sufficient.py"),
    )
    targets = [bind.target for bind in job.binds]
    assert len(targets) == len(set(targets)), "docker refuses two mounts at one place"
    assert {"/kit/in_turn.sh", "/kit/cpython.sh", "/kit/settle.py", "/kit/self_sufficient.py"} <= set(targets)
    assert all(bind.source.is_file() for bind in job.binds if bind.target.startswith("/kit/")) and job.keep


def test_a_failure_shows_the_log_without_what_was_passed(tmp_path: Path) -> None:
    engine = Listener(status=3, kept="docker commit x")
    with pytest.raises(BuildFailed) as caught:
        context(tmp_path, engine, pass_env={"TOKEN": "hunter2"}).sandbox("build/cpython.sh", hint="look at it")
    assert caught.value.what == "a step failed with exit status 3"
    assert caught.value.tail == "compiling with ***\nlast line\n"
    assert caught.value.hint == "look at it\nlook inside: docker commit x"


@given(st.lists(st.sampled_from(["build/cpython.sh", "build/settle.py"]), max_size=3))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_place_is_shown_twice(tmp_path: Path, scripts: list[str]) -> None:
    engine = Listener()
    context(tmp_path, engine).sandbox(
        "build/cpython.sh", then=tuple((s,) for s in scripts), binds=(Bind(tmp_path, "/in"),)
    )
    targets = [bind.target for bind in engine.asked[0].binds]
    assert len(targets) == len(set(targets)) and "/in" in targets
