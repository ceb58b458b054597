"""Promise: nothing that somebody else wrote takes more of the machine than its kind may: archives, wheels and sdists
are bounded in sizes, counts and ratio, logs have an end, and only regular files are ever opened. What several jobs
unpack into one workspace at the same time arrives whole.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_portable.base import capture, process, untar
from py_portable.base.capture import BoundedLog
from py_portable.base.regular import NotRegularError, TooLargeError, open_regular, read_regular
from py_portable.base.tarball import Bounds, RefusedError, members, opened
from py_portable.base.zips import checked
from py_portable.ci import travel
from py_portable.ci.job_config import Project
from py_portable.commands import bring as bring_command
from py_portable.errors import ConfigError, StepError
from py_portable.lock.index import files
from py_portable.store import digest
from py_portable.wheels.app_source import built_wheels
from py_portable.wheels.given import bounded

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": lambda data: gzip.compress(data, 1),
    "bz2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
GIB = 1 << 30


class Zeros(io.RawIOBase):
    """So many of them, out of nothing."""

    def __init__(self, count: int) -> None:
        self._left = count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._left)
        buffer[:count] = bytes(count)
        self._left -= count
        return count


def bomb(path: Path, size: int = 4 * GIB) -> Path:
    """The review's: a .tar.zst of about 131 kB that declares, and holds, 4 GiB."""
    member = tarfile.TarInfo("py-portable/zeros")
    member.size = size
    packer = zstandard.ZstdCompressor(level=3)
    with (
        path.open("wb") as raw,
        packer.stream_writer(raw, size=-1) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        tar.addfile(member, io.BufferedReader(Zeros(size), 1 << 20))
    return path


@pytest.fixture(scope="module")
def small_bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same kind in a size that a test has time for: it would be 1 GiB."""
    path = bomb(tmp_path_factory.mktemp("bomb") / "kit.tar.zst", GIB)
    assert path.stat().st_size < 200_000
    return path


def free(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def test_a_bomb_is_not_unpacked(small_bomb: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too much for its size"):
        bring_command.bring(str(small_bomb), "", tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RefusedError, match="too much for its size"):
        untar.unpack(small_bomb, tmp_path)
    assert free(tmp_path) <= Bounds().ratio_floor + (1 << 20)


def tarred(*members: tarfile.TarInfo, data: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(data) if member.size == len(data) else None)
    return stream.getvalue()


def member(name: str, **changes: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in changes.items():
        setattr(info, key, value)
    return info


LITTLE = Bounds(members=10, total_bytes=1 << 20, file_bytes=1 << 16, ratio=20, ratio_floor=1 << 18)


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tarred(*(member(f"f{number}") for number in range(11))), "beyond the limit of 10 members"),
        (tarred(member("f", size=1 << 17), data=bytes(1 << 17)), "the limit is 65536"),
        (tarred(*(member(f"f{n}", size=1 << 16) for n in range(9)), data=bytes(1 << 16)), "too much|beyond"),
        (tarred(member("f", size=1 << 60)), "the limit is|beyond"),
        (tarred(member("f", size=1 << 10), data=bytes(1 << 10))[:900], "cannot be read|unexpected end"),
        (tarred(member("f" * 5000)), "4096 characters"),
        (tarred(member("f", pax_headers={"comment": "x" * (2 << 20)})), "a header of|too much"),
        (
            tarred(member("f", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)})),
            "sparse|the limit is|beyond",
        ),
    ],
    ids=["members", "file", "total", "declared", "truncated", "name", "header", "sparse"],
)
def test_every_size_is_bounded(kind: str, data: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(COMPRESS[kind](data))
    (tmp_path / "out").mkdir()
    if kind == "plain" and "too much|beyond" in why:
        why = ""  # 9 x 64 KiB are within the whole; only what is compressed has a ratio
        untar.unpack(tmp_path / "archive", tmp_path / "out", bounds=LITTLE)
        return
    with pytest.raises(RefusedError, match=why):
        untar.unpack(tmp_path / "archive", tmp_path / "out", bounds=LITTLE)
    assert free(tmp_path / "out") <= LITTLE.total_bytes


def test_xz_does_not_get_the_memory_that_it_asks_for(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    (tmp_path / "archive").write_bytes(lzma.compress(tarred(member("f")), filters=filters))
    with pytest.raises(RefusedError, match="emory"):
        untar.unpack(tmp_path / "archive", tmp_path)


def test_compressed_data_in_several_parts_is_read_to_its_end(tmp_path: Path) -> None:
    data = tarred(member("f", size=9), data=b"unchanged")
    for name, compress in COMPRESS.items():
        archive = tmp_path / name
        archive.write_bytes(compress(data[:700]) + compress(data[700:]))
        (tmp_path / f"{name}-out").mkdir()
        untar.unpack(archive, tmp_path / f"{name}-out")
        assert (tmp_path / f"{name}-out/f").read_bytes() == b"unchanged"


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(COMPRESS)),
    edits=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=12)), max_size=6),
    cut=st.integers(0, 1 << 20),
    inner=st.booleans(),
)
def test_a_damaged_archive_is_refused_and_never_a_traceback(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    edits: list[tuple[int, bytes]],
    cut: int,
    inner: bool,
) -> None:
    base = tmp_path_factory.mktemp("fuzz")
    into = base / "into"
    into.mkdir()
    data = bytearray(
        tarred(
            member("d", type=tarfile.DIRTYPE, mode=0o755),
            member("d/f", size=5),
            member("l", type=tarfile.SYMTYPE, linkname="d/f"),
            member("h", type=tarfile.LNKTYPE, linkname="d/f", pax_headers={"mtime": "1.5", "comment": "x" * 600}),
            data=b"12345",
        )
    )

    def damaged(some: bytearray) -> bytes:
        for at, new in edits:
            some[at % len(some) : at % len(some) + len(new)] = new
        return bytes(some[: len(some) - cut % len(some) if cut % 3 == 0 else len(some)])

    packed = COMPRESS[kind](damaged(data)) if inner else damaged(bytearray(COMPRESS[kind](bytes(data))))
    (base / "archive").write_bytes(packed)
    try:
        untar.unpack(base / "archive", into, bounds=LITTLE, links_out=True)
    except (RefusedError, OSError) as problem:
        # Of the file system no more than what a name or a mode can cause.
        assert isinstance(problem, RefusedError) or problem.errno, problem
    assert sorted(path.name for path in base.iterdir()) == ["archive", "into"]


# ------------------------------------------------------------------------------------------------ wheels


def wheel(path: Path, size: int) -> Path:
    """One whose data unpacks to `size` zeros, with an honest directory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("app/data.bin", "w", force_zip64=True) as stream:
            left = size
            while left:
                left -= stream.write(bytes(min(left, 1 << 24)))
        archive.writestr("app-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: app\nVersion: 1.0\n")
    return path


@pytest.fixture(scope="module")
def bad_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel(tmp_path_factory.mktemp("wheel") / "app-1.0-py3-none-any.whl", 300 << 20)


def test_a_wheel_that_is_a_bomb_is_taken_nowhere(bad_wheel: Path, tmp_path: Path) -> None:
    assert bad_wheel.stat().st_size < 500_000
    with pytest.raises(RefusedError, match="zip bomb"):
        checked(bad_wheel)
    with pytest.raises(StepError, match="zip bomb"):
        bounded(bad_wheel)
    with pytest.raises(StepError, match="zip bomb"):
        built_wheels(bad_wheel.parent)
    with pytest.raises(StepError, match="zip bomb"):
        files._bounded(bad_wheel)


def test_an_sdist_that_is_a_bomb_is_not_taken_from_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.SDIST_BOUNDS.ratio_floor <= 256 << 20 and files.SDIST_BOUNDS.ratio <= 200
    monkeypatch.setattr(files, "SDIST_BOUNDS", replace(files.SDIST_BOUNDS, ratio_floor=1 << 20))
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=6) as tar:
        tar.addfile(member("app-1.0/zeros", size=60 << 20), io.BufferedReader(Zeros(60 << 20), 1 << 20))
    (tmp_path / "app-1.0.tar.gz").write_bytes(data.getvalue())
    with pytest.raises(StepError, match="too much for its size"):
        files._bounded(tmp_path / "app-1.0.tar.gz")


