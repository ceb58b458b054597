"""cell-run by itself: what comes over its channel, how its record leaves, and whose a build's files become."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from py_portable.prove.conditions import PLAIN
from py_portable.prove.record import parse

WORD = b"0123456789abcdefABCDEF0123456789"
OWNER = 43210
NEEDS_ROOT = "needs root to give files away"


def told(env: bytes = b"", word: bytes = WORD) -> bytes:
    return word + b"\n%d\n" % len(env) + env


def record_of(stderr: bytes) -> bytes:
    found = re.findall(rb"\n" + WORD + rb" ([^\n]*\n)", stderr)
    assert len(found) == 1, stderr
    return bytes(found[0])


# --- malformed beginnings


def well_formed(data: bytes) -> bool:
    head = re.match(rb"[0-9a-fA-F]{32}\n([0-9]{1,15})\n", data)
    if not head or int(head[1]) > 1 << 20:
        return False
    block = data[head.end() :][: int(head[1])]
    return len(block) == int(head[1]) and (not block or block.endswith(b"\0"))


GOOD = told(b"A=b\0C=\0")
MUTATED = st.builds(
    lambda at, cut, put: GOOD[:at] + put + GOOD[at + cut :],
    st.integers(0, len(GOOD)),
    st.integers(0, 12),
    st.binary(max_size=8) | st.sampled_from([b"\n", b"-1", b"9" * 14, b"+", b" ", b"\0"]),
)


@given(st.binary(max_size=80) | MUTATED)
@example(b"")
@example(WORD)
@example(WORD + b"x0\n")
@example(WORD + b"\n")
@example(WORD + b"\n\n")
@example(WORD + b"\n-1\n")
@example(WORD + b"\n+1\n\0")
@example(WORD + b"\n1\0\n\0")
@example(WORD + b"\n1048577\n" + b"\0" * 1048577)
@example(WORD + b"\n" + b"0" * 16 + b"\n")
@example(WORD + b"\n99999999999999999999\n")
@example(WORD + b"\n3\nA=b")
@example(WORD + b"\n4\nA=b")
@example(told(word=b"g" * 32))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_malformed_beginning_starts_nothing(helpers: Path, data: bytes) -> None:
    done = subprocess.run(
        [helpers / "cell-run", "--channel", "stdio", "--", "/bin/echo", "started"],
        input=data,
        capture_output=True,
        timeout=20,
    )
    if not well_formed(data):
        assert (done.returncode, done.stdout) == (125, b"")
        assert re.fullmatch(rb"cell-run: (channel|arguments): [^\n]+\n", done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ["--channel", "tcp", "--", "/bin/true"],
        ["--channel", "stdio", "--record", "5", "--", "/bin/true"],
        ["--owned", "/tmp", "--", "/bin/true"],
        ["--owner", "1:2", "--owned", "tmp", "--", "/bin/true"],
        ["--owner", "1", "--", "/bin/true"],
        ["--owner", "1:2:3", "--", "/bin/true"],
        ["--owner", "x:y", "--", "/bin/true"],
        ["--owner", "-1:-1", "--", "/bin/true"],
        ["--owner", "4294967295:1", "--", "/bin/true"],
        ["--owner", "1:99999999999", "--", "/bin/true"],
        ["--owner", "1:2", *["--owned", "/none"] * 33, "--", "/bin/true"],
        ["--channel", "stdio", "--"],
        ["--channel", "stdio"],
        ["--channel"],
    ],
)
def test_arguments_that_make_no_sense(helpers: Path, words: list[str]) -> None:
    done = subprocess.run([helpers / "cell-run", *words], input=told(), capture_output=True, timeout=20)
    assert done.returncode == 125 and done.stderr == b"cell-run: arguments: Invalid argument\n"


# --- the caller's end, and the way of the record


def started(helpers: Path, *argv: str, **options: int) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [helpers / "cell-run", "--channel", "stdio", "--", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin
    child.stdin.write(told(b"PATH=/usr/bin:/bin\0"))
    child.stdin.flush()
    return child


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("way", ["both", "stdin", "stderr"])
def test_all_ends_with_the_callers_end(helpers: Path, way: str) -> None:
    with started(helpers, "/bin/sh", "-c", "setsid sleep 1000 & echo $$ $!; sleep 1000") as child:
        assert child.stdin and child.stdout and child.stderr
        pids = [int(word) for word in child.stdout.readline().split()]
        assert all(map(alive, pids))
        if way != "stderr":
            child.stdin.close()
        if way != "stdin":
            child.stderr.close()
        assert child.wait(20) == 125
        assert not any(map(alive, pids))
        if way == "stdin":
            assert child.stderr.read() == b"", "nobody is there to be told"


def test_more_on_stdin_is_neither_read_by_the_app_nor_an_end(helpers: Path) -> None:
    with started(helpers, "/bin/sh", "-c", "cat; sleep 0.2; exit 6") as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdin.write(b"more" * 100)
        child.stdin.flush()
        assert child.wait(20) == 6
        assert child.stdout.read() == b"" and parse(record_of(child.stderr.read())).status == 6


FILL = """
import json
import os
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x" * 4096)
except BlockingIOError:
    print(os.getpid(), flush=True)
