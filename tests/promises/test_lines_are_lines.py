"""A line that a smoke command asks for is there or it is not: all that was printed counts, however much it is, and
nothing but a line feed ends a line. What an app prints of its loader counts where its ELF files bear it out."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.base.capture import Captured, Lines, Window
from py_portable.config import Smoke
from py_portable.engines import static_helpers
from py_portable.engines.engine import Bind
from py_portable.engines.guard import split_record
from py_portable.formats import Start
from py_portable.prove.borne import asked_for
from py_portable.prove.cell_runs import CAPTURE_BYTES
from tests.promises.starts import app, compile_say, empty_root, prove

HALF = CAPTURE_BYTES // 2
WANTED = "all is well"
MADE_BY_THE_CUT = b"x\n" * ((HALF - len(WANTED) - 1) // 2)
MADE_BY_THE_CUT += b"x" * (HALF - len(WANTED) - 1 - len(MADE_BY_THE_CUT)) + b"\n" + WANTED.encode()
"""The first half of what is kept ends with the wanted words: what comes next belongs to the same line."""
SAID = {
    "a line beyond what is kept": (b"x\n" * HALF * 2 + WANTED.encode() + b"\n" + b"y\n" * HALF * 2, None),
    "a line that the cut makes": (MADE_BY_THE_CUT + b", or was" + b"\ny" * HALF * 3, "output"),
    "form feed": (b"no, \x0c" + WANTED.encode() + b"\x0c\n", "output"),
    "U+2028": (f"no, \u2028{WANTED}\u2028\n".encode(), "output"),
    "other ends of Unicode": (f"\x0b{WANTED}\x1c\x1d\x1e\x85\n".encode(), "output"),
    "carriage return alone": (f"no\r{WANTED}\rno\n".encode(), "output"),
    "carriage return and line feed": (f"x\r\n{WANTED}\r\n".encode(), None),
    "the last one without an end": (f"x\n{WANTED}".encode(), None),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    folder.chmod(0o755)
    empty_root(folder / "root")
    static_helpers.put(folder / "helpers")
    compile_say(folder)
    return folder


@pytest.mark.integration
@pytest.mark.parametrize("name", ["bubblewrap", "chroot", "docker"])
def test_a_start_is_held_to_all_that_it_printed(
    tiny: Path, name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "docker":
        for variable, value in request.getfixturevalue("docker").items():
            monkeypatch.setenv(variable, value)
    folder = tiny / name
    folder.mkdir()
    cases = list(SAID) if name == "bubblewrap" else list(SAID)[:2]
    starts = [
        (app(folder, tiny / "say", f"{stream}-{number}", **{stream: SAID[case][0]}), Smoke((), **{f"std{stream}": (WANTED,)}))
        for stream in ("out", "err")
        for number, case in enumerate(cases)
    ]  # fmt: skip
    found = prove(folder, name, tiny / "helpers", tiny / "root", starts)
    assert [cell.reason for cell in found] == [SAID[case][1] for case in cases] * 2, [c.detail for c in found]
    assert {cell.verdict for cell in found} == {"PASS", "FAIL"}


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    return [data[one:other] for one, other in itertools.pairwise(at)]


TEXTS = st.text(st.sampled_from("ab\r\x0c\u2028 "), max_size=4)


@given(st.lists(TEXTS, max_size=6), st.lists(TEXTS, max_size=3), st.lists(st.integers(0, 99)), st.booleans())
def test_however_it_comes_in_pieces(said: list[str], wanted: list[str], cuts: list[int], ended: bool) -> None:
    data = "\n".join(said).encode() + (b"\n" if ended else b"")
    window = Window(2, wanted)
    for piece in in_pieces(data, cuts):
        window.feed(piece)
    there = data.decode().split("\n")
    lines = iter(line.removesuffix("\r") for line in (there if there[-1] else there[:-1]))
    lost = next((line for line in wanted if line not in lines), None)
    assert window.done().lost == lost


@given(st.binary(max_size=60), st.lists(st.integers(0, 99)))
def test_no_more_is_kept_of_a_line_than_can_be_wanted(data: bytes, cuts: list[int]) -> None:
    lines = Lines(["abc"])
    for piece in in_pieces(data * 50, cuts):
        lines.feed(piece)
        assert len(lines._part) <= len("abc\r\n")


def test_the_record_of_a_container_is_no_line_of_the_app() -> None:
    kept = Captured(b"first", b"last\nsecret {}\nthe engine", 1000, "wanted")
    stderr, record = split_record(kept, "secret")
    assert (stderr.head, stderr.tail, stderr.lost, record) == (b"first", b"lastthe engine", "wanted", b"{}\n")
    assert stderr.cut and stderr.total == 1000 - len(b"\nsecret {}\n")


def test_a_loader_is_not_heard_from_a_script(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho 'libpq.so.5: cannot open shared object file' >&2; exit 1\n")
    script = Start("/opt/app/tool", (Bind(tmp_path / "tool", "/opt/app/tool"),))
    assert not asked_for(script, "libpq.so.5 not found")


def test_a_loader_is_heard_where_an_extension_asks_for_it(tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text("extern int not_there(void); int x(void) { return not_there(); }\n")
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "tool").write_text("#!/bin/sh\n")
    build = [*static_helpers.compiler(), "-shared", "-fPIC", "-nostdlib", "-Wl,--no-as-needed", "-o"]
    subprocess.run([*build, tmp_path / "libneeded.so.7", "-Wl,-soname,libneeded.so.7", source], check=True)
    subprocess.run([*build, folder / "x.so", source, tmp_path / "libneeded.so.7"], check=True)
    start = Start("/opt/app/tool", (Bind(folder, "/opt/app"),))
    assert asked_for(start, "libneeded.so.7 not found")
    assert asked_for(start, "undefined symbol not_there")
    for detail in ("libpq.so.5 not found", "undefined symbol other", "GLIBCXX_3.4.29 not found", ""):
        assert not asked_for(start, detail), detail


@pytest.mark.integration
def test_an_expected_failure_is_no_text_of_a_script(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho 'libpq.so.5: cannot open shared object file' >&2; exit 1\n")
    tool.chmod(0o755)
    for expect, said in (("fail:library", "says: libpq.so.5 not found"), ("fail:nonsense", "REASON is one of")):
        done = subprocess.run(
            [sys.executable, "-m", "py_portable", "prove", tool, "--image", "debian:12", "--expect", expect],
            capture_output=True,
            text=True,
            env=os.environ,
        )
        assert (done.returncode, said in done.stdout + done.stderr) == (1 if "nonsense" not in expect else 2, True)
