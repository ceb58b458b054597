"""Layers onto a root: what the image-spec says of each kind of entry, and what is refused, by name."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from py_portable import errors
from py_portable.images import ImageUnavailable
from py_portable.images.layers import blobs, stack
from py_portable.images.layers.bounds import Limits, shown
from py_portable.images.layers.stack import Layer, LayerError
from py_portable.images.layers.unpack import Failure
from tests.unit.layer_builder import (
    DEV,
    NEEDED,
    Member,
    archive,
    file,
    folder,
    link,
    member,
    put,
    seen,
    symlink,
    unpack_bytes,
    unpack_members,
)

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.fixture(autouse=True)
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip(NEEDED)


def names(root: Path) -> set[str]:
    return set(seen(root)) - {"."}


def refused(where: Path, *given: list[Member], **limits: int) -> str:
    with pytest.raises(Failure) as caught:
        unpack_members(where, *given, **limits)
    assert caught.value.kind == "layer"
    assert caught.value.what.startswith("layer "), "the layer is named"
    return caught.value.what


def test_entries_become_what_they_say(tmp_path: Path) -> None:
    unpack_members(
        tmp_path,
        [
            folder("./", mode=0o711, mtime=5),
            folder("./bin/", mtime=77),
            file("./bin/su", b"elf", mode=0o4755, mtime=12.5, uid=7, gid=8),
            link("bin/again", "./bin/su"),
            symlink("sh", "bin/su", mtime=9, uid=3),
            folder("tmp", mode=0o1777, mtime=4),
            member("tmp/pipe", tarfile.FIFOTYPE, mode=0o620, mtime=3),
            file("deep/er/x", mtime=2),
            file("/leading", b""),
        ],
    )
    root = tmp_path / "root"
    found = seen(root)
    assert found["."] == ("folder", 0o711, 5.0, None)
    assert found["bin"] == ("folder", 0o755, 77.0, None)
    assert found["bin/su"] == ("file", 0o4755, 12.5, b"elf", "bin/again")
    assert found["bin/again"] == ("file", 0o4755, 12.5, b"elf", "bin/again")
    assert found["sh"] == ("symlink", 0, 9.0, b"bin/su")
    assert found["tmp"] == ("folder", 0o1777, 4.0, None)
    assert (found["tmp/pipe"][:3], (root / "tmp/pipe").is_fifo()) == (("file", 0o620, 3.0), True)
    assert found["deep"] == found["deep/er"] == ("folder", 0o755, 0.0, None)
    assert found["leading"][3] == b""
    state = (root / "bin/su").stat()
    assert (state.st_uid, state.st_gid) == (7, 8)
    assert (root / "sh").lstat().st_uid == 3


def test_whiteouts_hide_what_lower_layers_made_and_nothing_else(tmp_path: Path) -> None:
    lower = [
        file("a/old"),
        file("a/new"),
        file("b/old"),
        file("c/d/old"),
        file("c/d/e/old"),
        symlink("s", "a"),
        file("f"),
    ]
    upper = [
        file("a/new", b"2"),
        file("a/.wh.old"),
        file("a/.wh.new"),
        file(".wh.b"),
        file(".wh.s"),
        file(".wh.not-there"),
        file("nowhere/.wh.x"),
        file("f/.wh.x"),
        file("c/d/e/new"),
        file("c/.wh..wh..opq"),
    ]
    unpack_members(tmp_path, lower, upper)
    assert names(tmp_path / "root") == {"a", "a/new", "c", "c/d", "c/d/e", "c/d/e/new", "f"}
    assert seen(tmp_path / "root")["a/new"][3] == b"2"


@pytest.mark.parametrize("first", [True, False])
def test_the_order_of_whiteouts_in_a_layer_does_not_matter(first: bool, tmp_path: Path) -> None:
    lower = [folder("a", mode=0o700, mtime=7), file("a/old"), folder("a/b", mode=0o700), file("a/b/old")]
    mark, made = [file(".wh.a")], [file("a/b/new")]
    unpack_members(tmp_path, lower, mark + made if first else made + mark)
    found = seen(tmp_path / "root")
    assert set(found) == {".", "a", "a/b", "a/b/new"}
    assert found["a"] == found["a/b"] == ("folder", 0o755, 0.0, None), "what the hidden folders were is hidden"


def test_an_opaque_root(tmp_path: Path) -> None:
    unpack_members(tmp_path, [file("a"), file("b/c")], [file("b/d"), file(".wh..wh..opq")])
    assert names(tmp_path / "root") == {"b", "b/d"}


def test_marks_of_aufs_are_passed_over(tmp_path: Path) -> None:
    unpack_members(tmp_path, [file("a"), folder(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs")])
    assert names(tmp_path / "root") == {"a"}


def test_one_kind_takes_the_place_of_another(tmp_path: Path) -> None:
    lower = [
        file("f/x/y"),
        file("g"),
        symlink("h", "f"),
        folder("i", mode=0o700, mtime=1),
        file("i/kept"),
        file("j"),
    ]
    upper = [
        file("f", b"now"),
        folder("g"),
        file("g/x"),
        folder("h"),
        folder("i", mode=0o750, mtime=2),
        file("j/x"),
    ]
    unpack_members(tmp_path, lower, upper)
    found = seen(tmp_path / "root")
    assert found["f"][3] == b"now"
    assert {name: found[name][0] for name in ("g", "h", "i", "j")} == dict.fromkeys("ghij", "folder")
    assert found["i"] == ("folder", 0o750, 2.0, None)
    assert {"i/kept", "g/x", "j/x"} < set(found)


def test_writing_a_file_again_leaves_its_other_name_alone(tmp_path: Path) -> None:
    unpack_members(tmp_path, [file("a", b"1"), link("b", "a")], [file("a", b"2")], [link("c", "b"), link("c", "c")])
    found = seen(tmp_path / "root")
    assert (found["a"][3], found["b"][3:], found["c"][3:]) == (b"2", (b"1", "b"), (b"1", "b"))


def test_links_are_followed_inside_the_root_only(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    unpack_members(
        tmp_path,
        [
            folder("usr/lib"),
            symlink("lib", "usr/lib"),
            symlink("abs", "/usr/lib"),
            symlink("up", "../../../../lib"),
            symlink("dangling", "made/here"),
            symlink("out", str(tmp_path)),
        ],
        [file("lib/1"), file("abs/2"), file("up/3"), file("dangling/4"), file("out/5"), file("lib/.wh.none")],
        [link("6", "lib/1"), link("7", "lib"), file("abs/.wh.2")],
    )
    found = seen(tmp_path / "root")
    inside = str(tmp_path).lstrip("/")
    assert {"usr/lib/1", "usr/lib/3", "made/here/4", f"{inside}/5", "6", "7"} < set(found)
    assert "usr/lib/2" not in found
    assert found["7"][0] == "symlink"
    assert list((tmp_path / "lib").iterdir()) == []
    assert not (tmp_path / "5").exists()


def test_a_link_means_what_it_says_where_it_stands_and_when(tmp_path: Path) -> None:
    unpack_members(
        tmp_path,
        [
            *(symlink("a/up", "../b"), file("a/up/1")),
            *(symlink("a/abs", "/b"), file("a/abs/2")),
            *(symlink("l", "a"), file("l/3"), symlink("l", "b"), file("l/4"), file("l/5")),
            *(symlink("m", "a"), file("m/6")),
        ],
        [file(".wh.m"), file("m/7"), file("l", b"file"), file("l/8")],
    )
    files = {name for name, what in seen(tmp_path / "root").items() if what[0] == "file"}
    assert files == {"b/1", "b/2", "a/3", "b/4", "b/5", "a/6", "m/7", "l/8"}


def test_sparse_files_have_their_holes(tmp_path: Path) -> None:
    records = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(8 << 20)}
    records |= {"GNU.sparse.map": f"0,2,{4 << 20},3"}
    tally = unpack_members(tmp_path, [file("a", b"12345", pax_headers=records), file("b", b"behind")])
    made = (tmp_path / "root/a").read_bytes()
    assert (len(made), made[:3], made[4 << 20 :][:4]) == (8 << 20, b"12\0", b"345\0")
    assert (tmp_path / "root/a").stat().st_blocks < 1000
    assert (tmp_path / "root/b").read_bytes() == b"behind"
    assert tally.file_bytes == (8 << 20) + 6


def test_device_nodes_below_dev_are_left_out(tmp_path: Path) -> None:
    tally = unpack_members(tmp_path, [folder("dev"), member("dev/null", DEV), member("./dev/pts/0", DEV)])
    assert names(tmp_path / "root") == {"dev"}
    assert tally.left_out == 2


def test_attributes(tmp_path: Path) -> None:
    records = {
        f"SCHILY.xattr.{name}": "v"
        for name in ("user.x", "user.overlay.redirect", "security.selinux", "trusted.overlay.opaque")
    }
    tally = unpack_members(
        tmp_path,
        [
            file("a", pax_headers=records),
            folder("b", pax_headers=records),
            symlink("c", "a", pax_headers=records),
        ],
    )
    for name in ("a", "b"):
        assert os.listxattr(tmp_path / "root" / name) == ["user.x"]
    assert os.listxattr(tmp_path / "root/c", follow_symlinks=False) == []
    # A link can have no attribute of the user's.
    assert tally.left_out == 3 * 3 + 1


def test_capabilities_survive_the_change_of_owner(tmp_path: Path) -> None:
    value = b"\1\0\0\2\0\4\0\0" + bytes(12)
    info = file("ping", uid=5, mode=0o755, pax_headers={"SCHILY.xattr.security.capability": value.decode("latin-1")})
    unpack_members(tmp_path, [info])
    assert os.getxattr(tmp_path / "root/ping", "security.capability") == value


HOSTILE: dict[str, tuple[list[Member], str, str]] = {
    "up and out": ([file("../x")], "../x", "leads out by '..'"),
    "up in the middle": ([file("a/../../x")], "a/../../x", "leads out"),
    "a hard link up": ([link("x", "../secret")], "x", "leads out"),
    "a hard link to nothing": ([link("x", "/etc/passwd")], "x", "which is not there"),
    "a hard link through a link": (
        [symlink("e", "/../.."), link("x", "e/secret")],
        "x",
        "which is not there",
    ),
    "a hard link to a folder": ([folder("d"), link("x", "d")], "x", "which is a folder"),
    "a hard link to the root": ([link("x", "/")], "x", "to something that is not a file"),
    "a hard link to itself": ([link("x", "x")], "x", "which is not there"),
    "a hard link in place of its own target": ([file("d/x"), link("d", "d/x")], "d", "which is not there"),
    "links in a circle": ([symlink("a", "b"), symlink("b", "a"), file("a/x")], "a/x", "form a circle"),
    "a link to a file on the way": ([file("f"), symlink("l", "f"), file("l/x")], "l/x", "which is not a folder"),
    "a symbolic link without a target": ([symlink("l", "")], "l", "without a target"),
    "a whiteout without a name": ([file("d/.wh.")], "d/.wh.", "whiteout without a name"),
    "a whiteout of the folder": ([file("d/.wh..")], "d/.wh..", "whiteout without a name"),
    "a whiteout of the folder above": ([file("d/.wh...")], "d/.wh...", "whiteout without a name"),
    "a whiteout as folder": ([file(".wh.a/b")], ".wh.a/b", "must be empty"),
    "a device": ([member("etc/null", DEV)], "etc/null", "device node outside dev/"),
    "an overlay's whiteout": ([member("a/b", DEV, devmajor=0, devminor=0)], "a/b", "device node"),
    "a device through a link": ([symlink("l", "dev"), member("l/x", DEV)], "l/x", "device node"),
    "a file in place of the root": ([file("./")], "./", "place of the root"),
    "an entry without a name": ([file("", pax_headers={})], "", "has no name"),
    "a name too long for a file": ([file("n" * 256)], "nnn", "name too long"),
    "a long path": ([file("n/" * 3000 + "x")], "n/n/", "its name has 6001 bytes"),
    "a deep path": ([file("n/" * 200 + "x")], "n/n/", "more than 128 folders"),
    "deep through links": (
        [folder("n/" * 100), symlink("l", "n/" * 100), file("l/" + "m/" * 100)],
        "l/m",
        "more than 128",
    ),
    "a terabyte of nothing": (
        [file("s", pax_headers={"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,1"})],
        "s",
        f"the file has {1 << 40} bytes; the limit is",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_layer_is_refused_by_name(what: str, tmp_path: Path) -> None:
    members, path, reason = HOSTILE[what]
    (tmp_path / "secret").write_text("s")
    before = seen(tmp_path)
    said = refused(tmp_path, members)
    assert f": {path}" in said and reason in said
    outside = {name: what for name, what in seen(tmp_path).items() if name.split("/")[0] not in ("root", ".")}
    assert {name: outside[name] for name in before if name != "."} == {n: w for n, w in before.items() if n != "."}


def test_limits(tmp_path: Path) -> None:
    for number, (limits, reason) in enumerate(
        [
            ({"file_bytes": 999}, "the file has 1000 bytes; the limit is 999"),
            ({"total_bytes": 2500}, "unpack to more than 2500 bytes"),
            ({"entries": 2}, "more than 2 entries"),
            ({"ratio": 2, "ratio_floor": 1000}, "zip bomb"),
        ]
    ):
        where = tmp_path / str(number)
        where.mkdir()
        assert reason in refused(
            where, [file("a", bytes(1000))], [file("b", bytes(1000)), file("c", bytes(1000))], **limits
        )


def test_limits_count_all_layers_together(tmp_path: Path) -> None:
    given = [[folder("a"), folder("b")] for _ in range(6)]
    unpack_members(tmp_path, *given, total_bytes=6 * 2048, entries=12)
    for number, (limits, reason) in enumerate(
        [
            ({"total_bytes": 6 * 2048 - 1}, "unpack to more than 12287 bytes"),
            ({"entries": 11}, "more than 11 entries"),
        ]
    ):
        where = tmp_path / str(number)
        where.mkdir()
        assert reason in refused(where, *given, **limits)


def test_holes_count_as_bytes(tmp_path: Path) -> None:
    sparse = {"GNU.sparse.size": "1000000", "GNU.sparse.map": "0,1"}
    given = [file(str(number), pax_headers=sparse) for number in range(5)]
    assert ": 3: the layers hold more than 3500000 bytes" in refused(tmp_path, given, total_bytes=3500000)


def test_a_zip_bomb_ends_early(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    info = file("zeros")[0]
    info.size = 4 << 30
    data = packer.compress(info.tobuf()) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    with pytest.raises(Failure, match="zip bomb"):
        unpack_bytes(tmp_path, [data], replace(Limits(), ratio_floor=32 << 20))


def in_zstd(data: bytes) -> bytes:
    # Without its checksum zstd cannot tell a changed byte from another.
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def in_members(data: bytes) -> bytes:
    """As eStargz and pigz do: a stream of many."""
    return b"".join(gzip.compress(data[at : at + 700]) for at in range(0, len(data), 700))


def in_frames(data: bytes) -> bytes:
    """As zstd:chunked does: many frames, and skipped ones between them."""
    note = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"
    return note + b"".join(in_zstd(data[at : at + 700]) + note for at in range(0, len(data), 700))


WAYS = {"plain": bytes, "gzip": gzip.compress, "members": in_members, "zstd": in_zstd, "frames": in_frames}


@pytest.mark.parametrize("way", WAYS)
def test_every_compression(way: str, tmp_path: Path) -> None:
    for number, body in enumerate((os.urandom(300_000) + bytes(900_000), bytes(3 << 20))):
        where = tmp_path / str(number)
        where.mkdir()
        unpack_bytes(where, [WAYS[way](archive([file("a", body), file("b")]))])
        assert (where / "root/a").read_bytes() == body


@pytest.mark.parametrize("way", WAYS)
def test_a_blob_that_was_cut_or_changed_before_its_digest_was_taken(way: str, tmp_path: Path) -> None:
    data = WAYS[way](archive([file("a", os.urandom(5000)), file("b")]))
    for number, bad in enumerate((data[: len(data) // 2], data[:100] + bytes(200) + data[300:])):
        where = tmp_path / str(number)
        where.mkdir()
        if way == "plain" and number:
            continue
        with pytest.raises(Failure, match=r"damaged|ends"):
            unpack_bytes(where, [bad])


def test_nothing_is_made_of_a_blob_with_another_digest(tmp_path: Path) -> None:
    good = put(tmp_path, gzip.compress(archive([file("a")])))
    for change in (b"more", None):
        bad = put(tmp_path, gzip.compress(archive([file("b" * 9)])))
        data = bad.path.read_bytes()
        bad.path.write_bytes(data + change if change else data[:-9])
        with pytest.raises(LayerError) as caught:
            stack.unpack([Layer(each.path, each.digest, GZIP) for each in (good, bad)], tmp_path / "root")
        assert f"layer 2 of 2 ({bad.digest[:19]}): its blob is damaged or truncated" in caught.value.what
        assert caught.value.reason == caught.value.what
        assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("digest", ["md5:" + "0" * 32, "sha256:../../x", "sha256:" + "0" * 64])
def test_an_odd_digest(digest: str, tmp_path: Path) -> None:
    blob = put(tmp_path, archive([file("a")]))
    with pytest.raises(LayerError, match=r"its digest is neither|its blob is damaged"):
        stack.unpack([Layer(blob.path, digest, GZIP)], tmp_path / "root")


def test_the_whole_way(tmp_path: Path) -> None:
    data = gzip.compress(archive([file("a", b"1"), member("dev/zero", DEV)]))
    blob = put(tmp_path, data)
    long = Layer(blob.path, f"sha512:{hashlib.sha512(data).hexdigest()}", GZIP + "; charset=x")
    stack.unpack([long, long], tmp_path / "root", log=tmp_path / "log")
    assert names(tmp_path / "root") == {"a"}
    log = (tmp_path / "log").read_text()
    assert "dev/zero: a device node, left out" in log
    with pytest.raises(errors.MachineError, match="is not empty"):
        stack.unpack([long], tmp_path / "root")


def test_what_the_program_tells_becomes_an_error(tmp_path: Path) -> None:
    blob = put(tmp_path, archive([folder("d"), file("d/\x1b[31m\n../../x")]))
    with pytest.raises(LayerError) as caught:
        stack.unpack([Layer(blob.path, blob.digest, GZIP)], tmp_path / "root", log=tmp_path / "log")
    assert isinstance(caught.value, ImageUnavailable)
    assert (
        caught.value.reason == f"layer 1 of 1 ({blob.digest[:19]}): d/\\x1b[31m\\n../../x: its name leads out by '..'"
    )
    with pytest.raises(LayerError, match="its blob cannot be read: No such file"):
        stack.unpack([Layer(tmp_path / "none", blob.digest, GZIP)], tmp_path / "root")
    with pytest.raises(LayerError, match=r"'application/vnd.oci.image.config.v1\+json' cannot be unpacked"):
        stack.unpack([Layer(blob.path, blob.digest, "application/vnd.oci.image.config.v1+json")], tmp_path / "root")
    with pytest.raises(LayerError, match="300 layers; the limit is 256"):
        stack.unpack([Layer(blob.path, blob.digest, GZIP)] * 300, tmp_path / "root")
    with pytest.raises(LayerError, match=r"not unpacked within 0 s"):
        stack.unpack([Layer(blob.path, blob.digest, GZIP)], tmp_path / "other", timeout=0.001)
    with pytest.raises(errors.MachineError, match="unpacking the layers was killed by SIGKILL"):
        stack.unpack([], tmp_path / "other", prefix=("sh", "-c", "kill -9 $$"))


def test_as_many_layers_as_there_may_be(tmp_path: Path) -> None:
    place = tmp_path / ("long" * 50) / ("long" * 50) / ("long" * 50)
    place.mkdir(parents=True)
    blob = put(place, archive([file("a")]))
    stack.unpack([Layer(blob.path, blob.digest, GZIP)] * Limits().layers, tmp_path / "root")
    assert names(tmp_path / "root") == {"a"}


def test_zstd_takes_little_memory_whatever_comes_out(tmp_path: Path) -> None:
    data = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    pieces = blobs.Pieces(io.BytesIO(data), len(data), 0, replace(Limits(), ratio_floor=1 << 30))
    assert max(map(len, pieces)) <= 64 << 20
    assert pieces.out == 1 << 28


def test_media_types() -> None:
    oci = [
        f"application/vnd.oci.image.layer.{n}v1.tar{c}"
        for n in ("", "nondistributable.")
        for c in ("", "+gzip", "+zstd")
    ]
    docker = [
        f"application/vnd.docker.image.rootfs.{n}diff.tar{c}" for n in ("", "foreign.") for c in ("", ".gzip", ".zstd")
    ]
    assert all(map(blobs.is_layer, oci + docker))
    for name in (
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/json",
        "",
        "tar",
        oci[0] + "\n",
    ):
        assert not blobs.is_layer(name)


def test_names_are_shown_on_one_short_line() -> None:
    assert shown("é\u202e\n\x1b".encode() + b"\xff") == "é\\u202e\\n\\x1b\\xff"
    assert len(shown(b"x" * 5000)) < 250
