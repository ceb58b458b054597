"""The measured floor of files, folders and wheels."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from py_portable.inspect.elf import (
    Defect,
    ElfError,
    Setter,
    glibc_floor,
    measure,
    read,
    tree_floor,
    wheel_floor,
)
from py_portable.inspect.elf.floor import version_floor
from tests.unit.elf_builder import build_elf, build_wheel, needing

MUSL = build_elf(interpreter="/lib/ld-musl-x86_64.so.1", needed=["libc.musl-x86_64.so.1"])


@pytest.mark.parametrize(
    ("version", "floor"),
    [
        ("GLIBC_2.34", (2, 34)),
        ("GLIBC_2.2.5", (2, 2, 5)),
        ("GLIBC_ABI_DT_RELR", (2, 36)),
        ("GLIBC_PRIVATE", None),
        ("GLIBC_ABI_OF_THE_FUTURE", None),
        ("GLIBC_2." + "9" * 5000, None),
        ("GLIBCXX_3.4.30", None),
        ("XGLIBC_2.34", None),
    ],
)
def test_what_a_version_says(version: str, floor: tuple[int, ...] | None) -> None:
    assert version_floor(version) == floor


def test_floor_of_a_file_is_its_newest_version_by_number_and_weak_ones_apart() -> None:
    elf = read(
        build_elf(
            needs={"libc.so.6": [(f"GLIBC_{v}", v == "2.38", []) for v in ("2.2.5", "2.9", "2.17", "2.38", "2.3")]}
        )
    )
    assert glibc_floor(elf) == (2, 17)
    assert glibc_floor(elf, weak=True) == (2, 38)
    assert glibc_floor(read(build_elf())) is None


def test_packed_relocations_need_2_36_even_without_the_marker() -> None:
    assert glibc_floor(read(needing("GLIBC_2.4", extra_tags=[(36, 0)]))) == (2, 36)
    assert glibc_floor(read(needing("GLIBC_ABI_DT_RELR"))) == (2, 36)
    static_pie = read(build_elf(needed=(), extra_tags=[(36, 0), (0x6FFFFFFB, 0x08000000)]))
    assert (static_pie.type, glibc_floor(static_pie)) == ("static-pie", None)


def test_tree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "new.so").write_bytes(needing("GLIBC_2.99", "f"))
    tree = tmp_path / "tree"
    (tree / "sub" / "deep").mkdir(parents=True)
    (tree / "text").write_text("GLIBC_2.50")
    (tree / "empty").touch()
    (tree / "a.so").write_bytes(needing("GLIBC_2.9", "f"))
    (tree / "sub" / "deep" / "b\n.so").write_bytes(needing("GLIBC_2.31", "f"))
    (tree / "sub" / "weak.so").write_bytes(needing("GLIBC_2.38", "f", weak=True))
    (tree / "sub" / "arm.so").write_bytes(needing("GLIBC_2.17", "f", machine=183))
    (tree / "sub" / "musl").write_bytes(MUSL)
    (tree / "sub" / "object.o").write_bytes(build_elf(kind=1, machine=247))
    (tree / "link.so").symlink_to(outside / "new.so")
    (tree / "folder").symlink_to(outside)
    (tree / "loop").symlink_to(tree)
    os.mkfifo(tree / "fifo")
    report = tree_floor(tree)
    assert report.floor == "2.31"
    assert report.set_by == Setter("sub/deep/b\\n.so", "libc.so.6", "GLIBC_2.31")
    assert report.weak_floor == "2.38"
    assert report.elf_files == 6
    assert report.archs == {
        "aarch64": ("sub/arm.so",),
        "x86_64": ("a.so", "sub/musl", "sub/weak.so", "sub/deep/b\\n.so"),
    }
    assert report.musl == ("sub/musl",)
    assert report.defects == ()
    assert measure(tree) == report


def test_defects(tmp_path: Path) -> None:
    (tmp_path / "private.so").write_bytes(needing("GLIBC_PRIVATE", "f", soname="libx.so"))
    (tmp_path / "libm.so.6").write_bytes(needing("GLIBC_PRIVATE", "f", soname="libm.so.6"))
    (tmp_path / "future.so").write_bytes(needing("GLIBC_ABI_OF_THE_FUTURE"))
    (tmp_path / "cut.so").write_bytes(needing("GLIBC_2.34", "f")[:-1])
    report = tree_floor(tmp_path)
    assert report.floor is None
    assert report.elf_files == 4
    assert [(defect.kind, defect.file) for defect in report.defects] == [
        ("broken", "cut.so"),
        ("unknown-version", "future.so"),
        ("private", "private.so"),
    ]
    assert report.defects[2].detail == "needs GLIBC_PRIVATE of libc.so.6"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_nobody_may_read_is_never_left_out_in_silence(tmp_path: Path, what: str) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    file = hidden / "x.so"
    file.write_bytes(needing("GLIBC_2.34", "f"))
    locked = file if what == "file" else hidden
    locked.chmod(0)
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        # Root reads everything, so a child that is not root measures: by a relative path, because the
        # folders above may be closed to it.
        child = os.fork()
        if child == 0:
            status = 2
            try:
                if os.geteuid() == 0:
                    tmp_path.chmod(0o755)
                    os.setuid(65534)
                status = 0 if is_named(Path()) else 1
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        os.chdir(before)
        locked.chmod(0o755)


def is_named(folder: Path) -> bool:
    """True where measuring says that something could not be read."""
    try:
        defects = tree_floor(folder).defects
    except ElfError as problem:
        return "Permission denied" in problem.what
    return any(defect.kind == "broken" and defect.file == "hidden/x.so" for defect in defects)


def test_wheel(tmp_path: Path) -> None:
    wheel = build_wheel(
        tmp_path,
        "foo-1.0-cp313-cp313-manylinux_2_28_x86_64.whl",
        {
            "foo/a.so": needing("GLIBC_2.14", "memcpy"),
            "foo/b.so": needing("GLIBC_2.28", "fcntl64"),
            "foo/cut.so": needing("GLIBC_2.28", "fcntl64")[:-1],
            "foo/data.bin": b"\x7fEL",
        },
    )
    report = wheel_floor(wheel)
    assert (report.floor, report.set_by) == ("2.28", Setter("foo/b.so", "libc.so.6", "GLIBC_2.28"))
    assert report.elf_files == 3
    assert [(defect.kind, defect.file) for defect in report.defects] == [("broken", "foo/cut.so")]
    assert measure(wheel) == report


def test_wheel_with_members_that_cannot_be_unpacked(tmp_path: Path) -> None:
    data = needing("GLIBC_2.28", "f")
    wheel = build_wheel(tmp_path, "foo-1.0-py3-none-any.whl", {"foo/a.so": data}, compression=zipfile.ZIP_LZMA)
    assert {defect.file for defect in wheel_floor(wheel).defects} >= {"foo/a.so"}
    stored = build_wheel(tmp_path, "bar-1.0-py3-none-any.whl", {"bar/a.so": data}, compression=zipfile.ZIP_STORED)
    content = bytearray(stored.read_bytes())
    content[content.index(data) + len(data) - 1] ^= 1
    stored.write_bytes(content)
    (defect,) = wheel_floor(stored).defects
    assert (defect.kind, defect.file) == ("broken", "bar/a.so")
    assert "Bad CRC" in defect.detail


def test_a_large_member_is_read_from_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("py_portable.inspect.elf.members.MAX_IN_MEMORY", 100)
    wheel = build_wheel(tmp_path, "foo-1.0-py3-none-any.whl", {"foo/a.so": needing("GLIBC_2.28", "f")})
    assert wheel_floor(wheel).floor == "2.28"


@pytest.mark.parametrize(("limit", "message"), [("MAX_MEMBER", "larger than"), ("MAX_TOTAL", "GiB of ELF files")])
def test_members_beyond_the_limits_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, message: str
) -> None:
    monkeypatch.setattr(f"py_portable.inspect.elf.members.{limit}", 100)
    wheel = build_wheel(tmp_path, "foo-1.0-py3-none-any.whl", {"foo/a.so": needing("GLIBC_2.28", "f")})
    (defect,) = wheel_floor(wheel).defects
    assert isinstance(defect, Defect)
    assert message in defect.detail


def test_other_things(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("x")
    assert measure(text).elf_files == 0
    assert measure(text).floor is None
    single = tmp_path / "app"
    # A onefile executable: what is appended to it is payload, not ELF.
    single.write_bytes(needing("GLIBC_2.28", "f") + needing("GLIBC_2.40", "g"))
    assert measure(single).floor == "2.28"
    assert measure(single).set_by == Setter("app", "libc.so.6", "GLIBC_2.28")
    (tmp_path / "x.whl").write_text("no zip")
    with pytest.raises(ElfError, match="cannot be read as a zip"):
        measure(tmp_path / "x.whl")
    with pytest.raises(ElfError, match="cannot be listed"):
        tree_floor(tmp_path / "missing")
