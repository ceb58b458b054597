"""An RPM package: what its start is on images with and without dnf, and the same package with a lower release."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest

from py_portable.errors import ConfigError
from py_portable.formats import FORMATS, Made
from py_portable.formats.system_packages import rpm_header
from py_portable.images import Image

INTRO = b"\x8e\xad\xe8\x01\0\0\0\0"


def header(strings: dict[int, str]) -> bytes:
    """As rpm writes one that has only texts."""
    index, data = b"", b""
    for tag, text in strings.items():
        index += struct.pack(">IIII", tag, 6, len(data), 1)
        data += text.encode() + b"\0"
    return INTRO + struct.pack(">II", len(strings), len(data)) + index + data


def package(path: Path, release: str = "1", **more: str) -> Path:
    main = header({1000: "tool", 1001: "1.2", 1002: release})
    digests = {269: hashlib.sha1(main).hexdigest(), 273: hashlib.sha256(main).hexdigest()}
    signature = header(digests)
    path.write_bytes(bytes(96) + signature + bytes(-len(signature) % 8) + main + b"payload")
    return path


def patched(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    for patch in rpm_header.older(path):
        data[patch.at : patch.at + len(patch.text)] = patch.text.encode()
    return bytes(data)


@pytest.mark.parametrize(("release", "lower"), [("1", "0"), ("12.fc9", "02.fc9"), ("~x", "0x")])
def test_the_older_package_is_the_same_with_a_lower_release_and_digests_that_fit(
    tmp_path: Path, release: str, lower: str
) -> None:
    own = package(tmp_path / "own", release)
    assert patched(own) == package(tmp_path / "older", lower).read_bytes()


def test_a_release_that_begins_with_0_has_no_lower_one(tmp_path: Path) -> None:
    assert rpm_header.older(package(tmp_path / "own", "0.1")) == ()


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    whole = package(tmp_path / "own").read_bytes()
    for number, data in enumerate(
        (b"", whole[:90], whole[:150], whole[:-30], whole.replace(INTRO, bytes(8)), bytes(500))
    ):
        path = tmp_path / str(number)
        path.write_bytes(data)
        with pytest.raises(ConfigError, match="cannot be read as an RPM package"):
            rpm_header.older(path)


def image(root: Path, *programs: str) -> Image:
    (root / "usr" / "bin").mkdir(parents=True)
    for name in programs:
        (root / "usr" / "bin" / name).touch()
    return Image("fedora:43", root, "sha256:0", "registry", "2.42", None)


def test_dnf_is_taken_where_there_is_one_and_rpm_else(tmp_path: Path) -> None:
    meta = {"package": "tool", "version": "1.2-1", "script": "tool"}
    made = Made("p", "rpm", package(tmp_path / "tool.rpm"), meta)
    words = {}
    for number, programs in enumerate((("rpm", "dnf"), ("rpm",), ("rpm", "dpkg"))):
        install = FORMATS["rpm"].start(made, image(tmp_path / str(number), *programs)).install
        assert install is not None and install.remove is not None and install.older is not None and install.clean
        words[programs] = (
            install.argv[0],
            install.argv[-1],
            install.remove.argv[-2:],
            "--force-debian" in install.argv,
        )
        assert install.older.argv[-3:] == ("--upgrade", "--nodigest", "--nosignature")
    shown = "/run/py-portable-packages/tool.rpm"
    assert words["rpm", "dnf"] == ("/usr/bin/dnf", shown, ("remove", "tool"), False)
    assert words["rpm",] == ("/usr/bin/rpm", shown, ("--erase", "tool"), False)
    assert words["rpm", "dpkg"] == ("/usr/bin/rpm", shown, ("--erase", "tool"), True)
