"""What a command line, its environment and its streams may be: wrong, empty, said twice, or closed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from py_portable.cli import cli
from py_portable.commands import prove as prove_command
from py_portable.errors import ConfigError
from py_portable.plan.selection import Selection
from py_portable.project import session as sessions
from py_portable.project.circumstances import DEFAULT_EPOCH
from tests.unit.test_cli import ELSEWHERE, HELD, SECONDS, House, first

FORGED = "debian:11\nSuccess: app passed on debian:11"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[prove_command.ForeignApp, str, bool]]:
    """What `prove` asked for; nothing is started."""
    asked: list[tuple[prove_command.ForeignApp, str, bool]] = []

    def take(wanted: prove_command.ForeignApp, engine: str, _tell: object, talk: Any) -> list[Any]:
        asked.append((wanted, engine, talk.verbose))
        return []

    monkeypatch.setattr(prove_command, "prove_foreign", take)
    return asked


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, words, standalone_mode=False)


# ------------------------------------------------------------------------------------------------ streams


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&-", "0<&- 1>&- 2>&-"])
def test_a_closed_stream_is_no_defect(house: House, closed: str) -> None:
    house.write(ELSEWHERE)
    house.write("#!/bin/sh\n", "made")
    for words, status in ((["build"], 0), (["build", "--config", "nowhere.yaml"], 2), (["--help"], 0)):
        done = subprocess.run(
            ["sh", "-c", f'"$@" {closed}', "sh", *house.argv(*words)],
            cwd=house.base,
            env=house.environ,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
    # Nothing that was to be shown went into a file that got the number of the closed stream.
    assert json.loads((house.base / "dist" / "evidence.json").read_text())["artifacts"]


def test_a_full_stdout_is_one_line_of_status_3(house: House) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(house.argv("--help"), env=house.environ, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert done.stderr == "Error: [Errno 28] No space left on device\n"


# -------------------------------------------------------------------------------------- SOURCE_DATE_EPOCH


@pytest.mark.parametrize("epoch", ["²", "soon", "-1", "+1", "1.5", " 1", "1\n", "٣", "9" * 15, "9" * 5000])
def test_a_wrong_epoch_is_status_2_and_names_the_variable(house: House, epoch: str) -> None:
    house.write(ELSEWHERE)
    house.write("x", "made")
    done = house.run("build", SOURCE_DATE_EPOCH=epoch)
    assert done.returncode == 2, done.stderr
    assert first(done.stderr).startswith("Error: the environment variable SOURCE_DATE_EPOCH: ")


@pytest.mark.parametrize(
    ("environ", "epoch"),
    [
        ({}, DEFAULT_EPOCH),
        ({"SOURCE_DATE_EPOCH": ""}, DEFAULT_EPOCH),
        ({"SOURCE_DATE_EPOCH": "0"}, 0),
        ({"SOURCE_DATE_EPOCH": "1700000000"}, 1700000000),
    ],
)
def test_the_epoch_is_the_callers_where_there_is_one(
    house: House, monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str], epoch: int
) -> None:
    house.write(ELSEWHERE)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    session = sessions.open_session(house.base / "portable.yaml", engine="native")
    assert session.environment().epoch == epoch


# ------------------------------------------------------------------------------------- empty means unset


def test_what_is_empty_is_unset(house: House) -> None:
    house.write(ELSEWHERE)
    house.write("#!/bin/sh\n", "made")
    done = house.run("build", "--config", "", "--dist", "", "--engine", "", "")
    assert done.returncode == 0, done.stderr
    assert (house.base / "dist" / "evidence.json").exists()
    assert not (house.base / "evidence").exists()
    assert house.run("plan", "-c", "", "").returncode == 0
    assert house.run("merge", "dist/evidence.json", "-o", "").stdout.startswith("{")
    (house.base / "portable.yaml").unlink()
    assert house.run("init", "-c", "").returncode == 0
    assert (house.base / "portable.yaml").exists()


def test_artifacts_are_named_by_a_variable_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are no part of a command line, an option among them is none."""
    from py_portable.project import building

    asked: list[tuple[str, ...] | None] = []

    def take(_session: object, selection: Selection, *_more: object, **_options: object) -> object:
        asked.append(selection.artifacts)
        raise ConfigError("seen")

    monkeypatch.setattr(building, "build", take)
    house.write(HELD)
    for value, *words in (["a  b\n--carry"], [""], ["a", "c"]):
        monkeypatch.setenv("PY_PORTABLE_ARTIFACTS", value)
        call("build", "-c", str(house.base / "portable.yaml"), *words)
    assert asked == [("a", "b", "--carry"), None, ("c",)]


