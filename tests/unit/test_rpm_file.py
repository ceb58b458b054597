"""What is read of an RPM package before anything of it runs."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from py_portable.errors import ConfigError
from py_portable.formats import FORMATS, Made
from py_portable.formats.package_install import kind_of
from py_portable.formats.rpm_file import elves, is_rpm, look
from py_portable.images import Image

INTRO = b"\x8e\xad\xe8\x01\0\0\0\0"
COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}
Files = Mapping[str, tuple[int, bytes]]
SCRIPT = (0o100755, b"#!/bin/sh\n")


def header(tags: Mapping[int, object]) -> bytes:
    """Texts, lists of texts, and numbers of 16 (modes) or 32 bits."""
    index, data = b"", b""
    for tag, value in tags.items():
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], str):
            kind, body = (8 if isinstance(value, list) else 6), b"".join(one.encode() + b"\0" for one in values)
        else:
            kind = 3 if tag == 1030 else 4
            size = 2 if kind == 3 else 4
            data += bytes(-len(data) % size)
            body = struct.pack(f">{len(values)}{'H' if kind == 3 else 'I'}", *values)
        index += struct.pack(">IIII", tag, kind, len(data), len(values))
        data += body
    return INTRO + struct.pack(">II", len(tags), len(data)) + index + data


def cpio(files: Files) -> bytes:
    out = io.BytesIO()
    for name, (mode, data) in {**{f".{place}": one for place, one in files.items()}, "TRAILER!!!": (0, b"")}.items():
        numbers = [1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out.write(b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0")
        out.write(bytes(-out.tell() % 4) + data)
        out.write(bytes(-out.tell() % 4))
    return out.getvalue()


def package(path: Path, files: Files, *, compression: str = "gzip", more: Mapping[int, object] | None = None) -> Path:
    folders = sorted({place.rpartition("/")[0] + "/" for place in files})
    tags = {
        1000: "hand-made",
        1001: "2.0",
        1002: "3",
        1030: [mode for mode, _ in files.values()],
        1036: [data.decode() if mode >> 12 == 0o12 else "" for mode, data in files.values()],
        1116: [folders.index(place.rpartition("/")[0] + "/") for place in files],
        1117: [place.rpartition("/")[2] for place in files],
        1118: folders,
        **(more or {}),
    }
    signature = header({269: "0" * 40})
    body = signature + bytes(-len(signature) % 8) + header(tags) + COMPRESS[compression](cpio(files))
    path.write_bytes(b"\xed\xab\xee\xdb" + bytes(92) + body)
    return path


@pytest.mark.parametrize("compression", COMPRESS)
def test_its_name_programs_and_elf_files_are_seen(tmp_path: Path, compression: str) -> None:
    program = Path(sys.executable).resolve().read_bytes()
    files = {
        "/usr/bin/hello": SCRIPT,
        "/usr/bin/text": (0o100644, b"text"),
        "/usr/lib/hand-made/bin/real": (0o100755, program),
        "/usr/bin/real": (0o120777, b"../lib/hand-made/bin/real"),
        "/usr/share/hand-made": (0o040755, b""),
    }
    path = package(tmp_path / "p", files, compression=compression, more={1003: 7})
    found = look(path, f"sha256:{compression}")
    assert (found.name, found.version) == ("hand-made", "7:2.0-3")
    assert found.programs == ("/usr/bin/hello", "/usr/bin/real")
    assert found.elves == {"/usr/lib/hand-made/bin/real", "/usr/bin/real"} and "/usr/share/hand-made" not in found.files
    assert found.floor and found.floor.startswith("2.")
    assert [len(data) for data in elves(path)] == [len(program)]


def test_what_only_belongs_to_it_is_not_installed(tmp_path: Path) -> None:
    files = {"/usr/bin/hello": SCRIPT, "/usr/bin/ghost": SCRIPT}
    assert look(package(tmp_path / "p", files, more={1037: [0, 64]}), "sha256:g").programs == ("/usr/bin/hello",)


def test_it_is_installed_started_and_removed_by_the_images_rpm(tmp_path: Path) -> None:
    path = package(tmp_path / "p", {"/usr/bin/hello": SCRIPT})
    made = Made("p", "file", path, {}, sha256="sha256:made")
    install = FORMATS["file"].start(made).install
    assert install is not None and install.remove is not None and install.unknown is None
    assert install.argv == ("/usr/bin/rpm", "--upgrade", "/run/py-portable-packages/package.rpm")
    assert install.remove.argv == ("/usr/bin/rpm", "--erase", "hand-made")
    assert install.manager == "/usr/bin/rpm" and install.own == {"/usr/bin/hello"}
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/dpkg").touch()
    install = FORMATS["file"].start(made, Image("debian:12", root, "sha256:0", "bootstrap", "2.36", None)).install
    assert install is not None and install.argv[1] == "--force-debian"
    assert install.unknown is not None and install.unknown[0] == "error: Failed dependencies:"


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({1000: "-rf"}, "cannot be the name of a package"),
        ({1106: 1}, "it is a package of sources"),
        ({1117: ["../x"]}, "the name of a file has a '/'"),
        ({1117: [".."]}, "leads out of where it is installed"),
        ({1118: ["/usr/../../etc/"]}, "leads out of where it is installed"),
        ({1118: ["usr/bin/"]}, "is not absolute"),
        ({1116: [3]}, "cannot be read as an RPM package"),
        ({1030: [1, 2]}, "cannot be read as an RPM package"),
        ({1030: "text"}, "cannot be read as an RPM package"),
    ],
)
def test_what_is_hostile_is_refused_with_a_sentence(tmp_path: Path, tags: Mapping[int, object], said: str) -> None:
    path = package(tmp_path / "p.rpm", {"/usr/bin/hello": SCRIPT}, more=tags)
    with pytest.raises(ConfigError, match=said) as caught:
        look(path, f"sha256:{tags}")
    assert caught.value.where == str(path)


@given(cut=st.integers(0, 900), at=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_damaged_package_is_an_error_with_its_path_and_never_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, byte: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = package(folder / "damaged.rpm", {"/usr/bin/hello": SCRIPT, "/usr/bin/link": (0o120777, b"hello")})
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(data[: len(data) - cut])
    try:
        look(path, f"sha256:{folder}")
    except ConfigError as problem:
        assert problem.where == str(path)
    list(elves(path))


def test_a_count_in_the_header_takes_no_memory(tmp_path: Path) -> None:
    path = package(tmp_path / "p", {"/usr/bin/hello": SCRIPT})
    data = path.read_bytes()
    entry = data.index(struct.pack(">II", 1030, 3))
    path.write_bytes(data[: entry + 12] + b"\xff\xff\xff\xff" + data[entry + 16 :])
    with pytest.raises(ConfigError, match="has 4294967295 values; the limit is 500000"):
        look(path, "sha256:count")


def test_what_is_no_package_is_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("!<arch>\n")
    assert not is_rpm(tmp_path / "text") and not is_rpm(tmp_path) and not is_rpm(tmp_path / "none")
    assert kind_of(tmp_path / "text") is None
    (tmp_path / "x.rpm").write_bytes(b"\xed\xab\xee\xdb")
    with pytest.raises(ConfigError, match="cannot be read as an RPM package"):
        look(tmp_path / "x.rpm", "sha256:x")
