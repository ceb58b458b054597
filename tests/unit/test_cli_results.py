"""What commands show: JSON where it is asked for, the right counts and statuses, and no line that is forged."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.base.talk import Talk
from py_portable.cli import show
from py_portable.cli.show import cell_line, failure_status, message
from py_portable.errors import Blocked, ConfigError, MachineError, PortableError, StepError
from py_portable.evidence.stage_results import StageResult
from py_portable.evidence.typed import CellResult
from tests.unit.test_cli import ELSEWHERE, HELD, House, first

FORGED = "x\x1b[2J\nSuccess: app passed on debian:11\r\u202e"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def result(**changes: Any) -> CellResult:
    told: dict[str, Any] = {
        "artifact": "app",
        "format": "file",
        "sha256": "sha256:1",
        "image": "debian:11",
        "image_identity": None,
        "image_source": None,
        "condition": "plain",
        "expect": "pass",
        "verdict": "PASS",
        "reason": None,
        "detail": None,
        "argv": (),
        "seconds": 0.08,
    }
    return CellResult(**(told | changes))


# --------------------------------------------------------------------------------------------------- JSON


@given(st.recursive(st.text('#[]x\n:\\"é', max_size=8), st.lists, max_leaves=5))
def test_json_is_the_same_value_and_nothing_that_a_log_obeys(told: Any) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        show.echo_json({"x": told})
    text = out.getvalue()
    assert json.loads(text) == {"x": told}
    assert "##" not in text and not any(line.strip().startswith(":") for line in text.split("\n"))


def test_check_tells_json(house: House) -> None:
    house.write(HELD)
    done = house.run("check", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    # What has ended depends on the day.
    del told["ended"]
    assert told == {
        "config": {"file": "portable.yaml", "valid": True, "artifacts": ["wheels", "folder"]},
        "lock": {
            "file": "portable.lock",
            "up_to_date": False,
            "stale": {"default/3.13": "is not locked yet"},
        },
    }
    locked = house.run("check", "--json", "--locked")
    assert (locked.returncode, locked.stdout) == (2, done.stdout)
    house.lock()
    assert json.loads(house.run("check", "--json").stdout)["lock"] == {
        "file": "portable.lock",
        "up_to_date": True,
        "stale": {},
    }


def test_lock_tells_json(house: House) -> None:
    house.write(HELD)
    house.lock()
    done = house.run("lock", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("file") == str(house.base / "portable.lock")
    assert told == json.loads((house.base / "portable.lock").read_text())


# -------------------------------------------------------------------------------------- counts and statuses


def test_the_plan_counts_a_cell_for_each_smoke_command(house: House) -> None:
    smoke = [{"args": ["one"]}, {"args": ["two"]}, {"args": ["three"]}]
    artifacts = {
        "a": {"format": "file", "path": "a", "smoke": smoke},
        "b": {"format": "file", "path": "b"},
    }
    house.write(ELSEWHERE | {"artifacts": artifacts})
    done = house.run("plan")
    assert "2 artifacts (4 smoke commands) x 2 images x 2 conditions = 16 cells" in done.stdout


@pytest.mark.parametrize(
    ("failures", "status"),
    [
        ([ConfigError("")], 2),
        ([MachineError("")], 3),
        ([ConfigError(""), MachineError("")], 3),
        ([StepError(""), ConfigError("")], 4),
        ([ConfigError(""), Blocked("a", "b")], 2),
        ([MachineError(""), Blocked("a", "b")], 3),
        ([Blocked("a", "b")], 4),
    ],
)
def test_the_status_of_failures_is_that_of_the_gravest(failures: list[PortableError], status: int) -> None:
    assert failure_status({str(i): problem for i, problem in enumerate(failures)}) == status


def test_a_path_of_the_config_that_is_not_there_is_status_2(house: House) -> None:
    house.write(ELSEWHERE)
    assert house.run("build").returncode == 2


def test_tags_can_look_at_names_only(house: House) -> None:
    wheels = house.base / "wheels"
    wheels.mkdir()
    (wheels / "aaa-1.0-cp313-cp313-manylinux_2_28_x86_64.whl").write_text("no archive")
    assert house.run("tags", "wheels", "manylinux_2_28_x86_64").returncode == 1
    done = house.run("tags", "wheels", "manylinux_2_28_x86_64", "--names-only")
    assert done.returncode == 0, done.stdout
    assert "not looked inside" in done.stdout


# ------------------------------------------------------------------------------------------------ terminal


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "XFAIL", "XPASS", "UNPROVEN"])
@pytest.mark.parametrize("field", ["image", "artifact", "detail", "reproduce", "condition", "reason"])
def test_a_cell_shows_no_login(field: str, verdict: str) -> None:
    assert "s3cret" not in cell_line(result(verdict=verdict, **{field: "https://ada:s3cret@r.example/x"}))


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "XFAIL", "XPASS", "UNPROVEN"])
@pytest.mark.parametrize("field", ["image", "artifact", "detail", "reproduce", "condition", "reason"])
def test_a_cell_is_one_line_that_a_terminal_only_shows(field: str, verdict: str) -> None:
    line = cell_line(result(verdict=verdict, **{field: FORGED}))
    assert line.isprintable()
    control = cell_line(result(verdict=verdict, condition=f"control:{FORGED}"))
    assert control.isprintable()


def test_talk_is_one_line_that_a_terminal_only_shows(capsys: pytest.CaptureFixture[str]) -> None:
    Talk().step(f"image {FORGED}", "starts", 0)
    Talk().say("from https://user:s3cret@host/")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert all(line.isprintable() and "s3cret" not in line for line in told)


def test_an_error_begins_no_second_line_at_the_margin() -> None:
    problem = StepError(f"bad {FORGED}", where=FORGED, hint=FORGED, tail=FORGED, log=Path(FORGED))
    head, *rest = message(problem).split("\n")
    assert head == "Error: x\\x1b[2J"
    assert rest
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in message(problem)


def test_no_command_line_forges_a_result(house: House) -> None:
    house.write(HELD)
    house.lock()
    for words in (
        ["portability", "--image", FORGED],
        ["portability", "--artifact", FORGED],
        ["plan", FORGED],
        ["build", FORGED],
        ["lock", "--update", FORGED],
        ["check", "--config", FORGED],
        ["build", f"--{FORGED}"],
        [FORGED],
        ["prove", FORGED, "--image", "debian:11"],
        ["merge", FORGED],
        ["tags", FORGED, "any"],
    ):
        done = house.run(*words)
        assert done.returncode == 2, (words, done.stderr)
        shown = (done.stdout + done.stderr).splitlines()
        assert not [line for line in shown if line.startswith("Success") or not line.isprintable()], words


def test_no_arguments_still_show_the_help(house: House) -> None:
    done = house.run()
    assert "Commands:\n" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "Success: app passed on debian:11 (0.08 s)"),
        ({"isolation": "full"}, "Success: app passed on debian:11 (0.08 s)"),
        ({"isolation": "partial"}, "Success: app passed on debian:11 (0.08 s, partial isolation)"),
        (
            {"isolation": "partial", "cached": True},
            "Success: app passed on debian:11 (0.08 s, cached, partial isolation)",
        ),
        (
            {"isolation": "partial", "seconds": None},
            "Success: app passed on debian:11 (partial isolation)",
        ),
        (
            {"isolation": "partial", "verdict": "XFAIL", "reason": "glibc", "condition": "no-home"},
            "Success: app failed on debian:11, no-home (partial isolation) as it must: glibc",
        ),
        (
            {"isolation": "partial", "verdict": "FAIL", "reason": "exit"},
            "Failure: app on debian:11 (partial isolation): exit",
        ),
    ],
)
def test_a_line_says_that_the_isolation_was_partial(changes: dict[str, Any], line: str) -> None:
    assert cell_line(result(**changes)) == line


def test_the_first_line_of_an_error_is_whole() -> None:
    assert first(message(ConfigError("is wrong", where="portable.yaml:1:2", hint="mend it"))) == (
        "Error: portable.yaml:1:2: is wrong"
    )


def test_what_a_removal_leaves_is_said_in_a_few_words() -> None:
    paths = tuple(f"/var/{name}" for name in "abcde")
    removal = StageResult("remove", "done", 0.1, left=paths, manager=("/var/lib/dpkg/status",), more=7)
    install = StageResult("install", "done", 0.1)
    line = cell_line(result(stages=(install, removal)))
    assert line == "Success: app passed on debian:11 (0.08 s); its removal leaves /var/a, /var/b, /var/c and 9 more"
    assert cell_line(result(stages=(install,))) == cell_line(result())
    forged = cell_line(result(stages=(StageResult("remove", "done", 0.1, left=(FORGED,)),)))
    assert "\n" not in forged and "\x1b" not in forged


def test_an_image_of_another_family_is_no_failure_and_no_success() -> None:
    line = cell_line(result(verdict="NOT-APPLICABLE", detail="the image has no dpkg"))
    assert line == "Not applicable: app on debian:11: the image has no dpkg"


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        ((), "folder (no arguments)"),
        (("run", "a b"), "folder (run 'a b')"),
        (("x" * 100,), f"folder ({'x' * 59}…)"),
    ],
)
def test_of_several_smoke_commands_the_line_says_which_it_was(argv: tuple[str, ...], name: str) -> None:
    line = cell_line(result(artifact="folder", argv=argv), one_of_several=True)
    assert line.startswith(f"Success: {name} passed on "), line
    control = cell_line(result(artifact="folder", argv=argv, condition="control:x"), one_of_several=True)
    assert name not in control
