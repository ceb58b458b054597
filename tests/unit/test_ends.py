"""Distributions that get no fixes any more: which names of images tell it, and where it is said."""

from __future__ import annotations

import csv
import importlib.machinery
import importlib.util
import json
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.config.ends import EndedRelease, ended, last_day
from py_portable.evidence.conclude import conclude
from py_portable.report.scorecard import scorecard
from py_portable.report.summary import find
from py_portable.report.text import render
from tests.unit.test_cli_input import call

SCRIPT = Path(__file__).parents[2] / "scripts" / "refresh-ends"
LAST = date(2026, 8, 31)


@pytest.mark.parametrize(
    "name",
    [
        "debian:11",
        "debian:bullseye",
        "debian:11-slim",
        "debian:11.11",
        "debian:bullseye-20260801-slim",
        "docker.io/library/debian:11",
        "registry.example:5000/os/debian:11@sha256:" + "0" * 64,
    ],
)
def test_all_names_of_a_release_have_its_last_day(name: str) -> None:
    assert last_day(name) == LAST


@pytest.mark.parametrize(
    "name", ["debian:latest", "debian:14", "debian", "ubuntu:20", "fedora:11", "./debian:11.tar/x", "bare:none", ""]
)
def test_of_other_names_nothing_is_guessed(name: str) -> None:
    assert last_day(name) is None


@given(st.text())
def test_any_text_is_a_name(name: str) -> None:
    last_day(name)
    last_day(f"debian:{name}")


def test_the_last_day_itself_still_has_fixes() -> None:
    images = ("debian:11", "ubuntu:20.04", "debian:11", "debian:13")
    assert ended(images, LAST) == (EndedRelease("ubuntu:20.04", date(2025, 5, 29)),)
    assert [one.image for one in ended(images, date(2026, 9, 1))] == ["debian:11", "ubuntu:20.04"]


CONFIG = """version: 1
app: {requirement: "tiny==1", script: tiny, smoke: [{args: []}]}
python: "3.13"
baselines: {default: {image: "debian:9"}}
wheels: {max-glibc: "2.24"}
artifacts: [wheelhouse]
portability: {images: ["ubuntu:14.04", "alpine:3"]}
"""


def test_check_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "portable.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    told = call("check").stdout
    note = "Note: debian:9 has had no fixes since 2022-06-30, and its packages may no longer be available.\n"
    assert told.count("Note: ") == 2 and note in told and "ubuntu:14.04" in told
    rows = json.loads(call("check", "--json").stdout)["ended"]
    assert rows[0] == {"image": "debian:9", "last": "2022-06-30"} and len(rows) == 2


@pytest.mark.parametrize(("when", "said"), [("2026-08-31T23:59:59Z", False), ("2026-09-01T00:00:00Z", True)])
def test_a_report_says_what_had_ended_on_the_day_of_its_run(when: str, said: bool) -> None:
    evidence = {"when": when, "baselines": [{"name": "default", "image": "debian:11"}], "cells": []}
    told = render(scorecard(find(evidence, conclude(evidence))))  # type: ignore[arg-type]
    assert ("Distributions that get no fixes any more: debian:11 (since 2026-08-31)." in told) == said


@pytest.mark.parametrize("when", [None, "", "yesterday", "2026-99-99T00:00:00Z", 7])
def test_a_report_without_a_day_says_nothing_of_it(when: object) -> None:
    evidence = {"when": when, "baselines": [{"name": "default", "image": "debian:9"}], "cells": []}
    assert "no fixes" not in render(scorecard(find(evidence, conclude(evidence))))  # type: ignore[arg-type]


def test_the_table_comes_from_distro_info_data() -> None:
    loader = importlib.machinery.SourceFileLoader("refresh_ends", str(SCRIPT))
    spec = importlib.util.spec_from_loader("refresh_ends", loader)
    assert spec
    made: ModuleType = importlib.util.module_from_spec(spec)
    loader.exec_module(made)
    head = "version,codename,series,created,release,eol,eol-lts,eol-elts\n"
    rows = head + "11,Bullseye,bullseye,2019-07-06,2021-08-14,2024-08-14,2026-08-31,2031-06-30\n,Sid,sid,1993-08-16\n"
    text = made.render("1.0", {"debian": list(csv.DictReader(rows.splitlines()))})
    assert text.splitlines()[-1] == '"11" = { suite = "bullseye", last = 2026-08-31 }'
    odd = head + "12,B,../x,2019-07-06,2021-08-14,2024-08-14\n"
    with pytest.raises(ValueError, match="not understood"):
        made.render("1.0", {"debian": list(csv.DictReader(odd.splitlines()))})
