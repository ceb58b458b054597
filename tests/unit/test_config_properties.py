"""Whatever the bytes are, the answer is a Config or a ConfigError, soon, and it can be printed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_portable.config import Config
from py_portable.config.document import MAX_BYTES
from py_portable.errors import TAIL_LINES, ConfigError
from py_portable.formats import parse_config

ROOT = Path(__file__).parents[2]
SAMPLE = (ROOT / "portable.yaml").read_bytes()
SECONDS = 20.0  # what the slowest MiB may take on a busy machine; usual is 1 to 5

# Words of YAML and of the config; a blank parts them here, so a blank itself and line ends come after.
_YAML = r"""a a: - ? [ ] { } , &a *a !t !!int !<x> | >- " ' \ \U0011ffff \x00 # %YAML % @ ` --- ... <<: ~
    null true on 3.10 .inf 0x1f 1:30 2024-01-01 é 🐍"""
_WORDS = """version app source requirement script smoke args timeout exit python baselines default image
    packages build env wheels max-glibc artifacts format from baseline path lto portability images probes
    controls expect"""
_BLANKS = [" ", "\n", "\n  ", "\n    ", "\t", "\r", "\ufeff", "\x85", "\u2028", "\ud7ff", ": "]

KEYS = st.sampled_from(_WORDS.split())
PIECES = KEYS | st.sampled_from(_YAML.split()) | st.sampled_from(_BLANKS)
VALUES = st.recursive(
    st.sampled_from(["1", "3.10", "~", "true", '"x"', "debian:11", "wheelhouse", "file", "x", "-1"]) | KEYS,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(KEYS, inner, max_size=4).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=20,
)


def check(text: bytes) -> None:
    started = time.monotonic()
    try:
        config = parse_config(text, "portable.yaml", ROOT)
    except ConfigError as problem:
        shown = problem.render()
        assert shown.startswith("Error: portable.yaml")
        assert len(shown.splitlines()) <= TAIL_LINES + 3
        assert all(each.isprintable() or each in "\n\xa0" or not each.isascii() for each in shown), shown
        shown.encode("utf-8")
    else:
        assert isinstance(config, Config)
        assert config.app.smoke and config.artifacts
    assert time.monotonic() - started < SECONDS


@settings(max_examples=150)
@given(st.binary(max_size=400))
def test_any_bytes(text: bytes) -> None:
    check(text)


@settings(max_examples=150)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    check(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=200)
@given(st.lists(PIECES, max_size=40))
def test_pieces_of_yaml(pieces: list[str]) -> None:
    check("".join(pieces).encode())


@settings(max_examples=200)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_shape_of_data(data: dict[str, str]) -> None:
    check("\n".join(f"{key}: {value}" for key, value in data.items()).encode())


@settings(max_examples=150)
@given(st.data())
def test_the_sample_with_something_changed(data: st.DataObject) -> None:
    lines = SAMPLE.decode().splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "double", "indent", "value", "cut"])):
            case "drop":
                del lines[place]
            case "double":
                lines.insert(place, lines[place])
            case "indent":
                lines[place] = "  " + lines[place]
            case "value":
                lines[place] = lines[place].split(":")[0] + ": " + data.draw(VALUES)
            case "cut":
                lines[place] = lines[place][: data.draw(st.integers(0, len(lines[place])))]
        if not lines:
            break
    check("\n".join(lines).encode())


@pytest.mark.parametrize(
    "begin, piece",
    [
        (b"", b"%a\n"),
        (b"", b"\n"),
        (b"", b"&a"),
        (b"", b"x: 1\n"),
        (b"", b"["),
        (b"a: ", b"x\n "),
        (b"a: >\n ", b"x\n "),
        (b'"', b"\\n"),
    ],
    ids=repr,
)
def test_a_mebibyte_of_anything_ends_soon(begin: bytes, piece: bytes) -> None:
    check((begin + piece * (MAX_BYTES // len(piece) + 1))[:MAX_BYTES])
