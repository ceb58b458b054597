"""The ELF reader against its oracles (readelf, objdump, pyelftools) on the files of this machine.

Also a wheel with a compiled extension that needs a newer glibc than its tag says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from py_portable.inspect.elf import is_elf, read, symbols_needing, tree_floor
from py_portable.inspect.wheel_check import check
from tests.unit.elf_builder import build_wheel

pytestmark = pytest.mark.integration
LIMIT = 250
# Where this interpreter's own extension modules are, in a virtual environment too.
EXTENSIONS = Path(str(sysconfig.get_config_var("DESTSHARED")))


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def of_this_machine() -> Iterator[Path]:
    """ELF files of the system, evenly picked, and all of this interpreter's extension modules."""
    folders = [Path("/bin"), Path("/sbin"), Path("/lib"), Path("/lib64")]
    found = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file() and is_elf(path)]
    found += [path for path in sorted(Path("/usr/lib").glob("*-linux-gnu*/*.so*")) if is_elf(path)]
    yield from found[:: max(1, len(found) // LIMIT)]
    yield from sorted(EXTENSIONS.glob("*.so"))


FILES = list(of_this_machine())


def test_there_is_something_to_compare() -> None:
    assert len(FILES) > 50


def test_pyelftools_reads_the_same() -> None:
    for path in FILES:
        ours = read(path)
        with path.open("rb") as stream:
            theirs = ELFFile(stream)
            assert (ours.bits, ours.endianness == "little") == (theirs.elfclass, theirs.little_endian), path
            dynamic = next((s for s in theirs.iter_segments() if isinstance(s, DynamicSegment)), None)
            tags: dict[str, list[str]] = {}
            for tag in dynamic.iter_tags() if dynamic else ():
                for attribute in ("needed", "soname", "rpath", "runpath"):
                    if hasattr(tag, attribute):
                        tags.setdefault(attribute, []).append(getattr(tag, attribute))
            assert list(ours.needed) == tags.get("needed", []), path
            assert [ours.soname] == tags.get("soname", [None]), path
            assert [ours.rpath] == tags.get("rpath", [None]), path
            assert [ours.runpath] == tags.get("runpath", [None]), path
            interpreter = [s.get_interp_name() for s in theirs.iter_segments() if s["p_type"] == "PT_INTERP"]
            assert [ours.interpreter] == (interpreter or [None]), path
            sections = [s for s in theirs.iter_sections() if isinstance(s, GNUVerNeedSection)]
            expected = [
                (library.name, version.name, bool(version["vna_flags"] & 2))
                for section in sections
                for library, versions in section.iter_versions()
                for version in versions
            ]
            assert [(v.library, v.version, v.weak) for v in ours.versions] == expected, path


@needs("readelf")
def test_readelf_shows_the_same_version_needs() -> None:
    for path in FILES:
        shown = subprocess.run(["readelf", "-W", "-V", path], capture_output=True, text=True, check=True).stdout
        _, _, needed = shown.partition("Version needs section")
        expected = re.findall(r"Name: (\S+)  Flags: (\S+)", needed)
        assert [(v.version, "WEAK" if v.weak else "none") for v in read(path).versions] == expected, path


@needs("objdump")
def test_objdump_shows_the_same_symbols() -> None:
    compared = 0
    for path in FILES:
        elf = read(path)
        versions = sorted({version.version for version in elf.versions})
        if not versions:
            continue
        shown = subprocess.run(["objdump", "-T", path], capture_output=True, text=True, check=True).stdout
        expected: dict[str, set[str]] = {version: set() for version in versions}
        for line in shown.splitlines():
            # A symbol that is copied into a program counts as defined, and needs its version all the same.
            copied = re.search(r"\.(dyn)?bss|\.data\.rel\.ro", line) and elf.type == "dynamic executable"
            if ("*UND*" in line or copied) and (match := re.search(r"\t[0-9a-f]+ +\(([^)]+)\) +(\S+)$", line)):
                expected[match[1]].add(match[2])
        for version in versions:
            ours = set(symbols_needing(path, version))
            assert ours == expected[version] or len(ours) == 1000, (path, version, ours ^ expected[version])
            compared += len(ours)
    assert compared > 1000


@needs("gcc")
def test_a_wheel_that_smuggles_a_newer_glibc(tmp_path: Path) -> None:
    (tmp_path / "smuggler.c").write_text(
        "int close_range(unsigned, unsigned, int);\nint PyInit_smuggler(void) { return close_range(1000, 1001, 0); }\n"
    )
    built = tmp_path / "smuggler.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "smuggler.c", "-o", built], cwd=tmp_path, check=True)
    elf = read(built)
    if not any(version.version == "GLIBC_2.34" for version in elf.versions):
        pytest.skip("the glibc of this machine has no close_range")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for glibc in ("2_28", "2_34"):
        name = f"smuggler_{glibc}-1.0-cp311-cp311-manylinux_{glibc}_{elf.arch}.whl"
        build_wheel(wheels, name, {"smuggler.cpython-311.so": built.read_bytes()})
    (finding,) = check(wheels, [f"manylinux_2_34_{elf.arch}"])
    assert finding.wheel == f"smuggler_2_28-1.0-cp311-cp311-manylinux_2_28_{elf.arch}.whl"
    (detail,) = finding.details
    assert detail.startswith("smuggler.cpython-311.so: needs GLIBC_2.34 of libc.so.6 (for close_range)")
    assert detail.endswith(f"but manylinux_2_28_{elf.arch} promises glibc 2.28")


@needs("musl-gcc")
def test_musl(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text('#include <stdio.h>\nint main(void) { return puts("x"); }\n')
    for name, flags in {"dynamic": [], "static": ["-static"], "library": ["-shared", "-fPIC"]}.items():
        subprocess.run(["musl-gcc", "x.c", "-o", name, *flags], cwd=tmp_path, check=True)
    report = tree_floor(tmp_path)
    assert (report.floor, report.elf_files) == (None, 3)
    assert set(report.musl) == {"dynamic", "library"}
    assert read(tmp_path / "static").type == "static"


def test_a_tree_of_the_system_is_measured() -> None:
    report = tree_floor(EXTENSIONS)
    assert report.elf_files == len([path for path in EXTENSIONS.iterdir() if is_elf(path)])
    assert set(report.archs) == {os.uname().machine}
    assert report.defects == ()
    assert report.floor is not None
    assert report.set_by is not None
    assert symbols_needing(EXTENSIONS / report.set_by.file, report.set_by.version) or "DT_RELR" in report.set_by.version
