"""The ELF reader, on files built byte by byte and on what the machine's compiler makes."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from py_portable.inspect.elf import Elf, ElfError, NeededVersion, is_elf, printable, read, symbols_needing
from tests.unit.elf_builder import BASE, CLASSES, build_elf, needing

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="no gcc on this machine")


def compile_c(folder: Path, source: str, *flags: str, name: str = "out") -> Path:
    assert GCC
    (folder / "source.c").write_text(source)
    subprocess.run([GCC, "source.c", "-o", name, *flags], cwd=folder, check=True, capture_output=True)
    return folder / name


@pytest.mark.parametrize(("bits", "order"), CLASSES)
def test_everything_of_a_library_is_read_in_each_class_and_byte_order(bits: int, order: str) -> None:
    data = build_elf(
        bits=bits,
        order=order,
        machine=21,
        soname="libfoo.so.1",
        needed=["libc.so.6", "libstdc++.so.6"],
        rpath="/a:$ORIGIN",
        runpath="$ORIGIN/../lib",
        needs={
            "libc.so.6": [
                ("GLIBC_2.34", False, ["f"]),
                ("GLIBC_2.36", True, []),
                ("GLIBC_PRIVATE", False, []),
            ],
            "libstdc++.so.6": [("GLIBCXX_3.4.30", False, []), ("CXXABI_1.3", False, [])],
        },
    )
    assert read(data) == Elf(
        bits=bits,  # type: ignore[arg-type]
        endianness=order,  # type: ignore[arg-type]
        machine=21,
        arch="ppc64le" if order == "little" else "ppc64",
        type="shared",
        soname="libfoo.so.1",
        needed=("libc.so.6", "libstdc++.so.6"),
        rpath="/a:$ORIGIN",
        runpath="$ORIGIN/../lib",
        versions=(
            NeededVersion("libc.so.6", "GLIBC_2.34", False),
            NeededVersion("libc.so.6", "GLIBC_2.36", True),
            NeededVersion("libc.so.6", "GLIBC_PRIVATE", False),
            NeededVersion("libstdc++.so.6", "GLIBCXX_3.4.30", False),
            NeededVersion("libstdc++.so.6", "CXXABI_1.3", False),
        ),
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": 2, "interpreter": "/lib/ld.so"}, "dynamic executable"),
        ({"kind": 2, "dynamic": False}, "static"),
        (
            {"kind": 3, "interpreter": "/lib/ld.so", "extra_tags": [(0x6FFFFFFB, 0x08000000)]},
            "dynamic executable",
        ),
        ({"kind": 3, "interpreter": "/lib/ld.so", "soname": "libc.so.6"}, "shared"),
        ({"kind": 3, "needed": (), "extra_tags": [(0x6FFFFFFB, 0x08000000)]}, "static-pie"),
        ({"kind": 3, "needed": (), "extra_tags": [(21, 0)]}, "static-pie"),
        ({"kind": 3, "needed": ()}, "shared"),
        ({"kind": 1}, "relocatable"),
        ({"kind": 4}, "core"),
        ({"kind": 0xFE00}, "other"),
    ],
)
def test_type(options: dict[str, object], expected: str) -> None:
    assert read(build_elf(**options)).type == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machine", "bits", "order", "arch"),
    [
        (62, 64, "little", "x86_64"),
        (62, 32, "little", "x32"),
        (3, 32, "little", "i686"),
        (183, 64, "little", "aarch64"),
        (40, 32, "little", "arm"),
        (22, 64, "big", "s390x"),
        (22, 32, "big", "s390"),
        (243, 64, "little", "riscv64"),
        (8, 32, "little", "mipsel"),
        (8, 64, "big", "mips64"),
        (9999, 64, "little", "machine-9999"),
    ],
)
def test_arch(machine: int, bits: int, order: str, arch: str) -> None:
    assert read(build_elf(machine=machine, bits=bits, order=order)).arch == arch


@pytest.mark.parametrize(
    ("options", "musl"),
    [
        ({"interpreter": "/lib/ld-musl-x86_64.so.1", "needed": ()}, True),
        ({"needed": ["libc.musl-x86_64.so.1"]}, True),
        ({"needed": ["libc.so"]}, True),
        ({"interpreter": "/lib64/ld-linux-x86-64.so.2"}, False),
    ],
)
def test_musl(options: dict[str, object], musl: bool) -> None:
    assert read(build_elf(**options)).musl is musl  # type: ignore[arg-type]


@pytest.mark.parametrize("symbol_count", ["hash", "gnu"])
@pytest.mark.parametrize(("bits", "order"), CLASSES)
@pytest.mark.parametrize("machine", [62, 22])
def test_symbols_needing_a_version(bits: int, order: str, symbol_count: str, machine: int) -> None:
    data = build_elf(
        bits=bits,
        order=order,
        machine=machine,
        symbol_count=symbol_count,
        needs={
            "libc.so.6": [("GLIBC_2.34", False, ["dlopen", "close_range"]), ("GLIBC_2.4", False, ["x"])],
            "libm.so.6": [("GLIBC_2.34", False, ["pow"]), ("GLIBC_ABI_DT_RELR", False, [])],
        },
    )
    assert symbols_needing(data, "GLIBC_2.34") == ("close_range", "dlopen", "pow")
    assert symbols_needing(data, "GLIBC_2.4") == ("x",)
    assert symbols_needing(data, "GLIBC_ABI_DT_RELR") == ()
    assert symbols_needing(data, "GLIBC_9.9") == ()


def test_a_symbols_name_may_be_long() -> None:
    name = "_ZN" + "5abcde" * 2000
    assert symbols_needing(needing("GLIBC_2.34", name), "GLIBC_2.34") == (name,)


def test_text_that_is_not_utf8_comes_out_printable() -> None:
    data = build_elf(soname="libxyz.so").replace(b"libxyz.so\0", b"lib\xff\xfez.so\0")
    assert read(data).soname == "lib\\xff\\xfez.so"


def test_printable_hides_nothing_and_lets_nothing_through() -> None:
    assert printable("naïve.so") == "naïve.so"
    assert printable("a\nb\x1b[31m\u202e\udcff") == "a\\nb\\x1b[31m\\u202e\\udcff"


def test_every_cut_of_a_file_is_refused() -> None:
    data = needing("GLIBC_2.34", "f")
    for length in range(len(data)):
        with pytest.raises(ElfError):
            read(data[:length])


def patched(data: bytes, tag: int, value: int) -> bytes:
    """`data` with the value of its first dynamic entry of that tag replaced."""
    at = data.index(struct.pack("<Q", tag), 64 + 56)
    while struct.unpack_from("<Q", data, at)[0] != tag or at % 8:
        at = data.index(struct.pack("<Q", tag), at + 1)
    return data[: at + 8] + struct.pack("<Q", value) + data[at + 16 :]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an ELF file"),
        (b"\x7fELF", "no such ELF class"),
        (b"\x7fELF\x09\x01" + bytes(99), "no such ELF class"),
        (b"\x7fELF\x02\x01" + bytes(10) + struct.pack("<H", 3) + bytes(46), "without program headers"),
        (patched(needing("GLIBC_2.34"), 0x6FFFFFFE, 2**64 - 1), "which no segment holds"),
        (patched(needing("GLIBC_2.34"), 5, 7), "which no segment holds"),
        (patched(needing("GLIBC_2.34"), 1, 2**63), "lies outside its table"),
        (patched(build_elf(soname="x"), 14, 10**6), "lies outside its table"),
        (build_elf(soname="x" * 5000), "longer than 4096 bytes"),
        (build_elf(needed=["x"] * 5000), "more than 4096 needed libraries"),
        (build_elf(extra_tags=[(0x60000000, 1)] * 20000), "has no end"),
        (build_elf(needs={"libc.so.6": [(f"V{n}", False, []) for n in range(5000)]}), "more than 4096"),
        (build_elf(kind=2)[:54] + b"\x07" + build_elf(kind=2)[55:], "program headers of 7 bytes"),
    ],
)
def test_hostile_files_are_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(ElfError, match=message) as caught:
        read(data, name="some/file.so")
    assert caught.value.where == "some/file.so"


def test_verneed_is_followed_to_its_end_as_the_loader_does_whatever_the_count_says() -> None:
    data = build_elf(
        needs={"liba.so": [("A_1", False, [])], "libc.so.6": [("GLIBC_2.38", False, [])]},
        extra_tags=[(0x6FFFFFFF, 1)],
    )
    assert [need.version for need in read(data).versions] == ["A_1", "GLIBC_2.38"]


def test_the_mapped_dynamic_section_counts_not_the_offset_in_the_header() -> None:
    # The loader goes by the address: an offset that shows a harmless copy elsewhere must not deceive.
    data = bytearray(needing("GLIBC_2.34", "f"))
    assert struct.unpack_from("<I", data, 64 + 56)[0] == 2
    struct.pack_into("<Q", data, 64 + 56 + 8, 0)
    assert [need.version for need in read(bytes(data)).versions] == ["GLIBC_2.34"]


def test_a_debug_symbol_file_has_no_dynamic_section() -> None:
    data = bytearray(needing("GLIBC_2.34", "f"))
    struct.pack_into("<Q", data, 64 + 56 + 32, 0)
    assert read(bytes(data)).versions == ()


def test_paths(tmp_path: Path) -> None:
    file = tmp_path / "a\nb.so"
    file.write_bytes(build_elf())
    assert is_elf(file)
    assert is_elf(str(file))
    assert read(file) == read(str(file)) == read(file.read_bytes())
    assert not is_elf(tmp_path)
    assert not is_elf(tmp_path / "missing")
    text = tmp_path / "text"
    text.write_text("#!/bin/sh\n")
    assert not is_elf(text)
    with pytest.raises(ElfError, match="not an ELF file"):
        read(text)
    file.write_bytes(build_elf()[:-1])
    with pytest.raises(ElfError, match="cut short") as caught:
        read(file)
    assert caught.value.where is not None
    assert "\n" not in caught.value.where
    for path, message in ((tmp_path, "not a regular file"), (tmp_path / "missing", "cannot be opened")):
        with pytest.raises(ElfError, match=message):
            read(path)


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert not is_elf(tmp_path / "fifo")
    with pytest.raises(ElfError):
        read(tmp_path / "fifo")


def held_open(folder: Path) -> tuple[int, int]:
    """How many file descriptors there are, and mappings of files of a folder."""
    return len(list(Path("/proc/self/fd").iterdir())), Path("/proc/self/maps").read_text().count(str(folder))


def test_reading_leaves_nothing_open(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(needing("GLIBC_2.34", "f"))
    bad.write_bytes(good.read_bytes()[:-1])
    before = held_open(tmp_path)
    for _ in range(50):
        read(good)
        symbols_needing(good, "GLIBC_2.34")
        with pytest.raises(ElfError):
            read(bad)
    after = held_open(tmp_path)
    assert after == before


@needs_gcc
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["-static"], "static"),
        (["-static-pie"], "static-pie"),
        (["-no-pie"], "dynamic executable"),
        (["-pie", "-fPIE"], "dynamic executable"),
        (["-shared", "-fPIC"], "shared"),
        (["-c"], "relocatable"),
    ],
)
def test_types_that_the_compiler_makes(tmp_path: Path, flags: list[str], expected: str) -> None:
    elf = read(compile_c(tmp_path, '#include <stdio.h>\nint main(void) { return puts("x"); }', *flags))
    assert elf.type == expected
    if expected == "dynamic executable":
        assert elf.interpreter is not None
        assert "ld-linux" in elf.interpreter
        assert elf.needed == ("libc.so.6",)
    else:
        assert elf.interpreter is None


@needs_gcc
@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
def test_a_file_without_section_headers_is_read_the_same(tmp_path: Path, style: str) -> None:
    source = "#include <stdio.h>\n#include <string.h>\nint f(const char *s) { puts(s); return strlen(s); }"
    path = compile_c(
        tmp_path,
        source,
        "-shared",
        "-fPIC",
        "-fno-builtin",
        f"-Wl,--hash-style={style}",
        "-Wl,-soname,libf.so",
    )
    whole = read(path)
    assert whole.soname == "libf.so"
    version = max(need.version for need in whole.versions if need.library == "libc.so.6")
    symbols = symbols_needing(path, version)
    assert {"puts", "strlen"} & set(symbols)
    data = bytearray(path.read_bytes())
    end = struct.unpack_from("<Q", data, 0x28)[0]
    struct.pack_into("<Q", data, 0x28, 0)
    struct.pack_into("<HHH", data, 0x3A, 0, 0, 0)
    stripped = bytes(data[:end])
    assert read(stripped) == whole
    assert symbols_needing(stripped, version) == symbols


@needs_gcc
def test_an_executable_that_defines_nothing_still_tells_its_symbols(tmp_path: Path) -> None:
    path = compile_c(tmp_path, '#include <stdio.h>\nint main(void) { return puts("x"); }', "-Wl,--hash-style=gnu")
    found = {symbol for need in read(path).versions for symbol in symbols_needing(path, need.version)}
    assert {"puts", "__libc_start_main"} <= found


def test_the_base_address_of_built_files_is_not_zero() -> None:
    # Else no test above would notice a reader that takes addresses for offsets.
    assert len(build_elf()) < BASE
