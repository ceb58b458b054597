"""Errors as they are shown: credentials hidden, control characters escaped, nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.base.redact import hide
from py_portable.base.talk import Talk
from py_portable.cli.show import cell_line, clean, lines, size, table
from py_portable.errors import ConfigError, MachineError, PortableError, StepError, UnmetError
from py_portable.evidence.typed import CellResult


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host/simple", "https://***@host/simple"),
        ("https://token@host/simple", "https://***@host/simple"),
        ("https://user:se@cret@host/simple", "https://***@host/simple"),
        ("git+ssh://user:pw@host:22/x", "git+ssh://***@host:22/x"),
        ("a https://u:p@h/x and https://v:q@i/y.", "a https://***@h/x and https://***@i/y."),
        ("'https://u:p@h' \"https://u:p@h\"", "'https://***@h' \"https://***@h\""),
        ("https://host/a@b", "https://host/a@b"),
        ("mail me@example.org", "mail me@example.org"),
        ("https://host/x", "https://host/x"),
    ],
)
def test_credentials_of_urls_are_hidden(text: str, shown: str) -> None:
    assert hide(text) == shown


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/'\""), min_size=1))
def test_whatever_a_password_holds_it_is_hidden(password: str) -> None:
    assert hide(f"see https://user:{password}@host.example/simple now") == "see https://***@host.example/simple now"


def test_exit_codes_are_the_contract() -> None:
    kinds = (UnmetError, ConfigError, MachineError, StepError, PortableError)
    assert [kind.exit_code for kind in kinds] == [1, 2, 3, 4, 4]


def test_an_error_shows_where_what_tail_log_and_the_next_thing_to_do() -> None:
    problem = StepError(
        "did not work",
        where="step a",
        tail="\n".join(map(str, range(100))),
        log=Path("a.log"),
        hint="one\ntwo",
    )
    shown = problem.render().splitlines()
    assert shown[0] == "Error: step a: did not work"
    assert shown[1:26] == [f"  | {n}" for n in range(75, 100)]
    assert shown[26:] == ["  log: a.log", "  next: one", "        two"]
    assert str(problem) == problem.render()


def test_an_error_without_details_is_one_line() -> None:
    assert PortableError("no").render() == "Error: no"
    assert PortableError("no", tail=" \n ").render() == "Error: no"


@given(st.text())
def test_clean_text_is_printable_and_one_line(text: str) -> None:
    assert clean(text).isprintable()
    if text.isprintable():
        assert clean(text) == text


def test_escape_sequences_bidi_marks_and_newlines_are_shown_not_done() -> None:
    assert clean("a\x1b[2Jb\n\u202ec\ud800") == "a\\x1b[2Jb\\n\\u202ec\\ud800"


@given(st.text())
def test_several_lines_stay_several_but_nothing_else_gets_through(text: str) -> None:
    assert all(line.isprintable() for line in lines(text).split("\n"))


def test_colours_of_a_compiler_are_left_out() -> None:
    assert lines("\x1b[01;31merror:\x1b[m\ta\nb\x1b[2J") == "error:  a\nb\\x1b[2J"


def cell(**changes: object) -> CellResult:
    told: dict[str, object] = {
        "artifact": "binary",
        "format": "file",
        "sha256": "sha256:0",
        "image": "debian:11",
        "image_identity": None,
        "image_source": None,
        "condition": "plain",
        "expect": "pass",
        "verdict": "PASS",
        "reason": None,
        "detail": None,
        "argv": (),
        "when": "now",
    }
    return CellResult(**{**told, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seconds": 0.081}, "Success: binary passed on debian:11 (0.08 s)"),
        ({"seconds": 0.08, "cached": True}, "Success: binary passed on debian:11 (0.08 s, cached)"),
        ({"condition": "no-home"}, "Success: binary passed on debian:11, no-home"),
        (
            {
                "verdict": "FAIL",
                "reason": "library",
                "detail": "libpq.so.5 not found",
                "reproduce": "bwrap x",
            },
            "Failure: binary on debian:11: libpq.so.5 not found; reproduce: bwrap x",
        ),
        (
            {"verdict": "XFAIL", "condition": "control:built-too-new", "detail": "GLIBC_2.38 not found"},
            "Success: control built-too-new of binary failed on debian:11 as it must: GLIBC_2.38 not found",
        ),
        (
            {"verdict": "XPASS", "detail": "expected to fail: musl"},
            "Failure: binary passed on debian:11, where it must not: expected to fail: musl",
        ),
        ({"verdict": "UNPROVEN", "reason": "image"}, "Unproven: binary on debian:11: image"),
        ({"verdict": "FAIL", "detail": "a\x1b[2J\nb"}, "Failure: binary on debian:11: a\\x1b[2J\\nb"),
        ({"artifact": "x\ry"}, "Success: x\\ry passed on debian:11"),
    ],
)
def test_the_line_of_a_cell(changes: dict[str, object], line: str) -> None:
    assert cell_line(cell(**changes)) == line


def test_a_table_is_as_wide_as_what_is_in_it() -> None:
    assert table(("a", "long"), [("wide", "x\n"), ("", "")]) == "a     long\n----  ----\nwide  x\\n\n"


@pytest.mark.parametrize(("count", "shown"), [(0, "0.0 kB"), (1500, "1.5 kB"), (2_340_000, "2.3 MB")])
def test_sizes(count: int, shown: str) -> None:
    assert size(count) == shown


def test_talk_goes_to_stderr_and_is_kept_for_the_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk()
    for what, seconds in (("started", 0.0), ("done", 1.25)):
        talk.step("a", what, seconds)
    talk.step("b", "cached", 0.0)
    talk.step("c", "failed", 0.0)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert [line.split("] ")[1] for line in seen.err.splitlines()] == [
        "started  a",
        "   done  a (1.2 s)",
        " failed  c",
    ]
    assert talk.steps == [
        {"name": "a", "cached": False, "seconds": 1.25},
        {"name": "b", "cached": True, "seconds": 0.0},
    ]


def test_what_helps_an_image_is_said_a_line_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk()
    talk.cures({"image a": MachineError("no TLS", hint="write\nthis"), "image b": StepError("no")})
    said = [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()]
    assert said == ["image a: next: write", "image a: next: this"]


def test_quiet_says_nothing_and_verbose_names_what_was_cached(capsys: pytest.CaptureFixture[str]) -> None:
    Talk(quiet=True).step("a", "failed", 0.0)
    Talk(verbose=True).step("b", "cached", 0.0)
    assert capsys.readouterr().err.split("] ")[1:] == [" cached  b\n"]