os._exit(9)
"""


def test_a_stderr_that_the_app_made_non_blocking_and_filled(helpers: Path) -> None:
    with started(helpers, sys.executable, "-c", FILL) as child:
        assert child.stdout and child.stderr
        pid = int(child.stdout.readline())
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)
        time.sleep(0.2)  # now cell-run has tried to write, and nobody has read
        assert parse(record_of(child.stderr.read())).status == 9
        assert child.wait(20) == 9


# --- whose the files are


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (tmp_path / "neighbour").mkdir()
    for name in ("plain", "a/b/deep", "line\nbreak", "suid", "sgid", "a/odd"):
        (tree / name).touch()
    for name, mode in {"plain": 0o640, "suid": 0o4755, "sgid": 0o2750, "a/odd": 0, "a/b": 0o2700, "a": 0o1777}.items():
        (tree / name).chmod(mode)
    (tree / "link").symlink_to(tmp_path / "outside")
    (tree / "a" / "link").symlink_to(tmp_path / "outside" / "file")
    (tree / "dangling").symlink_to("/none")
    os.mkfifo(tree / "fifo")
    return tree


def entries(folder: Path) -> dict[str, os.stat_result]:
    return {str(path.relative_to(folder)): path.lstat() for path in (folder, *folder.rglob("*"))}


def give(helpers: Path, tree: Path, *argv: str) -> int:
    words = ["--owner", f"{OWNER}:{OWNER + 1}", "--owned", str(tree), "--", *argv]
    return subprocess.run([helpers / "cell-run", *words], timeout=60).returncode


@pytest.mark.parametrize("status", [0, 3])
def test_what_was_built_is_given_away_with_its_modes(helpers: Path, tree: Path, status: int) -> None:
    before = entries(tree)
    assert give(helpers, tree, "/bin/sh", "-c", f"exit {status}") == status
    after = entries(tree)
    assert {name: seen.st_mode for name, seen in after.items()} == {name: seen.st_mode for name, seen in before.items()}
    assert {(seen.st_uid, seen.st_gid) for seen in after.values()} == {(OWNER, OWNER + 1)}


def test_no_link_is_followed_and_no_neighbour_touched(helpers: Path, tree: Path) -> None:
    assert give(helpers, tree, "/bin/true") == 0
    for path in (
        tree.parent,
        *(tree.parent / "outside").rglob("*"),
        tree.parent / "outside",
        tree.parent / "neighbour",
    ):
        assert path.stat().st_uid == 0, path


def test_what_belongs_to_the_owner_already_stays_as_it_is(helpers: Path, tree: Path) -> None:
    os.chown(tree / "suid", OWNER, 7)
    (tree / "suid").chmod(0o4711)
    assert give(helpers, tree, "/bin/true") == 0
    seen = (tree / "suid").stat()
    assert (seen.st_uid, seen.st_gid, seen.st_mode & 0o7777) == (OWNER, 7, 0o4711)


def test_files_are_given_away_at_the_time_limit_too(helpers: Path, tree: Path) -> None:
    words = ["--limit-ms", "200", "--owner", f"{OWNER}:0", "--owned", str(tree), "--", "/bin/sleep", "1000"]
    assert subprocess.run([helpers / "cell-run", *words], timeout=60).returncode == 124
    assert (tree / "plain").stat().st_uid == OWNER


def test_a_folder_that_is_not_there_is_no_trouble(helpers: Path, tmp_path: Path) -> None:
    assert give(helpers, tmp_path / "none", "/bin/sh", "-c", "exit 4") == 4


def test_another_file_system_is_not_entered(helpers: Path, tree: Path) -> None:
    script = f"""
        mount -t tmpfs none {tree}/a/b || exit 77
        touch {tree}/a/b/inner
        {helpers}/cell-run --owner {OWNER}:{OWNER} --owned {tree} -- /bin/true
        stat -c %u {tree}/a/b {tree}/a/b/inner {tree}/a
    """
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    if done.returncode in (1, 77) and not done.stdout:
        pytest.skip("needs root that may mount")
    assert done.stdout.split() == ["0", "0", str(OWNER)]


# --- what it takes away


LOOK = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
machine = os.uname().machine
def call(number, *args):
    return 0 if libc.syscall(number, *args) >= 0 else ctypes.get_errno()
keyctl = {"x86_64": 250, "aarch64": 219}[machine]
unshare = {"x86_64": 272, "aarch64": 97}[machine]
clone = {"x86_64": 56, "aarch64": 220}[machine]
print(call(keyctl, 0, -3, 0), call(unshare, 1 << 28), call(clone, 1 << 28 | 17, 0, 0, 0, 0), call(435, 0, 0), call(467, 0))
print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith(("Cap", "NoNew", "Seccomp:"))])
"""


