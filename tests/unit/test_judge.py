"""Verdicts from what was seen at a start: the loader's texts, how it ended, what it printed."""

from __future__ import annotations

import errno
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.base.capture import Captured
from py_portable.config import Smoke
from py_portable.plan import verdicts
from py_portable.prove.judge import Finding, corroborate, judge, look
from py_portable.prove.record import Record
from py_portable.prove.start import Started

HERE = Path(__file__).parents[2]


def captured(text: str) -> Captured:
    data = text.encode("utf-8", "surrogatepass")
    return Captured(data, b"", len(data))


def test_a_cell_that_was_killed_for_want_of_memory() -> None:
    killed = replace(started(exited=None, signal=9), out_of_memory=True)
    assert look(killed, Smoke()) == Finding(
        "signal", "killed by SIGKILL: it used more than the 3 GiB of memory that a cell may use"
    )
    assert look(replace(started(), out_of_memory=True), Smoke()) == Finding(None), (
        "a child's death is the app's business"
    )


def started(out: str = "", err: str = "", *, timed_out: bool = False, **changes: Any) -> Started:
    told: dict[str, Any] = {
        "stage": "ran",
        "errno": 0,
        "reached": True,
        "exec_errno": 0,
        "exited": 0,
        "signal": None,
        "limit": False,
        "wall_ns": 1,
        "user_us": 1,
        "sys_us": 1,
        "maxrss_kb": 1,
        "left_behind": 0,
    }
    return Started(Record(**told | changes), None, captured(out), captured(err), timed_out, 0.1, "again")


def test_an_artifact_that_finds_no_interpreter_says_so_and_only_its_own_words_count() -> None:
    err = "warning\nFailed to find Python: none\nmore\n"
    seeks = ("Failed to find Python", "No Python")
    found = look(started(err=err, exited=1), Smoke(exit=1), seeks)
    assert found == Finding(
        "interpreter", "no interpreter for it is on the image; it says: Failed to find Python: none"
    )
    assert look(started(err=err, exited=1), Smoke()).reason == "exit"
    assert look(started(err=f"app: {err[8:]}", exited=1), Smoke(), seeks).reason == "exit"
    assert look(started(err=err), Smoke(), seeks).reason is None


def test_an_artifact_that_has_no_room_to_unpack_itself_says_so() -> None:
    err = "app: there is no folder to unpack it to: set XDG_CACHE_HOME to a larger one (/tmp lacks the 69 MB)\n"
    fills = ("app: there is no folder to unpack it to:",)
    found = look(started(err=err, exited=125), Smoke(), fills=fills)
    assert found.reason == "room" and "set XDG_CACHE_HOME" in str(found.detail) and "69 MB" in str(found.detail)
    assert judge(found, "fail:room").verdict == "XFAIL"
    assert look(started(err=err, exited=125), Smoke()).reason == "exit"
    assert look(started(err=err), Smoke(), fills=fills).reason is None


LOADER = "app: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_{}' not found (required by {})\n"


OLD = "dlopen(): error loading libfuse.so.2\n\nAppImages require FUSE to run. \nYou might still be able to extract\n"
NEW = "fuse: device not found, try 'modprobe fuse' first\n\nCannot mount AppImage, please check your FUSE setup.\n"


@pytest.mark.parametrize("err", [OLD, NEW])
def test_a_runtime_that_finds_no_fuse(err: str) -> None:
    for status in (1, 127):
        assert look(started(err=err, exited=status), Smoke()).reason == "fuse"
        assert judge(look(started(err=err, exited=status), Smoke()), "fail:fuse").verdict == "XFAIL"
    assert look(started(err=err), Smoke()).reason is None
    assert look(started(err=f"says: {err.splitlines()[2]}", exited=1), Smoke()).reason == "exit"


