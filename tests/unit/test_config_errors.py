"""A config that does not fit: each pair is a file and the exact text that is printed for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from py_portable.config.document import MAX_BYTES, MAX_DEPTH
from py_portable.errors import TAIL_LINES, ConfigError
from py_portable.formats import FORMATS, load_config, parse_config
from tests.integration.toy_formats import Packed, Toy

PAIRS = Path(__file__).parent / "data" / "config"
HEAD = b'version: 1\napp: {requirement: "httpie==3.2.4"}\npython: "3.13"\n'


def said(text: bytes, base: Path = PAIRS) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "portable.yaml", base)
    return caught.value.render()


@pytest.mark.parametrize("pair", sorted(PAIRS.glob("*.yaml")), ids=lambda path: path.stem)
def test_pair(pair: Path) -> None:
    known = ", ".join(name for name, one in FORMATS.items() if one.summary)
    text = pair.with_suffix(".txt").read_text("utf-8").replace("{formats}", known)
    assert said(pair.read_bytes()) + "\n" == text


def test_a_format_more_changes_no_other_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (Toy(), Packed()):
        monkeypatch.setitem(FORMATS, one.name, one)
    for pair in PAIRS.glob("*.yaml"):
        test_pair(pair)


def test_each_pair_is_whole() -> None:
    stems = {suffix: {path.stem for path in PAIRS.glob(f"*{suffix}")} for suffix in (".yaml", ".txt")}
    assert stems[".yaml"] == stems[".txt"]
    assert len(stems[".yaml"]) > 80


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", ":1:1: the file is empty\n  | 1 | \n  |   | ^\n  next: run: py-portable init"),
        (b"\x7fELF\x02\x01\x01\x00", ":1:1: the file is not plain text: character U+007F"),
        (b"a: 1\nb: \x00", ":2:4: the file is not plain text: character U+0000"),
        (b"a: 1\nb: \x1b[31m", ":2:4: the file is not plain text: character U+001B"),
        (b"a: 1\nb: \xe9t\xe9", ":2:4: the file is not UTF-8 text: byte 0xe9"),
        (b"\xe2\x82", ":1:1: the file is not UTF-8 text: byte 0xe2"),
        ("a: 1".encode("utf-16"), ": the file is UTF-16 text: save it as UTF-8"),
        ("a: x\u2028b".encode(), ":1:5: the file is not plain text: character U+2028"),
        (bytes(MAX_BYTES + 1), ": the file is larger than 1 MiB: that cannot be a config"),
    ],
    ids=["empty", "elf", "nul", "escape", "latin-1", "cut", "utf-16", "separator", "large"],
)
def test_bytes_that_are_not_text(text: bytes, message: str) -> None:
    assert said(text) == f"Error: portable.yaml{message}"


def test_a_file_of_10_megabytes_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("portable.yaml").open("wb") as stream:
        stream.truncate(10 << 20)
    with pytest.raises(ConfigError) as caught:
        load_config(Path("portable.yaml"))
    assert str(caught.value) == "Error: portable.yaml: the file is larger than 1 MiB: that cannot be a config"


def test_anchors_that_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    text = said("\n".join(lines).encode())
    assert text.splitlines()[0] == "Error: portable.yaml:1:34: aliases (*…) make more than 20000 values"


def test_anchors_that_nest_deeply() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 60)]
    text = said("\n".join(lines).encode())
    assert text.splitlines()[0] == "Error: portable.yaml:1:10: nested more than 40 deep"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"[" * 100_000, "1:41"),
        (b"{" * 100_000, "1:41"),
        (b"- " * 100_000, "1:81"),
        (b"? " * 100_000, "1:81"),
        (b"".join(b" " * i + b"a:\n" for i in range(500)), "40:40"),
    ],
    ids=["lists", "mappings", "dashes", "keys", "blocks"],
)
def test_deep_nesting(text: bytes, place: str) -> None:
    assert MAX_DEPTH == 40
    assert said(text).splitlines()[0] == f"Error: portable.yaml:{place}: nested more than 40 deep"


def test_too_many_values() -> None:
    text = said(b"[" + b"a," * 30_000 + b"]")
    assert text.splitlines()[0] == "Error: portable.yaml:1:40000: the file holds more than 20000 values"


def test_many_errors_stay_readable() -> None:
    text = said(HEAD + b"artifacts: [" + b"7," * 1_000 + b"]")
    assert text.splitlines()[0] == ("Error: portable.yaml:4:13: artifacts[0]: expected the name of a format; found 7")
    assert text.splitlines()[-1] == "  | and 994 more"
    assert len(text.splitlines()) <= TAIL_LINES


def test_a_long_line_is_shown_around_the_error() -> None:
    line = b"build: {env: {A: " + b"x" * 300 + b", B: 1, C: " + b"y" * 300 + b"}}"
    text = said(HEAD + line + b"\nartifacts: [file]\n")
    assert text.splitlines()[:3] == [
        'Error: portable.yaml:4:323: build.env.B: expected text; put it in quotes: "1"',
        "  | 4 | " + "x" * 43 + ", B: 1, C: " + "y" * 42,
        "  |   | " + " " * 48 + "^",
    ]


def test_what_is_shown_cannot_steer_a_terminal() -> None:
    text = said(HEAD + b'artifacts: ["\\e[31mred\\a"]\n')
    assert "control character U+001B" in text
    assert text.isascii()


def test_the_error_in_the_documentation_is_the_one_that_is_printed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "config.md").read_text("utf-8")
    assert (PAIRS / "unknown-key-in-format.txt").read_text("utf-8") in page
