"""The reader of tar archives: Python's tarfile and GNU tar as oracles; any bytes end in entries or Refused."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_portable.images.layers.bounds import Limits, Refused
from py_portable.images.layers.fields import number, pax_records
from py_portable.images.layers.tar import Member, Reader
from tests.unit.layer_builder import archive, file, folder, link, member, symlink

KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "link",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "device",
}
bounded = settings(max_examples=300, deadline=10_000)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=300).map(
    lambda text: text.strip("/") or "x"
)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(data: bytes, size: int = 1 << 16, limits: Limits = Limits()) -> list[tuple[Member, bytes]]:  # noqa: B008
    reader = Reader(cut(data, size), limits)
    return [(entry, b"".join(bytes(piece) for piece in reader.data())) for entry in reader.entries()]


@given(
    st.lists(
        st.tuples(
            NAMES,
            st.sampled_from(list(KINDS)),
            st.binary(max_size=1500),
            NAMES,
            st.integers(0, 2**32 - 2),
            st.integers(0, 0o7777),
            st.one_of(st.integers(0, 2**33), st.integers(0, 2**31).map(lambda seconds: seconds + 0.25)),
        ),
        max_size=5,
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.sampled_from([1, 7, 512, 1000, 1 << 16]),
)
@bounded
def test_what_tarfile_writes_is_read_as_tarfile_reads_it(
    wanted: list[tuple[str, bytes, bytes, str, int, int, float]], form: int, size: int
) -> None:
    members = [
        member(
            name,
            kind,
            data if kind == tarfile.REGTYPE else b"",
            linkname=target if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "",
            uid=owner,
            gid=owner // 3,
            mode=mode,
            mtime=time,
        )
        for name, kind, data, target, owner, mode, time in wanted
    ]
    data = archive(members, form)
    found = read(data, size)
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        theirs = opened.getmembers()
        assert len(found) == len(theirs)
        for (entry, held), info in zip(found, theirs, strict=True):
            assert entry.name.rstrip(b"/") == info.name.encode()
            assert entry.kind == KINDS[info.type]
            assert (entry.uid, entry.gid, entry.mode) == (info.uid, info.gid, info.mode)
            assert entry.mtime_ns == pytest.approx(info.mtime * 1e9, abs=1000)
            assert entry.target == info.linkname.encode()
            extracted = opened.extractfile(info) if info.isreg() else None
            assert held == (extracted.read() if extracted else b"")


def test_names_are_bytes() -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        for name in ("\udcff\udcfe", "a" * 99 + "/\udcc3", "a" * 150 + "/" + "\udcff" * 50):
            [(entry, _)] = read(archive([file(name)], form))
            assert entry.name == name.encode("utf-8", "surrogateescape")


def test_attributes_of_pax_headers() -> None:
    info = file("a", pax_headers={"SCHILY.xattr.user.x": "1=2", "SCHILY.xattr.user.none": "", "comment": "c"})
    [(entry, _)] = read(archive([info]))
    assert entry.xattrs == ((b"user.x", b"1=2"),)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("12.5", 12_500_000_000),
        ("7.", 7_000_000_000),
        ("0.1234567899", 123456789),
        ("-3", 0),
        ("99999999999999", 0),
    ],
)
def test_times(record: str, expected: int) -> None:
    [(entry, _)] = read(archive([file("a", pax_headers={"mtime": record})]))
    assert entry.mtime_ns == expected


@pytest.mark.parametrize(
    "word", ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"]
)
def test_sparse_files_of_gnu_tar(word: str, tmp_path: Path) -> None:
    assert shutil.which("tar")
    expected = bytearray(3 << 20)
    with (tmp_path / "s").open("wb") as stream:
        for at in (*range(0, 2 << 20, 64 << 10), (3 << 20) - 20):
            stream.seek(at)
            stream.write(b"data %d" % at)
            expected[at : at + len(b"data %d" % at)] = b"data %d" % at
        stream.truncate(3 << 20)
    (tmp_path / "t").write_bytes(b"behind")
    argv = [
        "tar",
        "--sparse",
        "-C",
        tmp_path,
        "-c",
        word,
        *(["--format=posix"] if "version" in word else []),
        "s",
        "t",
    ]
    data = subprocess.run(argv, capture_output=True, check=True).stdout
    (entry, stored), (behind, held) = read(data, 1000)
    assert (entry.name, entry.size, entry.kind, behind.name, held) == (b"s", 3 << 20, "file", b"t", b"behind")
    assert entry.holes
    assert len(stored) < 1 << 20
    made, at = bytearray(entry.size), 0
    for offset, length in entry.holes:
        made[offset : offset + length] = stored[at : at + length]
        at += length
    assert made == expected
    with pytest.raises(Refused, match=r"too long|limit is 64"):
        read(data, limits=replace(Limits(), header_bytes=64))


SPARSE = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": "10"}
BAD = {
    "a map that overlaps": [file("a", b"1234", pax_headers={**SPARSE, "GNU.sparse.map": "0,2,1,2"})],
    "a map beyond the end": [file("a", b"1234", pax_headers={**SPARSE, "GNU.sparse.map": "8,4"})],
    "a map of less than there is": [file("a", b"1234", pax_headers={**SPARSE, "GNU.sparse.map": "0,2"})],
    "half a map": [file("a", b"1234", pax_headers={**SPARSE, "GNU.sparse.map": "0,4,6"})],
    "a map of words": [file("a", b"1234", pax_headers={**SPARSE, "GNU.sparse.map": "x,4"})],
    "a sparse folder": [folder("a", pax_headers={**SPARSE, "GNU.sparse.map": "0,0"})],
    "an unknown sparse format": [file("a", pax_headers={**SPARSE, "GNU.sparse.major": "2"})],
    "a sparse file without size": [file("a", pax_headers={"GNU.sparse.map": "0,1"})],
    "a negative owner": [file("a", pax_headers={"uid": "-1"})],
    "the owner that chown leaves alone": [file("a", pax_headers={"gid": str(2**32 - 1)})],
    "a size of words": [file("a", pax_headers={"size": "1e3"})],
    "an underscored size": [file("a", pax_headers={"size": "1_0"})],
    "a time of words": [file("a", pax_headers={"mtime": "inf"})],
    "a zero byte in a name": [file("a", pax_headers={"path": "a\0b"})],
    "an unknown type": [member("a", b"Q")],
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_entry_is_refused_by_name(what: str) -> None:
    with pytest.raises(Refused) as caught:
        read(archive(BAD[what]))
    assert caught.value.path is not None and caught.value.path.startswith(b"a")


def extended(kind: bytes, data: bytes) -> bytes:
    return archive([member("x", kind, data)])[:-1024]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (extended(b"g", b"19 path=etc/passwd\n"), "global header"),
        (extended(b"x", b"999 path=a\n"), "not a list of records"),
        (extended(b"x", b"6 a=b"), "not a list of records"),
        (extended(b"x", b"5 ab\n"), "not a list of records"),
        (extended(b"x", b"3 =\n"), "not a list of records"),
        (extended(b"x", b"-5 a=b\n"), "not a list of records"),
        (extended(b"x", bytes(2 << 20)), "limit is 1048576"),
        (extended(b"L", b"a" * (2 << 20)), "limit is 1048576"),
        (
            extended(b"x", b"10 path=ab\n") + extended(b"L", b"c") + archive([file("d")]),
            "not a list|two long names",
        ),
        (extended(b"x", b"11 path=ab\n") + extended(b"L", b"c") + archive([file("d")]), "two long names"),
        (extended(b"L", b"c\0") + bytes(1024), "after an extended header"),
        (archive([file("a", b"x" * 600)])[:800], "ends in the middle"),
        (archive([file("a")])[:100], "ends in the middle"),
        (bytes(512) + archive([file("a")]), "empty header"),
        (b"\1" + archive([file("a")])[1:], "checksum"),
    ],
)
def test_a_damaged_archive_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        read(data)


def test_an_archive_may_end_without_its_mark() -> None:
    assert [entry.name for entry, _ in read(archive([file("a"), file("b")])[:-1024])] == [b"a", b"b"]
    assert [entry.name for entry, _ in read(archive([file("a")])[:-512])] == [b"a"]
    assert read(b"") == []


def test_only_files_have_data() -> None:
    """The header of a hard link or a folder may hold a size; nothing of that size follows."""
    odd = [link("l", "a"), symlink("s", "a"), folder("d")]
    for info, _ in odd:
        info.size = 700
    data = b"".join(info.tobuf(tarfile.GNU_FORMAT) for info, _ in odd) + archive([file("behind")])
    assert [(entry.name, entry.size) for entry, _ in read(data)] == [
        (b"l", 0),
        (b"s", 0),
        (b"d/", 0),
        (b"behind", 1),
    ]


def test_numbers() -> None:
    assert number(b"0000644\0") == 0o644
    assert number(b"   644 \0") == 0o644
    assert number(b"\0" * 8) == 0
    assert number(b"\x80" + b"\0" * 6 + b"\x09") == 9
    assert number(b"\xff" * 12) == -1
    for text in (b"0o17   \0", b"-1     \0", b"1_0    \0", b"888    \0", b"x      \0"):
        with pytest.raises(Refused):
            number(text)


SEED = archive(
    [
        folder("a"),
        file("a/" + "long" * 40, b"y" * 700, pax_headers={"SCHILY.xattr.user.x": "1"}),
        link("b", "a/x"),
        symlink("c", "d" * 120),
        file("s", b"1234", pax_headers={**SPARSE, "GNU.sparse.map": "0,4"}),
    ]
) + archive([file("l" * 200), symlink("m", "n" * 200)], tarfile.GNU_FORMAT)


@given(st.binary(max_size=3000), st.integers(1, 600))
@bounded
def test_any_bytes(data: bytes, size: int) -> None:
    for start in (b"", SEED[:512]):
        attempt(start + data, size)


def attempt(data: bytes, size: int) -> None:
    try:
        read(data, size)
    except Refused as problem:
        assert problem.reason


def resum(data: bytes) -> bytes:
    """Every block with the checksum of a header, so that a change in one is not found by that alone."""
    out = bytearray(data)
    for at in range(0, len(out) - 511, 512):
        block = out[at : at + 512]
        if block[257:262] == b"ustar":
            total = sum(block) - sum(block[148:156]) + 256
            out[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(out)


@given(
    st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, len(SEED)),
    st.booleans(),
)
@bounded
def test_a_changed_archive(changes: list[tuple[int, int]], end: int, whole: bool) -> None:
    data = bytearray(SEED)
    for at, value in changes:
        data[at] = value
    attempt(resum(bytes(data if whole else data[:end])), 4096)


@given(st.binary(max_size=200))
@bounded
def test_records_of_any_bytes(data: bytes) -> None:
    try:
        found = pax_records(data)
    except Refused:
        return
    lengths = itertools.accumulate(len(f"{k!r}{v!r}") for k, v in found)
    assert all(lengths)
