"""A package of Alpine: its versions, what its start is, and the same package with a lower release."""

from __future__ import annotations

import base64
import gzip
import io
import itertools
import platform
import random
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_portable import resources
from py_portable.config import Artifact, ImageSpec
from py_portable.errors import ConfigError, StepError
from py_portable.formats import FORMATS, Made
from py_portable.formats.apk import musl_of
from py_portable.formats.deb import DebOptions
from py_portable.formats.system_packages import apk_archive
from py_portable.formats.system_packages.about import about
from py_portable.formats.system_packages.apk_rules import GRAMMAR, mended_version, of_python
from py_portable.formats.system_packages.package_options import PackageOptions, told
from py_portable.inspect.elf import ElfError
from tests import apks
from tests.unit.elf_builder import build_elf
from tests.unit.test_packages import METADATA, VERSIONS

RANKS = {"alpha": -4, "beta": -3, "pre": -2, "rc": -1, "cvs": 1, "svn": 2, "git": 3, "hg": 4, "p": 5}
KNOWN_VERSIONS = [version for version in VERSIONS if "!" not in version and "+" not in version]
"""Of Python, the older first. apk has no epochs and no local versions."""
PROGRAM = b"#!/bin/sh\n"


def order(version: str) -> Any:
    """By which apk sorts a version: numbers, a letter, and suffixes, of which some come before none."""
    numbers, letter, suffixes, release = re.fullmatch(r"([\d.]+)([a-z]?)((?:_[a-z]+\d*)*)-r(\d+)", version).groups()  # type: ignore[union-attr]
    parts = [(RANKS[name], int(number or 0)) for name, number in re.findall(r"_([a-z]+)(\d*)", suffixes)]
    return [int(one) for one in numbers.split(".")], letter, [*parts, (0, 0)], int(release)


def test_versions_of_python_are_sorted_as_apk_sorts_them() -> None:
    assert len(KNOWN_VERSIONS) > 8
    for older, newer in itertools.pairwise(KNOWN_VERSIONS):
        assert order(f"{of_python(older)}-r1") < order(f"{of_python(newer)}-r0"), (older, newer)


@pytest.mark.parametrize(
    ("version", "mended"),
    [
        ("2.0rc1", "2.0_rc1"),
        ("1.0.dev3", "1.0_alpha0_pre3"),
        ("1.0a1.post2", "1.0_alpha1_p2"),
        ("1!2.0+x", "2.0"),
        ("2.0~rc1", "2.0"),
        ("release-7", "7"),
        ("", "0"),
    ],
)
def test_a_version_is_mended(version: str, mended: str) -> None:
    assert not GRAMMAR.version.allows(version)
    assert mended_version(version) == mended


@given(st.text(max_size=200))
@settings(deadline=None)
def test_whatever_is_mended_is_allowed(text: str) -> None:
    assert GRAMMAR.version.allows(mended_version(text))


@pytest.mark.parametrize(
    ("full", "allowed"),
    [("1.2_rc1-r1", True), ("1.2a-r0", True), ("1.2-1", False), ("1.2", False), ("1.2~x-r1", False), ("-r1", False)],
)
def test_a_version_has_a_release(full: str, allowed: bool) -> None:
    assert GRAMMAR.allows(full) is allowed


def test_it_says_what_the_metadata_of_the_wheel_says() -> None:
    found = about(told(DebOptions()), METADATA, "myapp", GRAMMAR)
    assert (found.name, found.full_version) == ("my-app", "2.0_rc1-r1")


def problems(tmp_path: Path, **keys: Any) -> str:
    from tests.unit.test_format_socket import said

    (tmp_path / "folder").mkdir(exist_ok=True)
    folder = {"format": "file", "path": "folder"}
    return said(tmp_path, {"folder": folder, "p": {"format": "apk", "from": "folder", "version": "1"} | keys})


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"name": "My App"}, '"My App" cannot be the name of a package of Alpine: two or more of a-z'),
        ({"version": "2.0rc1"}, '"2.0rc1" cannot be the version of a package of Alpine: numbers with dots'),
        ({"version": "2.0rc1"}, 'use "2.0_rc1"'),
        ({"release": "1.fc"}, '"1.fc" cannot be the release of a package of Alpine: a number; use "1"'),
    ],
)
def test_what_it_may_not_have_is_an_error_of_the_config(tmp_path: Path, keys: dict[str, Any], text: str) -> None:
    assert text in problems(tmp_path, **keys)


