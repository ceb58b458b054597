"""Interpreters that others made: archives are unpacked safely, and what they say of themselves is held against the config."""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from py_portable.base.tarball import Bounds
from py_portable.config import Archive
from py_portable.errors import ConfigError, StepError
from py_portable.images import Image
from py_portable.images.packages import system_packages
from py_portable.interpreters import PROVIDERS, Provider
from py_portable.interpreters.archives import members_of, unpack
from py_portable.interpreters.manylinux import tag
from py_portable.interpreters.settle import check, read
from py_portable.interpreters.standalone import digest, take
from py_portable.steps.context import Context, Environment, Result
from py_portable.steps.identity import NodeId
from py_portable.store import Store
from tests.unit.elf_builder import build_elf


class NoEngine:
    """Runs nothing."""

    name = "none"

    def probe(self) -> Any:
        raise AssertionError

    def argv(self, job: Any) -> Any:
        raise AssertionError

    def run(self, job: Any, **options: Any) -> Any:
        raise AssertionError("nothing is to be run")


def member(name: str, data: bytes = b"", **changes: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    for key, value in changes.items():
        setattr(info, key, value)
    return info, data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def unpacked(tmp_path: Path, data: bytes, **options: Any) -> Path:
    archive, out = tmp_path / "archive", tmp_path / "out"
    archive.write_bytes(data)
    out.mkdir(exist_ok=True)
    unpack(archive, out, **options)
    return out


GOOD = (
    member("python/bin/python3.13", b"#!ELF", mode=0o4755),
    member("python/lib/os.py", b"import"),
    link("python/bin/python3", "python3.13"),
    link("python/lib/here", "../bin/python3.13"),
    link("python/lib/copy.py", "python/lib/os.py", tarfile.LNKTYPE),
    member("other/file", b"x"),
)


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, lzma.compress, lambda data: zstandard.ZstdCompressor().compress(data)],
    ids=["gz", "xz", "zst"],
)
def test_an_archive_is_unpacked_below_its_folder(tmp_path: Path, compress: Any) -> None:
    out = unpacked(tmp_path, compress(packed(*GOOD)), below="python")
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if not p.is_dir()) == [
        "bin/python3",
        "bin/python3.13",
        "lib/copy.py",
        "lib/here",
        "lib/os.py",
    ]
    assert (out / "bin/python3").read_bytes() == b"#!ELF"
    assert stat.S_IMODE((out / "bin/python3.13").stat().st_mode) == 0o755
    assert members_of(tmp_path / "archive", ("python/PYTHON.json", "other/file")) == {"other/file"}


@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        (member("/etc/passwd", b"x"), "leads out"),
        (member("python/../../evil", b"x"), "leads out"),
        (link("python/a", "/etc"), "leads out"),
        (link("python/a", "../../etc"), "leads out"),
        (link("python/a/b", "c/../../../etc"), "leads out"),
        (link("python/a", "../outside", tarfile.LNKTYPE), "leads out"),
        (link("python/a", "python/none", tarfile.LNKTYPE), "not a file of the archive"),
        (link("python/a", "/etc/passwd", tarfile.LNKTYPE), "leads out"),
        (member("python/null", type=tarfile.CHRTYPE), "neither a file"),
        (member("python/pipe", type=tarfile.FIFOTYPE), "neither a file"),
        (member("python/bin/python3.13/x", b"again"), "through a file"),
        (link("python/lib", "bin"), "place of a folder"),
        (member(f"python/{'x' * 2000}", b""), "longer name"),
    ],
)
def test_a_hostile_member_is_named_and_refused(
    tmp_path: Path, hostile: tuple[tarfile.TarInfo, bytes], why: str
) -> None:
    with pytest.raises(StepError, match=why) as caught:
        unpacked(tmp_path, gzip.compress(packed(*GOOD, hostile)), below="python")
    assert hostile[0].name[:100] in caught.value.what
    assert {p.name for p in tmp_path.iterdir()} == {"archive", "out"}


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    members = (link("python/a", "b"), link("python/b", "."), member("python/a/evil", b"x"))
    with pytest.raises(StepError, match="through a link"):
        unpacked(tmp_path, gzip.compress(packed(*members)), below="python")


