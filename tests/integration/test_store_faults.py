"""The store under kills, full disks and company: the same command again gives the same digests.

A small program makes three steps that build on each other and restores two outputs. It is killed, or told that
the disk is full, at every system call that makes a thing last; then it is run again.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

CALLS = (
    "rename",
    "renameat",
    "renameat2",
    "fsync",
    "fdatasync",
    "syncfs",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
)
SURE = ("rename", "renameat2", "fsync", "syncfs", "mkdir")
SEED = 20251
KILLS = 25

PROGRAM = r"""
import hashlib, json, os, sys, time
from pathlib import Path
from py_portable.errors import PortableError
from py_portable.store import Store

root, dist, diary, pause = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
store = Store(root)

def key(*words):
    return hashlib.sha256(repr(words).encode()).hexdigest()

def step(name, count, *inputs):
    def build(work):
        with diary.open("a") as stream:
            stream.write(name + "\n")
        (work / "log").write_text("making " + name)
        for number in range(count):
            (work / "out" / f"{name}{number}").write_text(name * number)
            if pause:
                time.sleep(pause / count)
        (work / "out" / "inputs").write_text("".join(entry.digest for entry in inputs))
        (work / "out" / "self").symlink_to("inputs")
        return {"inputs": [entry.digest for entry in inputs]}
    return store.make(key(name, *(entry.digest for entry in inputs)), build)

try:
    few = step("few", 1)
    many = step("many", 70)
    last = step("last", 1, few, many)
    with store.scratch("cell") as room:
        (room / "f").touch()
    store.restore(last, ".", dist / "folder")
    store.restore(last, ".", dist / "folder")
    store.restore(many, "many7", dist / "file")
    for entry in (few, many, last):
        store.verify(entry)
except PortableError as problem:
    print(problem.render(), file=sys.stderr)
    sys.exit(problem.exit_code)
print(json.dumps([entry.digest for entry in (few, many, last)]))
"""


@dataclass(frozen=True)
class Bench:
    """One store, one dist folder, and the program that fills them."""

    room: Path

    def words(self, pause: float = 0.0) -> list[str]:
        (self.room / "program.py").write_text(PROGRAM)
        places = [str(self.room / name) for name in ("store", "dist", "diary")]
        return [sys.executable, str(self.room / "program.py"), *places, str(pause)]

    def run(self, *before: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*before, *self.words()], capture_output=True, text=True, timeout=60)

    def built(self) -> list[str]:
        return (self.room / "diary").read_text().split()

    def assert_clean(self, expected: list[str]) -> None:
        """The command now succeeds, with the same digests; its own `verify` passed; no rubbish is left."""
        done = self.run()
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == expected
        assert list((self.room / "store" / "tmp").iterdir()) == []
        assert list((self.room / "store" / "quarantine").iterdir()) == []
        assert sorted(path.name for path in (self.room / "dist").iterdir()) == ["file", "folder"]


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled modules in a folder of our own: hundreds of quick starts, and none of them writes there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("compiled")))
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        subprocess.run([sys.executable, "-c", "import py_portable.store, random"], check=True)
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The digests of an undisturbed run."""
    done = Bench(tmp_path_factory.mktemp("undisturbed")).run()
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert len(set(found)) == 3
    return [str(digest) for digest in found]


def points(room: Path) -> list[tuple[str, int]]:
    """Every call of the program that matters, as (name, how many-th), seen by strace."""
    trace = room / "trace"
    done = Bench(room).run("strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={','.join(CALLS)}")
    assert done.returncode == 0, done.stderr
    calls = Counter(re.findall(r"^\d+\s+(\w+)\(", trace.read_text(), re.MULTILINE))
    assert set(SURE) <= set(calls) <= set(CALLS), calls
    return [(name, number) for name, count in sorted(calls.items()) for number in range(1, count + 1)]


@pytest.fixture
def strace() -> Iterator[str]:
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    yield program


@pytest.mark.parametrize("fault", ["signal=SIGKILL", "error=ENOSPC"])
def test_a_fault_at_every_call_that_makes_things_last(
    tmp_path: Path, strace: str, expected: list[str], fault: str
) -> None:
    (tmp_path / "count").mkdir()
    places = points(tmp_path / "count")
    assert len(places) > 40

    def disturb(place: tuple[str, int]) -> str:
        call, number = place
        bench = Bench(tmp_path / f"{call}-{number}")
        bench.room.mkdir()
        done = bench.run(strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                         "-e", f"inject={call}:{fault}:when={number}")  # fmt: skip
        if fault == "signal=SIGKILL":
            assert done.returncode in (-9, 137), (place, done)
        elif done.returncode == 0:
            assert json.loads(done.stdout) == expected
        else:
            assert done.returncode == 4, (place, done)
            assert "Traceback" not in done.stderr
            assert "No space left on device" in done.stderr, (place, done)
            assert "MB and" in done.stderr
            assert "then run the same command again" in done.stderr
        bench.assert_clean(expected)
        shutil.rmtree(bench.room)
        return "stopped" if done.returncode else "went on"

    with ThreadPoolExecutor(2) as pool:
        outcomes = Counter(pool.map(disturb, places))
    # A full disk must not be overlooked: going on is right only where the call was one of a clean-up.
    assert outcomes["went on"] <= len(places) // 10, outcomes