@pytest.mark.parametrize(
    ("err", "reason", "detail"),
    [
        (LOADER.format("2.34", "./app"), "glibc", "GLIBC_2.34 not found (required by ./app)"),
        (
            LOADER.format("2.9", "./a") + LOADER.format("2.38", "./b") + LOADER.format("2.34", "./c"),
            "glibc",
            "GLIBC_2.38 not found (required by ./b)",
        ),
        (LOADER.format("ABI_DT_RELR", "./app"), "glibc", "GLIBC_ABI_DT_RELR not found (required by ./app)"),
        (
            LOADER.format("ABI_DT_RELR", "./app") + LOADER.format("2.36", "./app"),
            "glibc",
            "GLIBC_2.36 not found (required by ./app)",
        ),
        (LOADER.format("PRIVATE", "./app"), "glibc", "GLIBC_PRIVATE not found (required by ./app)"),
        ("libc.so.6: version `GLIBC_2.36' not found", "glibc", "GLIBC_2.36 not found"),
        (
            "libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by x.so)",
            "library",
            "GLIBCXX_3.4.29 not found (required by x.so)",
        ),
        (
            "libssl.so.1.1: version `OPENSSL_1_1_1' not found (required by x.so)",
            "library",
            "OPENSSL_1_1_1 not found (required by x.so)",
        ),
        ("libcurl.so.4: version `CURL_OPENSSL_4' not found", "library", "CURL_OPENSSL_4 not found"),
        (
            "./app: error while loading shared libraries: libpq.so.5: cannot open shared object file: No such file",
            "library",
            "libpq.so.5 not found",
        ),
        (
            "Traceback\nImportError: libstdc++.so.6: cannot open shared object file: No such file or directory",
            "library",
            "libstdc++.so.6 not found",
        ),
        ("ImportError: x.so: undefined symbol: PyFoo_Bar\n", "library", "undefined symbol PyFoo_Bar"),
        ("Error: no database\n\n", "exit", "exit status 127, expected 0: Error: no database"),
        ("", "exit", "exit status 127, expected 0"),
    ],
)
def test_what_the_loader_says(err: str, reason: str, detail: str) -> None:
    assert look(started(err=err, exited=127), Smoke()) == Finding(reason, detail)


def test_a_loaders_text_of_an_app_that_does_well_is_only_text() -> None:
    assert look(started(err=LOADER.format("2.34", "x")), Smoke()).reason is None


@pytest.mark.parametrize(
    ("changes", "smoke", "finding"),
    [
        ({}, Smoke(), Finding(None)),
        ({"exited": 3}, Smoke(exit=3), Finding(None)),
        ({"exited": 0}, Smoke(exit=3), Finding("exit", "exit status 0, expected 3")),
        (
            {"limit": True, "exited": None, "signal": 9},
            Smoke(timeout=0.5),
            Finding("timeout", "did not end within 0.5 s"),
        ),
        ({"exited": None, "signal": 11}, Smoke(), Finding("signal", "killed by SIGSEGV")),
        ({"exited": None, "signal": 63}, Smoke(), Finding("signal", "killed by signal 63")),
        (
            {"reached": False, "exec_errno": errno.ENOENT, "exited": None},
            Smoke(),
            Finding("loader", "its program interpreter (the loader, or that of a #! line) is not on the image"),
        ),
        (
            {"reached": False, "exec_errno": errno.ENOEXEC, "exited": None},
            Smoke(),
            Finding("exec", "the kernel does not start it: Exec format error"),
        ),
    ],
)
def test_how_a_start_ended(changes: dict[str, Any], smoke: Smoke, finding: Finding) -> None:
    assert look(started(**changes), smoke) == finding


def test_an_engine_that_gave_up_is_a_timeout() -> None:
    assert look(started(timed_out=True), Smoke(timeout=20)).reason == "timeout"


@pytest.mark.parametrize(
    ("expected", "seen", "lost"),
    [
        (("a", "b"), "a\nb\n", None),
        (("a", "b"), "noise\na\nmore\nb\nend", None),
        (("a", "a"), "a\na\n", None),
        (("a", "a"), "a\n", "a"),
        (("a", "b"), "b\na\n", "b"),
        (("a",), "aa\n", "a"),
        (("a",), " a\n", "a"),
        (("a",), "a\r\n", None),
        (("",), "a\n\n", None),
        (("a",), "", "a"),
    ],
)
def test_lines_must_appear_whole_and_in_this_order(expected: tuple[str, ...], seen: str, lost: str | None) -> None:
    found = look(started(seen), Smoke(stdout=expected))
    assert found.reason == ("output" if lost else None)
    assert not lost or (found.detail or "").startswith(f"stdout lacks the line {lost!r}")


def test_stderr_is_held_to_its_lines_too() -> None:
    found = look(started("warned", "other"), Smoke(stderr=("warned",)))
    assert found.reason == "output"
    assert (found.detail or "").startswith("stderr lacks the line 'warned'")


LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=5), max_size=6)


@given(LINES, LINES.map(tuple))
def test_the_lines_are_a_subsequence(seen: list[str], expected: tuple[str, ...]) -> None:
    found = look(started("".join(f"{line}\n" for line in seen)), Smoke(stdout=expected))
    rest = iter(seen)
    assert (found.reason is None) == all(any(line == wanted for line in rest) for wanted in expected)