def test_what_is_too_much_is_refused(tmp_path: Path) -> None:
    data = gzip.compress(packed(*GOOD))
    with pytest.raises(StepError, match="beyond the limit of 3 members"):
        unpacked(tmp_path, data, bounds=Bounds(members=3))
    (tmp_path / "out").rename(tmp_path / "first")
    bomb = gzip.compress(packed(member("python/zeros", bytes(1 << 20))))
    with pytest.raises(StepError, match="1000 bytes"):
        unpacked(tmp_path, bomb, bounds=Bounds(total_bytes=1000))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04"])
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(StepError, match="cannot be read as an archive"):
        unpacked(tmp_path, data)


@given(data=st.binary(max_size=200), cut=st.integers(0, 10_000), kind=st.sampled_from(["gz", "xz", "zst"]))
def test_whatever_is_broken_is_a_step_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int, kind: str
) -> None:
    whole = packed(*GOOD)
    compress: Any = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstandard.ZstdCompressor().compress}[kind]
    text: bytes = compress(whole)
    place = cut % len(text)
    try:
        unpacked(tmp_path_factory.mktemp("broken"), text[: max(6, place)] + data)
    except StepError as problem:
        assert "Traceback" not in problem.render()


SAID: dict[str, Any] = {"version": "3.13.5", "implementation": "cpython", "free_threaded": False}


def test_an_interpreter_is_what_it_says() -> None:
    check(SAID, "3.13", "the archive")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"version": "3.12.1"}, "the archive is Python 3.12.1, but 3.13 is needed"),
        ({"version": "3.1.3"}, "the archive is Python 3.1.3, but 3.13 is needed"),
        (
            {"implementation": "pypy"},
            "the archive is pypy '3.13.5'; only CPython with its global lock is used",
        ),
        ({"free_threaded": True}, "the archive is free-threaded '3.13.5'"),
        ({"version": "3.13.5\n$(rm)"}, "the archive is cpython"),
    ],
)
def test_an_interpreter_that_is_something_else_is_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(StepError) as caught:
        check(SAID | told, "3.13", "the archive")
    assert message in caught.value.what
    assert caught.value.hint


def test_the_registry_names_each_provider_by_its_own_name() -> None:
    assert {name: one.name for name, one in PROVIDERS.items()} == {name: name for name in PROVIDERS}


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda one: one.name)
def test_what_a_provider_needs_in_an_image_is_known_for_debian(provider: Provider) -> None:
    assert system_packages("apt", ("compilers", *provider.needs))


@pytest.mark.parametrize(("python", "wanted"), [("3.13", "cp313-cp313"), ("3.9", "cp39-cp39")])
def test_the_folder_of_a_manylinux_image(python: str, wanted: str) -> None:
    assert tag(python) == wanted


def test_an_archive_that_is_gone_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        digest(Archive(path=tmp_path / "gone.tar.gz"))
    assert digest(Archive(url="https://example.org/x", sha256="0" * 64)) == "0" * 64


def test_an_archive_that_needs_a_newer_glibc_than_the_baseline_is_refused_before_it_is_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "archive/bin").mkdir(parents=True)
    needs = {"libc.so.6": [("GLIBC_2.34", False, ["dlopen"])]}
    (tmp_path / "archive/bin/python3").write_bytes(build_elf(needs=needs))
    image = Image("debian:11", tmp_path, "sha256:x", "bootstrap", "2.31", None)
    ctx = Context(
        env=Environment(Store(tmp_path / "store"), NoEngine(), epoch=0, jobs=1),
        name="interpreter 3.13 (default)",
        params={"python": "3.13"},
        inputs={NodeId("archive", "3.13"): Result(tmp_path / "archive", "sha256:a", {})},
        image=image,
        work=tmp_path / "work",
        log=tmp_path / "log",
    )
    with pytest.raises(StepError) as caught:
        take(ctx)
    assert caught.value.what == "the archive's files need glibc 2.34, but the baseline debian:11 has 2.31"


def test_what_a_script_told_is_never_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "there").symlink_to(tmp_path / "secret")
    with pytest.raises(StepError, match="did not report its version"):
        read(tmp_path / "there")
    with pytest.raises(StepError, match="did not report its version"):
        read(tmp_path / "none")


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    with pytest.raises(StepError, match="a header of 1099511627776 bytes"):
        unpacked(tmp_path, gzip.compress(packed(*GOOD)[: 512 * 2] + info.tobuf(tarfile.GNU_FORMAT)))
