"""The archive of a changed root: cleaned, and never trusted."""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.errors import StepError
from py_portable.images.adding.normalise import FIXED, Moment, settle

NOW, EPOCH = 2000, 1000
FOLDER, LINK, HARD, DEVICE, FILE = (
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.REGTYPE,
)
Row = tuple[str, bytes, str, int]
"""Name, type, contents or target, time."""


def pack(path: Path, rows: Sequence[Row], headers: Mapping[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as out:
        for name, kind, text, when in rows:
            info = tarfile.TarInfo(name)
            info.type, info.mtime, info.mode = kind, when, 0o755
            info.pax_headers = dict(headers or {})
            if kind == FILE:
                info.size = len(text.encode())
            else:
                info.linkname = text
            out.addfile(info, io.BytesIO(text.encode() if kind == FILE else b""))
    return path


def run(rows: Sequence[Row], kept: Sequence[Row] = (), base: Sequence[str] = (), **more: Mapping[str, str]) -> Path:
    place = Path(tempfile.mkdtemp(prefix="settle-"))
    source = pack(place / "source", rows, more.get("headers"))
    held = pack(place / "kept", (("./", FOLDER, "", 5), *kept))
    settle(source, held, place / "out", moment=Moment(NOW, EPOCH), in_base=lambda name: name in base)
    return place / "out"


def read(path: Path) -> dict[str, tuple[bytes, str, int]]:
    """Type, contents or target, and time by name; every name once."""
    found: dict[str, tuple[bytes, str, int]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            assert name not in found
            data = archive.extractfile(member) if member.isreg() else None
            found[name] = (member.type, data.read().decode() if data else member.linkname, int(member.mtime))
    return found


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def folders(*names: str) -> list[Row]:
    return [(f"./{name}", FOLDER, "", 7) for name in names]


def test_what_the_moment_left_is_gone_and_the_rest_is_as_it_was() -> None:
    found = read(
        run(
            [
                *folders("etc", "usr", "var", "var/log", "var/cache", "var/cache/apt", "var/lib", "var/lib/dpkg"),
                ("./usr/old", FILE, "old", 7),
                ("./usr/new", FILE, "new", NOW),
                ("./usr/__pycache__", FOLDER, "", NOW),
                ("./usr/__pycache__/x.pyc", FILE, "x", NOW),
                ("./var/log/dpkg.log", FILE, "today", NOW),
                ("./var/cache/apt/pkgcache.bin", FILE, "x", NOW),
                ("./var/lib/dpkg/status", FILE, "s", NOW),
                ("./var/lib/dpkg/status-old", FILE, "s", NOW),
                ("./etc/machine-id", FILE, "abc\n", 7),
                ("./etc/passwd-", FILE, "x", 7),
                ("./run", FOLDER, "", NOW),
                ("./run/lock", FOLDER, "", NOW),
                ("./run/x.pid", FILE, "1", NOW),
            ],
            base=("run", "run/lock"),
        )
    )
    assert found["usr/old"] == (FILE, "old", 7)
    assert found["usr/new"] == (FILE, "new", EPOCH)
    assert found["var/log/dpkg.log"] == (FILE, "", EPOCH)
    assert found["etc/machine-id"] == (FILE, "", 7)
    assert "run/lock" in found and "var/lib/dpkg/status" in found
    gone = {
        "usr/__pycache__",
        "usr/__pycache__/x.pyc",
        "var/cache/apt/pkgcache.bin",
        "var/lib/dpkg/status-old",
    }
    assert not {*gone, "etc/passwd-", "run/x.pid"} & set(found)


def test_what_was_mounted_is_as_in_the_base() -> None:
    rows: list[Row] = [
        *folders("etc", "etc/apt", "dev", "out", "tmp"),
        ("./etc/resolv.conf", FILE, "nameserver 1.2.3.4", NOW),
        ("./etc/hosts", FILE, "mine", NOW),
        ("./etc/apt/sources.list", FILE, "deb http://mirror.test", NOW),
        ("./out/x", FILE, "x", NOW),
    ]
    kept: list[Row] = [
        *folders("dev", "tmp"),
        ("./tmp/own", FILE, "own", 7),
        ("./etc/hosts", FILE, "own hosts", 7),
        ("./etc/hostname", FILE, "", 7),
        ("./etc/resolv.conf", LINK, "../run/resolve", 7),
    ]
    found = read(run(rows, kept))
    assert found["etc/hosts"][1] == "own hosts" and found["tmp/own"][1] == "own"
    assert found["etc/resolv.conf"][:2] == (LINK, "../run/resolve")
    assert found["etc/hostname"][1].encode() == FIXED["etc/hostname"]
    assert "etc/apt/sources.list" not in found and "out" not in found and "dev" in found


def test_hard_links_outlive_the_name_that_came_first() -> None:
    found = read(
        run(
            [
                *folders("var", "var/cache", "var/cache/dnf", "usr"),
                ("./var/cache/dnf/a", FILE, "text", 7),
                ("./usr/b", HARD, "./var/cache/dnf/a", 7),
                ("./usr/c", HARD, "./var/cache/dnf/a", 7),
            ]
        )
    )
    assert found["usr/b"] == (FILE, "text", 7)
    assert found["usr/c"][:2] == (HARD, "./usr/b")


def test_devices_are_left_out_and_attributes_chosen() -> None:
    headers = {
        "SCHILY.xattr.security.capability": "\1\0\0\2\udcff",
        "SCHILY.xattr.user.note": "x",
        "SCHILY.xattr.security.selinux": "x",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
    }
    path = run([("./a", FILE, "a", 7), ("./null", DEVICE, "", 7)], headers=headers)
    with tarfile.open(path) as archive:
        assert "./null" not in archive.getnames()
        kept = archive.getmember("./a").pax_headers
    assert {name for name in kept if "xattr" in name} == {
        "SCHILY.xattr.security.capability",
        "SCHILY.xattr.user.note",
    }
    assert kept["SCHILY.xattr.security.capability"] == headers["SCHILY.xattr.security.capability"]


@pytest.mark.parametrize(
    "rows",
    [
        [("/etc/passwd", FILE, "x", 7)],
        [("../x", FILE, "x", 7)],
        [("./a/../../x", FILE, "x", 7)],
        [("./a", LINK, "/etc", 7), ("./a/passwd", FILE, "x", 7)],
        [("./a", FILE, "x", 7), ("./a/b", FILE, "x", 7)],
        [("./a", FILE, "x", 7), ("./a", LINK, "/etc", 7)],
        [("./a", HARD, "/etc/passwd", 7)],
        [("./a", HARD, "./gone", 7)],
        [("./b", LINK, "/etc/passwd", 7), ("./a", HARD, "./b", 7)],
    ],
)
def test_a_hostile_archive_is_refused(rows: list[Row]) -> None:
    with pytest.raises(StepError, match="the image's tar wrote"):
        run(rows)


def test_what_is_no_archive_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"no archive" * 200)
    kept = pack(tmp_path / "kept", [("./", FOLDER, "", 5)])
    with pytest.raises(StepError, match="cannot be read"):
        settle(path, kept, tmp_path / "out", moment=Moment(NOW, EPOCH), in_base=lambda _: False)


words = st.sampled_from(["a", "b", "etc", "..", ".", "run", "tmp", "var", "log", "x\udcff"])
names = st.lists(words, min_size=1, max_size=3).map("/".join)
rows = st.lists(
    st.tuples(
        st.one_of(names, names.map(lambda n: f"/{n}")),
        st.sampled_from([FILE, FOLDER, LINK, HARD, DEVICE]),
        names,
        st.sampled_from([7, NOW]),
    ),
    max_size=8,
)


@given(rows)
def test_no_archive_leads_out_of_the_root(listed: list[Row]) -> None:
    listed = [(n, kind, "x" if kind == FILE else text, when) for n, kind, text, when in listed]
    with contextlib.suppress(StepError):
        made = run(listed)
        seen: dict[str, bytes] = {}
        with tarfile.open(made) as archive:
            for member in archive:
                assert member.type in (FILE, FOLDER, LINK, HARD)
                parts = member.name.split("/")
                assert parts[0] == "." and ".." not in parts and member.name not in seen
                parent = "/".join(parts[:-1])
                assert parent in ("", ".") or seen[parent] == FOLDER
                if member.type == HARD:
                    assert seen[member.linkname] == FILE
                seen[member.name] = member.type