@pytest.mark.parametrize(
    ("baseline", "depends", "image", "expected"),
    [
        ("default", None, "alpine:3.22", "fail:install"),
        ("default", ("gcompat",), "alpine:3.22", None),
        (None, None, "alpine:3.22", None),
        ("default", None, "debian:12", None),
        ("default", None, "registry.example/alpine-like:1", None),
    ],
)
def test_what_needs_a_glibc_cannot_be_installed_on_alpine(
    baseline: str | None, depends: tuple[str, ...] | None, image: str, expected: str | None
) -> None:
    artifact = Artifact("p", "apk", baseline, None, "folder", (), options=PackageOptions(depends=depends))
    assert FORMATS["apk"].expect(artifact, ImageSpec(image)) == expected


# ------------------------------------------------------------------------------------------------------------- archives


def as_nfpm_writes(path: Path, script: bytes = PROGRAM) -> Path:
    """Two gzip members; a link has the digest of nothing, and the description goes on in other lines."""
    text = (
        f"pkgname = tool\npkgver = 1.2-r1\narch = x86_64\nsize = {len(PROGRAM)}\npkgdesc = one\n  two = three\n"
        "license = MIT\ndatahash = 0\n"
    )
    room = path.with_name(f"{path.name}-room")
    (room / "opt" / "tool").mkdir(parents=True)
    (room / "opt" / "tool" / "tool").write_bytes(PROGRAM)
    (room / "opt" / "tool" / "link").symlink_to("tool")
    (room / ".PKGINFO").write_text(text)
    (room / ".post-install").write_bytes(script)

    def checked(info: tarfile.TarInfo) -> tarfile.TarInfo:
        digest = "6ad8ab3b6ffcf0d1e3d4fc0e8e0f5ce1ac2ff5a4" if not info.isreg() else apks.sha1(PROGRAM)
        info.pax_headers = {} if info.isdir() else {"APK-TOOLS.checksum.SHA1": digest}
        return info

    with path.open("wb") as out:
        for names, ends in (((".PKGINFO", ".post-install"), False), (("opt",), True)):
            plain = room / "part.tar"
            with tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as tar:
                for name in names:
                    tar.add(room / name, name, filter=checked)
                end = tar.offset
            data = plain.read_bytes()
            out.write(gzip.compress(data if ends else data[:end]))
            plain.unlink()
    return path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    apk_archive.finish(as_nfpm_writes(tmp_path / "plain"), tmp_path / "tool-1.2-r1.x86_64.apk", 86400)
    return tmp_path / "tool-1.2-r1.x86_64.apk"


def test_a_package_is_as_its_format_is_described(package: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        apks.read(tmp_path / "plain")
    found = apks.read(package)
    assert (found.info["pkgver"], found.info["pkgdesc"], found.members) == (["1.2-r1"], ["one"], 2)
    assert found.scripts == {".post-install": PROGRAM} and found.times == {86400}
    assert list(found.files) == ["opt", "opt/tool", "opt/tool/link", "opt/tool/tool"]
    assert found.files["opt/tool/link"].link == "tool" and found.files["opt/tool/tool"].data == PROGRAM
    apk_archive.finish(tmp_path / "plain", tmp_path / "again", 86400)
    assert (tmp_path / "again").read_bytes() == package.read_bytes()


@pytest.mark.parametrize("data", [b"", b"no archive", gzip.compress(b"x" * 2000)])
def test_what_is_no_package_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "plain").write_bytes(data)
    with pytest.raises(StepError, match="what nfpm wrote"):
        apk_archive.finish(tmp_path / "plain", tmp_path / "out", 0)
    with pytest.raises(ConfigError, match="cannot be read as a package of Alpine"):
        apk_archive.older(tmp_path / "plain")


