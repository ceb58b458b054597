"""The manifest: canonical, sensitive to what counts, safe for any name."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from py_portable.store import ManifestRow, digest, manifest
from py_portable.store.manifest import decode, differences, digest_of, encode, printable, to_bytes, to_text

# Any bytes that may stand in a file name.
names = (
    st.binary(min_size=1, max_size=12)
    .map(lambda raw: raw.replace(b"\0", b"x").replace(b"/", b"y"))
    .filter(lambda raw: raw not in (b".", b".."))
)
paths = st.lists(names, min_size=1, max_size=3).map(lambda parts: to_text(b"/".join(parts)))
records = st.builds(
    ManifestRow,
    path=paths | st.just("."),
    kind=st.sampled_from(["file", "folder", "link", "char", "block", "fifo", "socket"]),
    mode=st.integers(0, 0o7777),
    size=st.integers(0, 1 << 50),
    value=st.text() | paths,
)
record_lists = st.lists(records, max_size=8, unique_by=lambda record: record.path)


@given(record_lists)
def test_decode_undoes_encode(chosen: list[ManifestRow]) -> None:
    assert decode(encode(chosen)) == sorted(chosen, key=lambda record: to_bytes(record.path))


@given(record_lists, st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(chosen: list[ManifestRow], chance: object) -> None:
    shuffled = list(chosen)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert encode(shuffled) == encode(chosen)


@given(record_lists.filter(bool), record_lists)
def test_other_records_give_other_bytes(one: list[ManifestRow], two: list[ManifestRow]) -> None:
    assert (encode(one) == encode(two)) == (set(one) == set(two))


@given(names)
@example(b"\xed\xb2\x80")  # the UTF-8 of a lone surrogate: not UTF-8
@example("😀".encode() + b"\x80")  # an escape right after a pair
def test_any_name_survives_json(name: bytes) -> None:
    assert to_bytes(json.loads(json.dumps(to_text(name)))) == name


@settings(max_examples=60)
@given(st.dictionaries(names, st.binary(max_size=40), max_size=6), st.randoms(use_true_random=False))
def test_a_tree_has_one_digest_in_whatever_order_it_was_made(files: dict[bytes, bytes], chance: object) -> None:
    found = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as room:
            top = Path(room)
            top.chmod(0o755)
            items = list(files.items())
            chance.shuffle(items)  # type: ignore[attr-defined]
            for name, content in items:
                path = top / os.fsdecode(name)
                path.write_bytes(content)
                path.chmod(0o644)
            found.append(digest(top))
            inside = [record for record in manifest(top) if record.path != "."]
            assert [(to_bytes(record.path), record.size) for record in inside] == [
                (name, len(files[name])) for name in sorted(files)
            ]
    assert found[0] == found[1]


@settings(max_examples=60)
@given(st.integers(0, 0o7777), st.integers(0, 0o7777), st.booleans())
def test_modes_count(one: int, two: int, folder: bool) -> None:
    # A folder or file that the owner can't read can be hashed by root only.
    one, two = one | 0o500, two | 0o500
    with tempfile.TemporaryDirectory() as room:
        path = Path(room) / "thing"
        path.mkdir() if folder else path.write_bytes(b"x")
        found = []
        for mode in (one, two):
            path.chmod(mode)
            found.append((stat.S_IMODE(path.stat().st_mode), digest(Path(room))))
    assert (found[0][0] == found[1][0]) == (found[0][1] == found[1][1])


def test_the_mode_of_the_folder_itself_counts(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    before = digest(tmp_path)
    tmp_path.chmod(0o750)
    assert digest(tmp_path) != before


@pytest.mark.parametrize("path", ["/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/", "", "./a", "a/.", "a\0b"])
def test_a_manifest_with_a_path_that_leaves_its_folder_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a line of a manifest"):
        decode(encode([ManifestRow(path, "file", 0o644)]))


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"py-portable manifest 2\n", b'py-portable manifest 1\n["a"]\n',
     b'py-portable manifest 1\n["a","file","9",0,""]\n', b'py-portable manifest 1\n["a","door","0644",0,""]\n',
     b'py-portable manifest 1\n["a","file","0644",0,""]'],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


def test_digests_are_those_of_the_world(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest(file) == known == digest_of(b"abc")


def test_differences_name_each_path_and_how(tmp_path: Path) -> None:
    old = [ManifestRow("a", "file", 0o644, 1, "11"), ManifestRow("b", "file", 0o644), ManifestRow("c", "folder", 0o755),
           ManifestRow("e", "link", 0, 0, "x"), ManifestRow("f", "file", 0o644)]  # fmt: skip
    new = [ManifestRow("a", "file", 0o644, 1, "22"), ManifestRow("b", "file", 0o755), ManifestRow("d\n", "file", 0o600),
           ManifestRow("e", "link", 0, 0, "y"), ManifestRow("f", "fifo", 0o644)]  # fmt: skip
    assert differences(old, new) == [
        "a: other contents",
        "b: mode was 0644, is 0755",
        "c: missing",
        "'d\\n': was not there",
        "e: other target",
        "f: was a file, is a fifo",
    ]
    assert len(differences(old, new, limit=2)) == 2


@given(paths)
def test_a_path_can_always_be_printed(path: str) -> None:
    printable(path).encode("utf-8")