def test_wheels_as_they_are_pass(tmp_path: Path) -> None:
    for size in (0, 1000, 50 << 20):
        checked(wheel(tmp_path / "a.whl", size))
    for path in Path(sys.prefix).rglob("*.whl"):
        checked(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 5000), new=st.binary(min_size=1, max_size=8), cut=st.integers(0, 5000))
def test_a_damaged_wheel_is_refused_or_a_wheel(tmp_path: Path, at: int, new: bytes, cut: int) -> None:
    data = bytearray(wheel(tmp_path / "fresh.whl", 3000).read_bytes())
    data[at % len(data) : at % len(data) + len(new)] = new
    (tmp_path / "a.whl").write_bytes(data[: len(data) - cut % len(data) if cut % 4 == 0 else len(data)])
    with contextlib.suppress(RefusedError):
        checked(tmp_path / "a.whl")


# -------------------------------------------------------------------------------------------------- logs


def test_a_log_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setattr(process, "BoundedLog", lambda path: BoundedLog(path, head=64 << 10, tail=64 << 10))
    for word in ("one", "two"):
        process.run(["sh", "-c", f"echo first-{word}; yes {word} | head -c 3000000; echo last-{word}"], log=log)
        text = log.read_text()
        assert f"first-{word}" in text and text.endswith(f"last-{word}\n")
        assert "bytes left out" in text
        assert len(text) <= (1 if word == "one" else 2) * (3 * (64 << 10) + 200)
    assert text.count("bytes left out") == 2 and "first-one" in text and "last-one" in text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(st.binary(max_size=300), max_size=40), before=st.binary(max_size=50))
