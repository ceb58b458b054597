"""Reading and removing trees: no link is followed, nothing outside is touched."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

from py_portable.store import ManifestRow, digest, manifest, walk
from py_portable.store.manifest import decode


def test_every_kind_is_recorded_and_no_link_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    tree = tmp_path / "tree"
    tree.mkdir(0o755)
    (tree / "file").write_bytes(b"abc")
    (tree / "file").chmod(0o4755)
    (tree / "again").hardlink_to(tree / "file")
    (tree / "out").symlink_to("../outside")
    (tree / "loop").symlink_to("loop")
    (tree / "absolute").symlink_to("/etc/passwd")
    os.mkfifo(tree / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "sock"))
    (tree / "sock").chmod(0o700)
    sub = tree / "sub"
    sub.mkdir(0o750)
    (sub / "empty").touch(0o600)
    value = hashlib.sha256(b"abc").hexdigest()
    assert manifest(tree) == [
        ManifestRow(".", "folder", 0o755),
        ManifestRow("absolute", "link", 0, 0, "/etc/passwd"),
        ManifestRow("again", "file", 0o4755, 3, value),
        ManifestRow("fifo", "fifo", 0o600),
        ManifestRow("file", "file", 0o4755, 3, value),
        ManifestRow("loop", "link", 0, 0, "loop"),
        ManifestRow("out", "link", 0, 0, "../outside"),
        ManifestRow("sock", "socket", 0o700),
        ManifestRow("sub", "folder", 0o750),
        ManifestRow("sub/empty", "file", 0o600, 0, hashlib.sha256().hexdigest()),
    ]


def test_large_and_many_files_are_hashed_right(tmp_path: Path) -> None:
    contents = {f"f{i}": os.urandom(size) for i, size in enumerate([0, 1, 4095, (1 << 20) - 1, 1 << 20, 3 << 20])}
    contents |= {f"small{i}": b"%d" % i for i in range(500)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = {record.path: record.value for record in manifest(tmp_path) if record.kind == "file"}
    assert found == {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 10)
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        _, files = walk._look(root)
        path.write_bytes(b"x" * 5)
        with pytest.raises(OSError, match="changed while it was read"):
            walk._hash_all(root, deque(files))
    finally:
        os.close(root)


def test_a_folder_swapped_for_a_link_does_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "f").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("secret")
    root = os.open(tmp_path / "tree", os.O_RDONLY)
    try:
        _, files = walk._look(root)
        (tmp_path / "tree" / "sub").rename(tmp_path / "moved")
        (tmp_path / "tree" / "sub").symlink_to("../outside")
        with pytest.raises(OSError, match="changed while it was read"):
            walk._hash_all(root, deque(files))
    finally:
        os.close(root)


def test_the_digest_of_a_link_is_that_of_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    assert digest(tmp_path / "link") == digest(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        digest(tmp_path / "nothing")


def test_remove_takes_locked_folders_and_leaves_what_links_name(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("k")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "f").write_text("x")
    (tree / "a" / "link").symlink_to(outside)
    (tree / "empty").mkdir()
    (tree / "a" / "b").chmod(0o000)
    (tree / "a").chmod(0o555)
    tree.chmod(0o111)
    walk.remove(tree)
    assert not tree.exists()
    assert (outside / "keep").read_text() == "k"
    walk.remove(tree)  # gone already: no error
    (tmp_path / "l").symlink_to(outside)
    walk.remove(tmp_path / "l")
    assert not (tmp_path / "l").is_symlink()
    assert (outside / "keep").exists()


def test_no_tree_is_too_deep_to_remove(tmp_path: Path) -> None:
    top = tmp_path / "deep"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir(b"d" * 20, dir_fd=here)
        below = os.open(b"d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    walk.remove(top)
    assert not top.exists()


def test_a_tree_with_a_mount_in_it_is_not_removed(tmp_path: Path) -> None:
    # A mount needs root; /proc is one that is always there.
    assert "/proc" in walk.mounts_under(Path("/proc"))
    assert "/proc" in walk.mounts_under(Path("/"))
    assert walk.mounts_under(tmp_path) == []
    with pytest.raises(OSError, match="still mounted"):
        walk.remove(Path("/proc"))


def run_tree(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "py_portable.store.tree", *words], capture_output=True)


def test_the_module_for_the_prefix(tmp_path: Path) -> None:
    tree = tmp_path / os.fsdecode(b"tr\xffee")
    tree.mkdir()
    (tree / os.fsdecode(b"\x80")).write_text("x")
    done = run_tree("hash", str(tree))
    assert (done.returncode, done.stderr) == (0, b"")
    assert decode(done.stdout) == manifest(tree)
    assert run_tree("remove", str(tree)).returncode == 0
    assert not tree.exists()
    missing = run_tree("hash", str(tree))
    assert missing.returncode == 1
    assert b"No such file" in missing.stderr
    assert run_tree("burn").returncode == 2