def test_a_confined_build_keeps_the_capabilities_that_are_named(helpers: Path) -> None:
    done = subprocess.run(
        [helpers / "cell-run", "--confine", "build", "--keep", "CHOWN,KILL,SETFCAP", "--", sys.executable, "-c", LOOK],
        capture_output=True,
        text=True,
    )
    calls, status = (line.split() for line in done.stdout.splitlines())
    assert calls == ["1", "1", "1", "38", "38"]
    kept = "0000000080000021" if os.geteuid() == 0 else "0" * 16
    assert status[0] == "0" * 16 and status[1] == status[2] == kept and status[4:] == ["0" * 16, "1", "2"]
    assert status[3] == kept or os.geteuid() != 0


@pytest.mark.parametrize(
    "words",
    [
        ["--confine", "all"],
        ["--confine", "build"],
        ["--confine", "proof", "--keep", "CHOWN"],
        ["--confine", "build", "--keep", "CHOWN,NONE"],
        ["--confine", "build", "--keep", "CHOWN,,KILL"],
        ["--confine", "build", "--keep", "CHOW"],
        ["--keep", "CHOWN"],
        ["--processes", "-1"],
        ["--join", "2"],
        [word for fd in range(5) for word in ("--join", str(fd + 5))],
    ],
)
def test_what_to_take_away_is_said_exactly(helpers: Path, words: list[str]) -> None:
    done = subprocess.run([helpers / "cell-run", *words, "--", "/bin/true"], capture_output=True)
    assert done.returncode == 125 and done.stderr == b"cell-run: arguments: Invalid argument\n"


def test_a_group_that_cannot_be_joined_starts_nothing(helpers: Path, tmp_path: Path) -> None:
    with (tmp_path / "procs").open("w") as told, (tmp_path / "procs").open() as closed:
        for stream, status in ((told, 0), (closed, 125)):
            fd = stream.fileno()
            words = [helpers / "cell-run", "--join", str(fd), "--", "/bin/echo", "started"]
            done = subprocess.run(words, pass_fds=(fd,), capture_output=True)
            assert (done.returncode, done.stdout) == (status, b"" if status else b"started\n")
            assert done.stderr == (b"cell-run: join: Bad file descriptor\n" if status else b"")
    assert (tmp_path / "procs").read_text() == "0"


WITHOUT_FILTERS = """
import ctypes, os, struct, sys
number = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
class Program(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(steps), ctypes.addressof(code)))) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_kernel_without_filters_is_seen_by_the_canary(helpers: Path) -> None:
    # One that does not know seccomp(2), made by a filter that was there before.
    drop = ["--uid", "10001", "--gid", "10001"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        canary = shutil.copy(helpers / "canary", folder)
        words = [helpers / "cell-run", "--confine", "proof", *drop, "--", canary]
        done = subprocess.run([sys.executable, "-c", WITHOUT_FILTERS, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    broken = PLAIN.violations({**json.loads(done.stdout), "limits": ["memory", "processes"]})
    assert {"keys can be neither read nor made", "no user namespace can be made"} <= set(broken)
