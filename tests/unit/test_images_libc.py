"""Which C library a root has, told by what lies in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from py_portable.images import libc
from tests.unit.elf_builder import build_elf

BANNER = b"\0GNU C Library (Debian GLIBC 2.31-13+deb11u11) stable release version 2.31.\nCopyright"


def put(root: Path, name: str, data: bytes) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)


@pytest.mark.parametrize(
    "place",
    ["lib/x86_64-linux-gnu/libc.so.6", "lib64/libc.so.6", "usr/lib64/libc.so.6", "usr/lib/libc.so.6"],
)
@pytest.mark.parametrize(
    ("banner", "version"),
    [
        (BANNER, "2.31"),
        (b"GNU C Library stable release version 2.12, by Roland McGrath", "2.12"),
        (b"GNU C Library (GNU libc) development release version 2.43.", "2.43"),
    ],
)
def test_the_library_says_its_version(place: str, banner: bytes, version: str, tmp_path: Path) -> None:
    put(tmp_path, place, build_elf() + banner)
    assert libc.glibc(tmp_path, "x86_64") == version


def test_links_inside_the_root_are_followed_as_from_the_root(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/x86_64-linux-gnu/libc-2.28.so", build_elf())
    (tmp_path / "usr/lib/x86_64-linux-gnu/libc.so.6").symlink_to("libc-2.28.so")
    (tmp_path / "lib").symlink_to("/usr/lib")
    assert libc.glibc(tmp_path, "x86_64") == "2.28"


def test_no_link_leads_outside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(tmp_path, "libc.so.6", build_elf() + BANNER)
    (root / "lib64").mkdir(parents=True)
    (root / "lib64/libc.so.6").symlink_to(tmp_path / "libc.so.6")
    (root / "usr").symlink_to("../..")
    assert libc.glibc(root, "x86_64") is None
    (root / "etc").mkdir()
    (root / "etc/os-release").symlink_to("/etc/os-release")
    assert libc.debian_suite(root) is None


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"text" + BANNER, build_elf(machine=183) + BANNER])
def test_what_is_no_library_for_this_machine_does_not_count(data: bytes, tmp_path: Path) -> None:
    put(tmp_path, "lib/libc.so.6", data)
    assert libc.glibc(tmp_path, "x86_64") is None


def test_musl_is_no_glibc(tmp_path: Path) -> None:
    put(tmp_path, "lib/libc.musl-x86_64.so.1", build_elf() + b"musl libc")
    assert libc.glibc(tmp_path, "x86_64") is None


@pytest.mark.parametrize("loop", ["libc.so.6", "/lib/libc.so.6"])
def test_a_circle_of_links_is_no_library(loop: str, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libc.so.6").symlink_to(loop)
    assert libc.glibc(tmp_path, "x86_64") is None


@pytest.mark.parametrize(
    ("text", "suite"),
    [
        ('ID=debian\nVERSION_CODENAME=bullseye\n', "bullseye"),
        ('PRETTY_NAME="Debian"\nVERSION_CODENAME="trixie"\nID="debian"', "trixie"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=focal\n', None),
        ('ID=debian\n', None),
        ('ID=debian\nVERSION_CODENAME="$(id)"\n', None),
        ('', None),
    ],
)  # fmt: skip
def test_only_a_debian_has_a_suite(text: str, suite: str | None, tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/os-release", text.encode())
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").symlink_to("../usr/lib/os-release")
    assert libc.debian_suite(tmp_path) == suite