def test_empty_choices_of_the_matrix_are_unset(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from py_portable.commands import portability as portability_command

    asked: list[Selection] = []

    def take(_session: object, wanted: Selection, *_more: object, **_options: object) -> object:
        asked.append(wanted)
        raise ConfigError("seen")

    monkeypatch.setattr(portability_command, "prove", take)
    house.write(HELD)
    config = str(house.base / "portable.yaml")
    for words in (
        ["--image", "", "--artifact", "", "--probes", ""],
        ["--image", "debian:11", "--image", "debian:11", "--artifact", "folder", "--artifact", "folder"],
        ["--probes", "read-only,read-only, no-home"],
        ["--probes", "none"],
    ):
        assert isinstance(call("portability", "-c", config, *words).exception, ConfigError)
    assert asked == [
        Selection(),
        Selection(("folder",), ("debian:11",)),
        Selection(probes=("read-only", "no-home")),
        Selection(probes=()),
    ]
    refused = call("portability", "-c", config, "--probes", "none,no-home")
    assert isinstance(refused.exception, click.UsageError)


# -------------------------------------------------------------------------------------------------- prove


def test_prove_takes_an_image_and_a_probe_once(started: list[tuple[prove_command.ForeignApp, str, bool]]) -> None:
    images = ["debian:bullseye", "debian:11", "debian:12", "", "debian:12", "ubuntu:20.04"]
    words = [word for image in images for word in ("--image", image)]
    done = call("prove", "x", *words, "--probes", "no-home,no-home", "--engine", "", "-v", "--exit", "255")
    assert done.exception is None
    ((wanted, engine, verbose),) = started
    assert wanted.images == ("debian:bullseye", "debian:12", "ubuntu:20.04")
    assert wanted.conditions == ("plain", "no-home")
    assert wanted.smoke.exit == 255
    assert (engine, verbose) == ("auto", True)
    assert call("prove", "x", "--image", "debian:11", "--timeout", "0.01").exception is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--image", ""], "--image is empty"),
        (["--image", "", "--image", " "], "--image is empty"),
        (["--image", FORGED], "the image 'debian:11\\nSuccess: app passed on debian:11' has characters"),
        (["--image", "debian:11\x1b[2J"], "not printable"),
        (["--image", "debian:11\u202e"], "not printable"),
        (["--image", "debian:11", "--exit", "-1"], "0<=x<=255"),
        (["--image", "debian:11", "--exit", "256"], "0<=x<=255"),
        (["--image", "debian:11", "--timeout", "0.001"], "at least 0.01"),
        (["--image", "debian:11", "--timeout", "0"], "at least 0.01"),
        (["--image", "debian:11", "--timeout", "inf"], "at most 86400"),
    ],
)
def test_prove_refuses(started: list[tuple[prove_command.ForeignApp, str, bool]], words: list[str], said: str) -> None:
    done = call("prove", "x", *words)
    assert isinstance(done.exception, click.UsageError)
    assert said in done.exception.format_message()
    assert started == []


def test_prove_refuses_an_empty_path(started: list[tuple[prove_command.ForeignApp, str, bool]]) -> None:
    assert isinstance(call("prove", "", "--image", "debian:11").exception, click.UsageError)
    assert started == []


# --------------------------------------------------------------------------------------- places to write


def test_init_says_what_is_wrong_with_its_place(house: House) -> None:
    (house.base / "dangling.yaml").symlink_to("nowhere/x.yaml")
    house.write("text", "plain.txt")
    for place, said in (
        ("no/such/x.yaml", "its folder does not exist"),
        ("plain.txt/x.yaml", "its folder does not exist"),
        ("dangling.yaml", "is a link to a file that does not exist"),
        ("home", "is not a regular file"),
    ):
        done = house.run("init", "--force", "-c", place)
        assert (done.returncode, first(done.stderr)) == (2, f"Error: {place}: {said}")
        assert "  next: " in done.stderr


def test_merge_into_what_is_no_file_leaves_nothing_behind(house: House) -> None:
    house.write({"schema": 1}, "one.json")
    before = sorted(house.base.iterdir())
    done = house.run("merge", "one.json", "-o", "home")
    assert (done.returncode, first(done.stderr)) == (2, "Error: home: is not a regular file")
    assert sorted(house.base.iterdir()) == before
    os.mkfifo(house.base / "fifo")
    assert house.run("merge", "one.json", "-o", "fifo").returncode == 2
    assert (house.base / "fifo").is_fifo()


@pytest.mark.parametrize("dist", ["made", "made/dist", "made/deep/dist"])
def test_a_dist_that_is_no_folder_asks_for_another(house: House, dist: str) -> None:
    house.write(ELSEWHERE)
    house.write("x", "made")
    done = house.run("build", "--dist", dist)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 2
    assert first(done.stderr).startswith(f"Error: {house.base}/made")
    assert "[Errno" not in done.stderr
    assert done.stderr.endswith("  next: choose another place: --dist\n")


def test_an_error_of_another_file_is_one_line_without_that_hint(house: House) -> None:
    house.write({"schema": 1}, "one.json")
    house.write("x", "plain.txt")
    done = house.run("merge", "one.json", "-o", "plain.txt/deep/merged.json")
    assert done.returncode == 3
    assert done.stderr == "Error: plain.txt/deep: Not a directory\n"
