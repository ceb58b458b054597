"""Owners beside a root: what is unpacked by somebody who may give no file away is packed again as it was."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from py_portable.engines import beside
from py_portable.errors import MachineError
from py_portable.images.layers.blobs import PLAIN_TAR
from py_portable.images.layers.stack import Layer, Owners, unpack

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
PAX = "SCHILY.xattr.security.capability"


def layer(folder: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Layer:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry, data in entries:
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    blob = folder / hashlib.sha256(out.getvalue()).hexdigest()
    blob.write_bytes(out.getvalue())
    return Layer(blob, f"sha256:{blob.name}", PLAIN_TAR)


def entry(
    name: str, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, owner: int = 0, link: str = ""
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode, made.uid, made.gid, made.linkname, made.mtime = kind, mode, owner, owner, link, 1000
    return made


def image(folder: Path) -> list[Layer]:
    capable = entry("bin/ping", mode=0o755)
    capable.pax_headers = {PAX: CAPABILITY.decode("utf-8", "surrogateescape")}
    lower = layer(
        folder,
        (entry("bin", kind=tarfile.DIRTYPE, mode=0o755), b""),
        (entry("bin/su", mode=0o4755), b"su"),
        (entry("bin/su-too", kind=tarfile.LNKTYPE, link="bin/su"), b""),
        (capable, b"ping"),
        (entry("etc", kind=tarfile.DIRTYPE, mode=0o755), b""),
        (entry("etc/shadow", mode=0o000, owner=42), b"secret"),
        (entry("etc/link", kind=tarfile.SYMTYPE, mode=0o777, link="shadow"), b""),
        (entry("home", kind=tarfile.DIRTYPE, mode=0o500, owner=7), b""),
        (entry("home/gone", owner=9), b"lower"),
        (entry("tmp", kind=tarfile.DIRTYPE, mode=0o1777), b""),
    )
    upper = layer(folder, (entry("home/.wh.gone"), b""), (entry("etc/new", owner=3, mode=0o2640), b"new"))
    return [lower, upper]


def listing(archive: Path) -> dict[str, tuple[bytes, int, int, int, str]]:
    with tarfile.open(archive) as tar:
        return {
            one.name.removeprefix("./"): (one.type, one.mode, one.uid, one.gid, one.pax_headers.get(PAX, ""))
            for one in tar
        }


def test_what_is_packed_again_is_the_image(tmp_path: Path) -> None:
    layers = image(tmp_path)
    real, kept = tmp_path / "real" / "root", tmp_path / "kept" / "root"
    how: list[tuple[Path, Owners]] = [(kept, "beside")]
    if os.geteuid() == 0:
        how.append((real, "given"))
    for root, owners in how:
        root.parent.mkdir()
        unpack(layers, root, owners=owners)
    beside.pack(kept, tmp_path / "kept.tar")
    found = listing(tmp_path / "kept.tar")
    capability = CAPABILITY.decode("utf-8", "surrogateescape")
    assert found == {
        ".": (tarfile.DIRTYPE, 0o755, 0, 0, ""),
        "bin": (tarfile.DIRTYPE, 0o755, 0, 0, ""),
        "bin/ping": (tarfile.REGTYPE, 0o755, 0, 0, capability),
        "bin/su": (tarfile.REGTYPE, 0o4755, 0, 0, ""),
        "bin/su-too": (tarfile.LNKTYPE, 0o4755, 0, 0, ""),
        "etc": (tarfile.DIRTYPE, 0o755, 0, 0, ""),
        "etc/link": (tarfile.SYMTYPE, 0o777, 0, 0, ""),
        "etc/new": (tarfile.REGTYPE, 0o2640, 3, 3, ""),
        "etc/shadow": (tarfile.REGTYPE, 0o000, 42, 42, ""),
        "home": (tarfile.DIRTYPE, 0o500, 7, 7, ""),
        "tmp": (tarfile.DIRTYPE, 0o1777, 0, 0, ""),
    }
    if os.geteuid() == 0:
        # The other way is what GNU tar writes of a root that has its owners.
        words = [
            "tar",
            "--sort=name",
            "--xattrs",
            "--xattrs-include=*",
            "-cf",
            tmp_path / "real.tar",
            "-C",
            real,
            ".",
        ]
        subprocess.run(words, check=True)
        assert listing(tmp_path / "real.tar") == found
    with tarfile.open(tmp_path / "kept.tar") as tar:
        stream = tar.extractfile("./etc/shadow")
        assert stream and stream.read() == b"secret"


def test_on_the_disk_nothing_is_setuid_and_all_is_the_callers(tmp_path: Path) -> None:
    root = tmp_path / "kept" / "root"
    root.parent.mkdir()
    unpack(image(tmp_path), root, owners="beside")
    for path in (root, *root.rglob("*")):
        state = path.lstat()
        assert state.st_uid == os.geteuid() and not (not path.is_symlink() and state.st_mode & 0o7000), path
        assert path.is_symlink() or state.st_mode & stat.S_IRUSR, path
    assert "security.capability" not in os.listxattr(root / "bin/ping")


def test_only_a_daemon_is_given_such_a_root(tmp_path: Path) -> None:
    root = tmp_path / "kept" / "root"
    root.parent.mkdir()
    beside.refuse(root)
    unpack(image(tmp_path), root, owners="beside")
    with pytest.raises(MachineError, match="without a range of user ids") as caught:
        beside.refuse(root)
    assert "--engine docker" in str(caught.value.hint)


def test_owners_that_cannot_be_ones_are_refused(tmp_path: Path) -> None:
    for text in (
        "[]",
        '{"x": [1, 2, 3]}',
        '{"x": ["a", 1, 2, ""]}',
        '{"x": [-1, 1, 2, ""]}',
        '{"x": [1, 1, 65536, ""]}',
        '{"x": [1, 4294967296, 2, ""]}',
        '{"x": [1, 1, 2, "zz"]}',
        "{",
    ):
        (tmp_path / beside.NAME).write_text(text)
        with pytest.raises(MachineError, match="cannot be read"):
            beside.of(tmp_path / "root")
    (tmp_path / beside.NAME).write_text(json.dumps({"etc": [1, 2, 0o755, ""]}))
    assert beside.of(tmp_path / "root") == {b"etc": beside.Owned(1, 2, 0o755)}