def test_what_a_bounded_log_keeps(tmp_path: Path, chunks: list[bytes], before: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(before)
    with BoundedLog(path, head=100, tail=200) as log:
        for chunk in chunks:
            log.write(chunk)
            assert path.stat().st_size <= len(before) + 100 + 2 * 200 + 300 + 60
    whole, kept = b"".join(chunks), path.read_bytes()
    assert kept.startswith(before + whole[:100])
    if len(whole) <= 100 + 2 * 200:
        assert kept == before + whole
    else:
        head, mark, tail = kept[len(before) :].partition(b"\n[... ")
        number, _, tail = tail.partition(b" bytes left out ...]\n")
        if mark and number.isdigit() and len(head) == 100:
            assert head + tail == whole[:100] + whole[100 + int(number) :]
            assert len(tail) >= 200


def test_honest_logs_are_whole(tmp_path: Path) -> None:
    process.run(["sh", "-c", "yes | head -c 20000000"], log=tmp_path / "log")
    assert capture.LOG_HEAD_BYTES + capture.LOG_TAIL_BYTES >= 32 << 20
    assert (tmp_path / "log").stat().st_size > 20_000_000


# ------------------------------------------------------------------------------------- only regular files


@pytest.fixture(params=["pipe", "zero", "socket", "folder", "terminal"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "odd"
    match request.param:
        case "pipe":
            os.mkfifo(path)
        case "zero":
            path.symlink_to("/dev/zero")
        case "terminal":
            path.symlink_to("/dev/ptmx")
        case "folder":
            path.mkdir()
        case _:
            import socket

            with socket.socket(socket.AF_UNIX) as one:
                one.bind(str(path))
                yield path
            return
    yield path


def test_only_regular_files_are_opened(odd: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(NotRegularError, match="not a regular file"):
        open_regular(odd)
    assert time.monotonic() - started < 1
    (tmp_path / "text").write_text("12345")
    (tmp_path / "link").symlink_to("text")
    assert read_regular(tmp_path / "link", 5) == b"12345"
    with pytest.raises(TooLargeError, match="more than 4 bytes"):
        read_regular(tmp_path / "text", 4)
    with pytest.raises(NotRegularError):
        read_regular(tmp_path / "link", 5, follow=False)


CONFIG = """\
version: 1
app: {source: SOURCE, script: app}
python: "3.13"
baselines: {default: {image: "debian:12"}}
artifacts: {one: {format: file, path: PATH}}
portability: {images: ["debian:12"]}
"""
LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30));"


def portable(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Ended where it waits for a pipe or eats the memory."""
    program = f"{LIMIT} from py_portable.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PY_PORTABLE_STORE": str(cwd / "store")},
        capture_output=True,
        text=True,
        timeout=25,
    )


@pytest.mark.parametrize(
    ("kind", "place", "words"),
    [
        ("pipe", "portable.lock", ["build"]),
        ("zero", "portable.lock", ["lock"]),
        ("pipe", "one", ["build"]),
        ("zero", "one", ["build"]),
        ("pipe", "evidence.json", ["merge", "evidence.json", "--output", "out.json"]),
        ("zero", "one", ["prove", "one", "--image", "debian:12"]),
        ("pipe", "one.whl", ["tags", ".", "any"]),
        ("zero", "dist/evidence/parts/a.json", ["report"]),
        ("pipe", "app", ["check"]),
        ("zero", "app/pyproject.toml", ["lock"]),
    ],
    ids=lambda one: one if isinstance(one, str) else one[0],
)
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_told_and_not_waited_for(
    kind: str, place: str, words: list[str], tmp_path: Path
) -> None:
    text = CONFIG.replace("SOURCE", "app").replace("PATH", "one")
    if place.startswith("app"):
        text = text.replace("{format: file, path: one}", "{format: wheelhouse}")
    (tmp_path / "portable.yaml").write_text(text)
    if place != "app":
        (tmp_path / "app").mkdir()
        (tmp_path / "app/pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\n')
    if place != "one":
        (tmp_path / "one").write_text("#!/bin/sh\n")
        (tmp_path / "one").chmod(0o755)
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    done = portable(*words, cwd=tmp_path)
    assert done.returncode in (1, 2, 3, 4), done
    assert "Traceback" not in done.stderr and "Error" in done.stdout + done.stderr + "Error" * (words[0] == "tags"), (
        done
    )


# ------------------------------------------------------------------------- several jobs in one workspace

UNPACK = """
import sys
from pathlib import Path
from py_portable.ci import travel
from py_portable.ci.job_config import Project
here = Path(sys.argv[1])
archives = [Path(word) for word in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(2):
    travel.unpack_dist(archives, here, [Project("portable.yaml", here / "dist")])
"""


def filled(here: Path, name: str, files: int) -> Project:
    project = Project("portable.yaml", here / "dist")
    (here / "portable.lock").write_text("lock\n")
    tree = here / "dist" / name / "cli"
    for number in range(files):
        path = tree / f"lib{number % 40}" / f"m{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n" * 50)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "closed").mkdir(mode=0o555)
    (tree / "link").symlink_to("run")
    (here / "dist/evidence/parts").mkdir(parents=True)
    (here / f"dist/evidence/parts/build-{name}.json").write_text("{}")
    (here / "dist/evidence.json").write_text(json.dumps({"of": name}))
    return project


def test_eight_jobs_unpack_into_one_workspace_at_once(tmp_path: Path) -> None:
    """One of them was lost: File exists: dist/evidence.json."""
    digests = {}
    for name in ("tree", "other"):
        here = tmp_path / name
        here.mkdir()
        travel.pack_dist([filled(here, name, 60)], here, tmp_path / f"handed-{name}")
        digests[name] = digest(here / "dist" / name)
    archives = [tmp_path / f"handed-{name}" / travel.DIST for name in digests]
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", UNPACK, str(workspace), *map(str, archives)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for job in jobs:
        assert job.stdout and job.stdout.readline() == "ready\n"
    for job in jobs:
        assert job.stdin
        job.stdin.write("\n")
        job.stdin.flush()
    said = [job.communicate(timeout=120)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 8, said
    for name, expected in digests.items():
        assert digest(workspace / "dist" / name) == expected
    parts = sorted(path.name for path in (workspace / "dist/evidence/parts").iterdir())
    assert parts == ["build-other.json", "build-tree.json"]
    assert json.loads((workspace / "dist/evidence.json").read_text()) == {"of": "other"}
    assert sorted(path.name for path in workspace.iterdir()) == ["dist", "portable.lock"]


def test_who_reads_is_not_disturbed_by_who_unpacks_the_same(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    project = filled(here, "tree", 30)
    archive = travel.pack_dist([project], here, tmp_path / "handed")
    before = {path: path.lstat().st_ino for path in here.rglob("*")}
    travel.unpack_dist([archive], here, [project])
    assert {path: path.lstat().st_ino for path in here.rglob("*")} == before


def test_the_bounds_admit_a_large_real_app(tmp_path: Path) -> None:
    """39,000 files, counted; a bundle of one shrinks to a quarter."""
    (tmp_path / "archive").write_bytes(member("dist/tree/file").tobuf() * 39_000 + bytes(1024))
    with opened(tmp_path / "archive", Bounds()) as tar:
        assert sum(1 for _ in members(tar, Bounds())) == 39_000
    assert Bounds().total_bytes >= 10 * GIB and Bounds().ratio >= 20 * 4