def test_everything_is_on_the_disk_before_it_gets_its_name(bench: Bench, strace: str) -> None:
    trace = bench.room / "trace"
    done = bench.run(strace, "-f", "-y", "-qq", "-o", str(trace), "-e", "trace=fsync,syncfs,rename")
    assert done.returncode == 0, done.stderr
    lines = trace.read_text().splitlines()
    renamed = [
        (at, found[1], found[2])
        for at, line in enumerate(lines)
        if (found := re.search(r'rename\("(.*/tmp/.*/work)", "(.*/objects/../\w+)"\) = 0', line))
    ]
    assert len(renamed) == 3
    for at, work, place in renamed:
        before = "\n".join(lines[:at])
        synced = set(re.findall(rf"fsync\(\d+<{re.escape(work)}/?(.*?)>\) += 0", before))
        assert {"manifest", "entry.json"} <= synced
        names = {path.relative_to(place).as_posix() for path in Path(place).rglob("*") if not path.is_symlink()}
        whole = re.search(rf"syncfs\(\d+<{re.escape(work)}>\) += 0", before)
        assert whole or names - {"used"} <= synced, names - synced
        assert re.search(rf"fsync\(\d+<{re.escape(str(Path(place).parent))}>\) += 0", "\n".join(lines[at:]))


def test_a_full_disk_while_a_file_is_written(bench: Bench, strace: str, expected: list[str]) -> None:
    inject = ("-e", "trace=write", "-e", "inject=write:error=ENOSPC:when=20..500")
    done = bench.run(strace, "-f", "-qq", "-o", "/dev/null", *inject)
    assert done.returncode != 0
    (bench.room / "diary").write_text("")
    bench.assert_clean(expected)


def test_kills_at_random_times(bench: Bench, expected: list[str]) -> None:
    chance = random.Random(SEED)
    words = bench.words(pause=0.15)
    killed = 0
    ended = 0
    while killed < KILLS:
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = child.communicate(timeout=chance.uniform(0.05, 0.75))
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            killed += 1
            continue
        assert (child.returncode, err) == (0, "")
        assert json.loads(out) == expected
        ended += 1
        # What is finished would never be interrupted again: begin afresh.
        shutil.rmtree(bench.room / "store")
    bench.assert_clean(expected)
    assert ended < 10 * KILLS


@pytest.mark.parametrize("count", [2, 4])
def test_processes_side_by_side_build_each_step_once(bench: Bench, expected: list[str], count: int) -> None:
    words = bench.words(pause=0.2)
    pipe = subprocess.PIPE
    children = [subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) for _ in range(count)]
    for child in children:
        out, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, "")
        assert json.loads(out) == expected
    assert sorted(bench.built()) == ["few", "last", "many"]
    bench.assert_clean(expected)


def test_one_is_killed_while_another_waits(bench: Bench, expected: list[str]) -> None:
    words = bench.words(pause=30)
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (bench.room / "diary").exists():
        time.sleep(0.01)
    second = subprocess.Popen(bench.words(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert second.stderr
    said = second.stderr.readline()
    first.kill()
    first.wait()
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert json.loads(out) == expected
    assert f"waiting for process {first.pid}" in said
    assert bench.built() == ["few", "few", "many", "last"]
    bench.assert_clean(expected)


USE = r"""
import hashlib, random, sys
from pathlib import Path
from py_portable.store import Store
store = Store(Path(sys.argv[1]))
chance = random.Random(sys.argv[2])
for _ in range(6):
    name = str(chance.randrange(8))
    def build(work):
        for number in range(20):
            (work / "out" / f"{name}-{number}").write_text(name)
        return {}
    store.verify(store.make(hashlib.sha256(name.encode()).hexdigest(), build))
"""

COLLECT = r"""
import sys
from pathlib import Path
from py_portable.store import Store
count = 0
while not Path(sys.argv[2]).exists():
    count += Store(Path(sys.argv[1])).gc(keep_days=0)
print(count)
"""


def test_a_greedy_collector_takes_nothing_that_is_in_use(tmp_path: Path) -> None:
    store, stop = str(tmp_path / "store"), tmp_path / "stop"
    collector = subprocess.Popen([sys.executable, "-c", COLLECT, store, str(stop)], stdout=subprocess.PIPE, text=True)
    try:
        with ThreadPoolExecutor(3) as pool:
            users = pool.map(
                lambda seed: subprocess.run(
                    [sys.executable, "-c", USE, store, str(seed)], capture_output=True, text=True, timeout=60
                ),
                range(18),
            )
            assert [(user.returncode, user.stderr) for user in users] == [(0, "")] * 18
    finally:
        stop.touch()
        out, _ = collector.communicate(timeout=60)
    assert int(out) > 8, "the collector took nothing: the test showed nothing"
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
    assert list((tmp_path / "store" / "quarantine").iterdir()) == []