def test_one_that_unpacks_to_very_much_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(gzip.compress(bytes(64 << 20)))
    with pytest.raises(ConfigError, match="too long"):
        apk_archive.older(tmp_path / "bomb")


@pytest.mark.parametrize(
    "header", [{"mtime": "inf"}, {"GNU.sparse.realsize": str(8 << 30), "GNU.sparse.map": "0,0", "GNU.sparse.name": "x"}]
)
def test_a_header_that_says_the_impossible_is_no_package(header: dict[str, str], tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(".PKGINFO")
        info.pax_headers, text = header, b"pkgver = 1.2-r1\n"
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    (tmp_path / "x.apk").write_bytes(gzip.compress(plain.getvalue()))
    with pytest.raises(ConfigError, match="cannot be read as a package of Alpine"):
        apk_archive.older(tmp_path / "x.apk")


def test_the_older_package_is_the_same_with_a_lower_release(package: Path, tmp_path: Path) -> None:
    found = apk_archive.older(package)
    assert found is not None
    script = resources.path("images/older_apk.sh")
    words = [script, package, base64.b64encode(found.control).decode(), str(found.at + 1), "cp"]
    # The command gets the older package as its last word.
    copy = tmp_path / "copy"
    copy.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/older\n')
    copy.chmod(0o755)
    subprocess.run(["sh", *map(str, words[:-1]), copy], check=True)
    older, own = apks.read(tmp_path / "older"), apks.read(package)
    assert older.info.pop("pkgver") == ["1.2-r0"] and own.info.pop("pkgver") == ["1.2-r1"]
    assert older == own
    assert apk_archive.older(tmp_path / "older") is None, "there is no lower release"


@pytest.mark.parametrize(
    ("data", "needed"),
    [
        (build_elf(interpreter="/lib/ld-musl-x86_64.so.1", needed=()), [f"so:libc.musl-{platform.machine()}.so.1"]),
        (build_elf(), []),
        (b"#!/bin/sh\n", []),
    ],
)
def test_what_was_linked_against_musl_needs_musl(tmp_path: Path, data: bytes, needed: list[str]) -> None:
    (tmp_path / "tool").write_bytes(data)
    assert musl_of(tmp_path / "tool") == needed


def test_a_program_that_is_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(build_elf()[:70])
    with pytest.raises(ElfError):
        musl_of(tmp_path / "tool")


def test_a_package_whose_scripts_fit_in_no_argument_has_no_older_one(tmp_path: Path) -> None:
    room = as_nfpm_writes(tmp_path / "plain", script=PROGRAM + random.Random(1).randbytes(90_000).hex().encode())
    apk_archive.finish(room, tmp_path / "tool.apk", 0)
    meta = {"package": "tool", "version": "1.2-r1", "script": "tool"}
    install = FORMATS["apk"].start(Made("p", "apk", tmp_path / "tool.apk", meta)).install
    assert install is not None and install.older is None


def test_apk_installs_it_offline_upgrades_it_and_removes_it(package: Path) -> None:
    meta = {"package": "tool", "version": "1.2-r1", "script": "tool"}
    start = FORMATS["apk"].start(Made("p", "apk", package, meta))
    install = start.install
    assert install is not None and install.older is not None and install.remove is not None and install.clean
    shown = f"/run/py-portable-packages/{package.name}"
    add = ("/sbin/apk", "add", "--no-network", "--no-progress", "--allow-untrusted")
    assert (start.program, install.manager, install.argv) == ("/usr/bin/tool", "/sbin/apk", (*add, shown))
    assert install.older.argv[-5:] == add and install.older.argv[2] == shown
    assert install.remove.argv == ("/sbin/apk", "del", "--no-network", "--no-progress", "tool")
    with pytest.raises(ConfigError, match="cannot be a package of Alpine"):
        FORMATS["apk"].start(Made("p", "apk", package, meta | {"version": "1.2-1"}))