@pytest.mark.parametrize(
    ("finding", "expect", "verdict", "reason"),
    [
        (Finding(None), "pass", "PASS", None),
        (Finding("glibc", "d"), "pass", "FAIL", "glibc"),
        (Finding("glibc", "d"), "fail:glibc", "XFAIL", "glibc"),
        (Finding("library", "d"), "fail:glibc", "FAIL", "library"),
        (Finding("loader", "d"), "fail:musl", "XFAIL", "musl"),
        (Finding("exit", "d"), "fail:musl", "FAIL", "exit"),
        (Finding(None), "fail:musl", "XPASS", "passed"),
    ],
)
def test_verdicts(finding: Finding, expect: str, verdict: str, reason: str | None) -> None:
    judged = judge(finding, expect)
    assert (judged.verdict, judged.reason) == (verdict, reason)


def test_another_reason_than_the_expected_one_is_told_with_both() -> None:
    judged = judge(Finding("library", "libx.so not found"), "fail:glibc")
    assert judged.detail == "expected to fail: glibc; instead: libx.so not found"


@pytest.mark.parametrize(
    "piece",
    [
        ".so",
        "a.so.1",
        "version `GLIBC_2.3' not found (required by ",
        "version `",
        "1.",
        "undefined symbol: a",
    ],
)
def test_a_megabyte_of_hostile_text_is_judged_at_once(piece: str) -> None:
    begin = time.process_time()
    look(started(err=piece * ((1 << 20) // len(piece)), exited=1), Smoke())
    # Far more than it takes, far less than what a pattern without bounds takes: minutes.
    assert time.process_time() - begin < 20


@given(st.text(), st.text())
def test_any_text_gives_a_finding(out: str, err: str) -> None:
    assert look(started(out, err, exited=1), Smoke()).reason in ("exit", "glibc", "library")


@pytest.mark.parametrize(
    ("finding", "elf", "image", "floor", "reason"),
    [
        (Finding("glibc", "GLIBC_2.38 not found (required by x)"), True, "2.31", "2.38", "glibc"),
        (Finding("glibc", "GLIBC_ABI_DT_RELR not found"), True, "2.31", "2.36", "glibc"),
        (Finding("glibc", "GLIBC_2.99 not found"), False, "2.41", None, "exit"),
        (Finding("glibc", "GLIBC_2.99 not found"), True, "2.41", "2.38", "exit"),
        (Finding("glibc", "GLIBC_2.30 not found"), True, "2.31", "2.38", "library"),
        (Finding("glibc", "GLIBC_PRIVATE not found"), True, "2.31", "2.38", "library"),
        (Finding("glibc", "GLIBC_2.38 not found"), True, None, "2.38", "glibc"),
        (Finding("loader", "no loader"), True, "2.31", "2.30", "loader"),
        (Finding("loader", "no loader"), False, "2.31", None, "interpreter"),
        (Finding("exit", "exit status 1"), False, "2.31", None, "exit"),
        (Finding(None), True, "2.31", "2.30", None),
    ],
)
def test_the_loader_is_believed_where_the_elf_files_bear_it_out(
    finding: Finding, elf: bool, image: str | None, floor: str | None, reason: str | None
) -> None:
    found = corroborate(finding, is_elf=elf, image_glibc=image, measured_floor=floor, asked_for=lambda _detail: True)
    assert found.reason == reason


@pytest.mark.parametrize("borne", [True, False])
@pytest.mark.parametrize(
    "finding", [Finding("library", "libpq.so.5 not found"), Finding("glibc", "GLIBC_PRIVATE not found")]
)
def test_a_library_is_missing_only_where_an_elf_file_asks_for_it(finding: Finding, borne: bool) -> None:
    asked: list[str] = []

    def asked_for(detail: str) -> bool:
        asked.append(detail)
        return borne

    found = corroborate(finding, is_elf=True, image_glibc="2.31", measured_floor="2.30", asked_for=asked_for)
    assert (found.reason, asked) == ("library" if borne else "exit", [finding.detail])


def test_the_reasons_are_one_closed_list_in_code_docs_and_schemas() -> None:
    documented = re.findall(r"^\| `([a-z]+)` \|", (HERE / "docs" / "verdicts.md").read_text(), re.MULTILINE)
    assert {*documented, "musl"} == set(verdicts.REASONS) and len(documented) == len(set(documented))
    schema = json.loads((HERE / "schemas" / "evidence.schema.json").read_text())["properties"]
    cell = schema["cells"]["items"]["properties"]
    planned = schema["plan"]["properties"]["shards"]["items"]["properties"]["cells"]["items"]["properties"]
    assert set(cell["reason"]["enum"]) == {*verdicts.REASONS, None}
    assert cell["expect"]["enum"] == planned["expect"]["enum"] == list(verdicts.EXPECTATIONS)
    assert set(cell["verdict"]["enum"]) == set(verdicts.VERDICTS)
    text = (HERE / "schemas" / "portable.schema.json").read_text()
    assert set(re.findall(r'"fail:([a-z]+)"', text)) == set(verdicts.EXPECTED)
