"""Layers on real file systems: a full disk, a read-only one, mapped ids, missing rights; and Docker's own answer."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import py_portable
from py_portable.engines import ids
from py_portable.errors import MachineError
from py_portable.images.layers.bounds import Limits
from py_portable.images.layers.stack import Layer, LayerError, unpack
from tests.unit.layer_builder import archive, file, folder, link, member, put, seen, symlink

pytestmark = pytest.mark.integration

GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
UID = 54321


def layer(where: Path, data: bytes) -> Layer:
    blob = put(where, data)
    return Layer(blob.path, blob.digest, GZIP)


def needs_mounts() -> None:
    if os.geteuid() != 0 or not ids.has_capability(ids.CAP_SYS_ADMIN):
        pytest.skip("needs root and the right to mount")


@contextmanager
def memory(at: Path, options: str) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    needs_mounts()
    given = layer(tmp_path, gzip.compress(archive([folder("a"), file("a/big", bytes(4 << 20))])))
    with memory(tmp_path / "disk", "size=1m") as disk:
        with pytest.raises(MachineError) as caught:
            unpack([given], disk / "root")
        assert "a/big: No space left on device" in caught.value.what
        assert caught.value.hint is not None
        assert "are free at" in caught.value.hint and "PY_PORTABLE_STORE" in caught.value.hint


def test_a_disk_without_room_for_names(tmp_path: Path) -> None:
    needs_mounts()
    given = layer(tmp_path, gzip.compress(archive([file(f"d{n}/f", b"") for n in range(100)])))
    with (
        memory(tmp_path / "disk", "nr_inodes=50") as disk,
        pytest.raises(MachineError, match="No space left on device"),
    ):
        unpack([given], disk / "root")


def test_a_read_only_target_is_named(tmp_path: Path) -> None:
    needs_mounts()
    given = layer(tmp_path, archive([file("a")]))
    with memory(tmp_path / "disk", "size=1m") as disk:
        (disk / "root").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for name in ("root", "new"):
            with pytest.raises(MachineError, match="Read-only file system") as caught:
                unpack([given], disk / name)
            assert caught.value.hint and "writable" in caught.value.hint


def test_attributes_that_a_file_system_cannot_keep_are_noted(tmp_path: Path) -> None:
    """An attribute larger than ext4 keeps with a file is the layer's fault, not that of a full disk."""
    needs_mounts()
    if not shutil.which("mkfs.ext4"):
        pytest.skip("no mkfs.ext4")
    image = tmp_path / "image"
    with image.open("wb") as stream:
        stream.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^ea_inode", image], check=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-o", "loop", image, disk], capture_output=True).returncode:
        pytest.skip("no loop devices")
    try:
        given = layer(tmp_path, archive([file("a", pax_headers={"SCHILY.xattr.user.big": "x" * 30000})]))
        with pytest.raises(LayerError, match=r"a: its attribute user\.big is too large"):
            unpack([given], disk / "root")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_root_with_few_rights(tmp_path: Path) -> None:
    """As in a container: nothing that is needed after a folder has got its owner and mode may come too late."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    members = [
        folder("d", mode=0, uid=7),
        folder("d/e", mode=0, uid=7),
        file("d/e/f", uid=7, mode=0o4755),
        file("g"),
    ]
    upper = [file("d/e/g", uid=8), file("d/.wh.none")]
    given = [layer(tmp_path, archive(members)), layer(tmp_path, archive(upper))]
    few = "-all,+chown,+fowner,+fsetid"
    unpack(given, tmp_path / "good", prefix=("setpriv", "--bounding-set", few, "--inh-caps", few, "--"))
    state = (tmp_path / "good/d/e/f").stat()
    assert (state.st_uid, state.st_mode & 0o7777) == (7, 0o4755)
    none = ("setpriv", "--bounding-set", "-chown", "--inh-caps", "-chown", "--")
    with pytest.raises(MachineError, match=r"d/e/f belongs to 7:0, and there is no such user here") as caught:
        unpack(given, tmp_path / "bad", prefix=none)
    assert caught.value.hint and "/etc/subuid" in caught.value.hint


def test_an_owner_outside_the_mapped_range(tmp_path: Path) -> None:
    needs_mounts()
    single = ("unshare", *ids.SINGLE_FLAGS, "--")
    if subprocess.run([*single, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces")
    unpack([layer(tmp_path, archive([folder("a"), file("a/b", mode=0o4755)]))], tmp_path / "good", prefix=single)
    assert (tmp_path / "good/a/b").stat().st_mode & 0o7777 == 0o4755
    with pytest.raises(MachineError, match=r"b belongs to 0:42, and there is no such user here"):
        unpack([layer(tmp_path, archive([file("a"), file("b", gid=42)]))], tmp_path / "bad", prefix=single)
    with pytest.raises(MachineError, match=r"d belongs to 42:0, and there is no such user here"):
        unpack([layer(tmp_path, archive([folder("d", uid=42)]))], tmp_path / "worse", prefix=single)


RANGE = r"""
import sys
from pathlib import Path
from py_portable.images.layers.stack import Layer, unpack
PREFIX = ("unshare", "--user", "--map-root-user", "--map-users=auto", "--map-groups=auto", "--")
blob, digest, root = sys.argv[1:]
unpack([Layer(Path(blob), digest, "application/vnd.oci.image.layer.v1.tar")], Path(root), prefix=PREFIX, log=Path(root + ".log"))
"""
BECOME = """
set -e
room=$1; python=$2; shift 2
mount --bind "$python" "$room/python"
for name in passwd group subuid subgid; do mount --bind "$room/$name" "/etc/$name"; done
exec setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all -- "$@"
"""


def test_an_ordinary_user_with_a_mapped_range() -> None:
    needs_mounts()
    if not shutil.which("newuidmap"):
        pytest.skip("no newuidmap")
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        room.chmod(0o755)
        source = Path(py_portable.__file__).parent
        shutil.copytree(source, room / "py_portable", ignore=shutil.ignore_patterns("__pycache__"))
        bring_imports(room)
        (room / "python").mkdir()
        (room / "home").mkdir()
        os.chown(room / "home", UID, UID)
        (room / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\nme:x:{UID}:{UID}::{room}/home:/bin/sh\n")
        (room / "group").write_text(f"root:x:0:\nme:x:{UID}:\n")
        for listed in ("subuid", "subgid"):
            (room / listed).write_text("me:1000000:65536\n")
        value = b"\1\0\0\2\0\4\0\0" + bytes(12)
        members = [
            folder("./", mode=0o755),
            file("etc/shadow", b"s", mode=0o640, gid=42),
            file(
                "bin/ping",
                mode=0o755,
                pax_headers={"SCHILY.xattr.security.capability": value.decode("latin-1")},
            ),
            folder("home/me", mode=0o700, uid=1000, gid=1000),
            file("home/me/x", mode=0o400, uid=1000, gid=1000),
            file("nobody", uid=65534, gid=65534, mode=0o2755),
        ]
        blob = put(room, archive(members))
        blob.path.chmod(0o644)
        base = Path(sys.base_prefix)
        python = room / "python" / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        done = subprocess.run(
            [
                *(
                    "unshare",
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    BECOME.replace("{uid}", str(UID)),
                    "sh",
                ),
                *(
                    str(room),
                    str(base),
                    "env",
                    f"LD_LIBRARY_PATH={room}/python/lib",
                    str(python),
                    "-c",
                    RANGE,
                ),
                *(str(blob.path), blob.digest, str(room / "home/root")),
            ],
            capture_output=True,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(room),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": "/",
            },
            cwd="/",
        )
        assert (done.returncode, done.stderr) == (0, "")
        root = room / "home/root"
        owners = {path: (root / path).lstat().st_uid for path in ("etc/shadow", "home/me/x", "nobody")}
        assert owners["etc/shadow"] == UID
        assert (root / "etc/shadow").lstat().st_gid == 1000000 + 42 - 1
        assert owners["home/me/x"] == 1000000 + 1000 - 1
        assert owners["nobody"] == 1000000 + 65534 - 1
        assert (root / "nobody").stat().st_mode & 0o7777 == 0o2755
        assert os.getxattr(root / "bin/ping", "security.capability")


def bring_imports(room: Path) -> None:
    """What the unpacker imports from elsewhere, for a user who cannot read the .venv."""
    ask = "import sys, py_portable.images.layers.stack; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    for top in {Path(place) for place in sys.path if place.endswith("site-packages")}:
        for name in loaded:
            if name != "py_portable" and (top / name).is_dir():
                shutil.copytree(top / name, room / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (top / f"{name}.py").is_file():
                shutil.copy(top / f"{name}.py", room)


LOWER = [
    folder("./", mode=0o755, mtime=50),
    folder("bin", mtime=60),
    file("bin/a", b"a" * 5000, mode=0o4755, mtime=70),
    link("bin/b", "bin/a", mode=0o4755, mtime=70),
    folder("lib", mode=0o750),
    file("lib/old", b"old"),
    file("lib/stays", b"stays"),
    folder("opaque", mtime=80),
    file("opaque/old", b"old"),
    folder("gone"),
    file("gone/x"),
    symlink("link", "lib"),
    file("was-file"),
    folder("was-folder"),
    file("was-folder/x"),
    folder("tmp", mode=0o1777),
    member("pipe", tarfile.FIFOTYPE),
]
UPPER = [
    folder("lib", mode=0o711, mtime=90),
    file("lib/.wh.old"),
    file("lib/new", b"new", uid=5, gid=6),
    folder("opaque", mtime=99),
    file("opaque/.wh..wh..opq"),
    file("opaque/new", b"n"),
    file(".wh.gone"),
    folder("was-file"),
    file("was-file/x", b"in"),
    file(".wh.was-folder"),
    file("was-folder", b"file"),
    folder("bin", mtime=61),
    file("bin/a", b"changed", mode=0o755),
    link("bin/c", "bin/a", mode=0o755),
    file("\udcff-name", b"odd"),
]


def test_docker_makes_the_same_of_the_same_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker: dict[str, str]
) -> None:
    for variable, value in docker.items():
        monkeypatch.setenv(variable, value)
    tars = [archive(LOWER), archive(UPPER)]
    root = tmp_path / "root"
    unpack([layer(tmp_path, gzip.compress(data)) for data in tars], root)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/none"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in tars],
        },
    }
    manifest = [{"Config": "config.json", "RepoTags": ["py-portable-layers:test"], "Layers": ["0.tar", "1.tar"]}]
    files = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    files |= {f"{number}.tar": data for number, data in enumerate(tars)}
    saved = archive([file(name, data) for name, data in files.items()])
    subprocess.run(["docker", "load"], input=saved, check=True, capture_output=True)
    try:
        made = subprocess.run(
            ["docker", "create", "--network", "none", "py-portable-layers:test"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        try:
            exported = subprocess.run(["docker", "export", made], check=True, capture_output=True).stdout
        finally:
            subprocess.run(["docker", "rm", made], check=True, capture_output=True)
    finally:
        subprocess.run(["docker", "rmi", "py-portable-layers:test"], check=True, capture_output=True)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    subprocess.run(["tar", "-xpC", theirs, "--numeric-owner"], input=exported, check=True)
    # What Docker makes for each container, and the root's time with it.
    own = {".dockerenv", "dev", "proc", "sys", "etc"}
    expected = {path: what for path, what in seen(theirs).items() if path.split("/")[0] not in own}
    found = seen(root)
    expected["."] = found["."]
    assert found == expected
    for path in found:
        ours, other = (root / path).lstat(), (theirs / path).lstat()
        assert (ours.st_uid, ours.st_gid) == (other.st_uid, other.st_gid), path


def test_a_root_file_system_comes_out_as_tar_makes_it(tmp_path: Path) -> None:
    """The machine's own /etc: names, owners and links that nobody made up."""
    source = Path("/etc")
    packed = subprocess.run(
        ["tar", "-C", source, "--numeric-owner", "--format=posix", "--xattrs", "-cz", "."],
        capture_output=True,
    )
    # 1: somebody wrote to a file while it was read.
    assert packed.returncode in (0, 1), packed.stderr
    data = packed.stdout
    unpack([layer(tmp_path, data)], tmp_path / "ours", limits=Limits())
    (tmp_path / "theirs").mkdir()
    subprocess.run(["tar", "-xzpC", tmp_path / "theirs", "--numeric-owner", "--xattrs"], input=data, check=True)
    assert seen(tmp_path / "ours") == seen(tmp_path / "theirs")
