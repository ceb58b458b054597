"""A packed folder: the same bytes for the same folder, the same folder out of the bytes, and none where a bit of them
is another one. The compiled runtime reads what the packer writes."""

from __future__ import annotations

import os
import py_compile
import random
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_portable.errors import StepError
from py_portable.formats import runtime
from py_portable.formats.runtime import packer

SWITCH = "PY_PORTABLE_ONEFILE"
OWN_FAILURE = 125
PROGRAM = "#!/bin/sh\necho started\n"


@pytest.fixture(scope="session")
def program() -> bytes:
    return runtime.runtime()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that files stand in several of them."""
    monkeypatch.setattr(packer, "CHUNK_BYTES", 1000)


def tree(folder: Path, files: Mapping[str, bytes] | None = None) -> Path:
    for name, data in {"start": PROGRAM.encode(), **(files or {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "start").chmod(0o755)
    return folder


def packed(folder: Path, out: Path, program: bytes) -> Path:
    packer.pack(folder, out, name="app", program="start", runtime=program)
    return out


def run(file: Path, cache: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    cache.mkdir(mode=0o700, exist_ok=True)
    environ = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache), **variables}
    return subprocess.run([file], env=environ, capture_output=True, text=True, errors="replace", timeout=60)


def extract(file: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return run(file, out.parent / "cache", **{SWITCH: f"extract={out}"})


def shown(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every path with its mode, and its bytes or what it leads to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        body = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[path.relative_to(folder).as_posix()] = (mode, body)
    return found


def test_the_same_folder_gives_the_same_bytes_whoever_packs_it_and_when(tmp_path: Path, program: bytes) -> None:
    files = {f"lib/{name}.py": name.encode() * 700 for name in "abcdefgh"}
    one = tree(tmp_path / "one", files)
    (one / "lib" / "link.py").symlink_to("a.py")
    (one / "empty").mkdir()
    mask = os.umask(0o077)
    try:
        other = tree(tmp_path / "elsewhere" / "other", dict(reversed(files.items())))
        (other / "empty").mkdir()
        (other / "lib" / "link.py").symlink_to("a.py")
    finally:
        os.umask(mask)
    for path in other.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(stat.S_IMODE((one / path.relative_to(other)).stat().st_mode))
    first, second = (packed(folder, folder.with_suffix(".bin"), program) for folder in (one, other))
    assert first.read_bytes() == second.read_bytes()
    assert stat.S_IMODE(first.stat().st_mode) == 0o755
    # Modes and links are in the key.
    (other / "lib" / "a.py").chmod(0o755)
    assert packed(other, tmp_path / "third", program).read_bytes() != first.read_bytes()


def fill(folder: Path, files: Mapping[Sequence[str], bytes]) -> None:
    """Write those whose names fit the ones before them; some are there more than once over, with several modes."""
    for number, (parts, data) in enumerate(files.items()):
        path = folder.joinpath(*parts)
        if any(parent.is_file() for parent in path.parents) or path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data * (1 + number % 3))
        path.chmod((0o644, 0o755, 0o444, 0o600)[number % 4])


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..", "start") and len(name.encode()) < 200
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=4).map(tuple), st.binary(max_size=5000), max_size=12))
def test_what_is_packed_comes_out(
    tmp_path_factory: pytest.TempPathFactory, program: bytes, files: Mapping[Sequence[str], bytes]
) -> None:
    folder = tmp_path_factory.mktemp("packed")
    source = tree(folder / "source")
    fill(source, files)
    (source / "link of \N{SNOWMAN}").symlink_to("start")
    file = packed(source, folder / "file", program)
    done = extract(file, folder / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert shown(folder / "out") == shown(source)
    shutil.rmtree(folder)


def test_nothing_that_others_may_write_comes_out(tmp_path: Path, program: bytes) -> None:
    source = tree(tmp_path / "source", {"lib/a": b"a", "lib/secret": b"s"})
    (source / "lib" / "a").chmod(0o6777)
    (source / "lib").chmod(0o1777)
    (source / "lib" / "secret").chmod(0)
    packed(source, tmp_path / "file", program)
    mask = os.umask(0)
    try:
        extract(tmp_path / "file", tmp_path / "out")
    finally:
        os.umask(mask)
    modes = {path: oct(stat.S_IMODE(mode)) for path, (mode, _) in shown(tmp_path / "out").items()}
    assert modes == {"lib": "0o755", "lib/a": "0o755", "lib/secret": "0o400", "start": "0o755"}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: os.mkfifo(folder / "pipe"), "neither a file nor a folder nor a link"),
        (lambda folder: (folder / "out").symlink_to("../x"), "a link leads out of the folder"),
        (lambda folder: (folder / "out").symlink_to("/etc/passwd"), "a link leads out of the folder"),
        (lambda folder: (folder / "start").chmod(0o644), "start is no program in the folder"),
        (lambda folder: (folder / "start").unlink(), "start is no program in the folder"),
    ],
)
def test_what_cannot_be_packed_is_refused(tmp_path: Path, program: bytes, spoil: object, said: str) -> None:
    source = tree(tmp_path / "source")
    spoil(source)
    with pytest.raises(StepError, match=said):
        packed(source, tmp_path / "file", program)


def test_compiled_python_stays_valid_whatever_times_are_unpacked(tmp_path: Path, program: bytes) -> None:
    """Python compares the time of a source with the one in its .pyc file; unchecked and stale ones stay as they are."""
    source = tree(
        tmp_path / "source", {"m.py": b"x = 1\n", "p/m.py": b"x = 2\n", "stale.py": b"x = 3\n", "hash.py": b"x = 4\n"}
    )
    for name in ("m.py", "p/m.py", "stale.py"):
        py_compile.compile(str(source / name), doraise=True)
    py_compile.compile(str(source / "hash.py"), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    os.utime(source / "stale.py", (1, 1))
    file = packed(source, tmp_path / "file", program)
    assert extract(file, tmp_path / "out").returncode == 0
    times = {name: int((tmp_path / "out" / name).stat().st_mtime) for name in ("m.py", "p/m.py", "stale.py", "hash.py")}
    assert times["m.py"] == int((source / "m.py").stat().st_mtime) and times["p/m.py"] == int(
        (source / "p/m.py").stat().st_mtime
    )
    assert times["stale.py"] == times["hash.py"] == packer.COMMON_TIME
    before = shown(tmp_path / "out")
    subprocess.run([sys.executable, "-c", "import m, p.m, hash"], cwd=tmp_path / "out", check=True)
    assert shown(tmp_path / "out") == before


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 64, "a b"])
def test_a_name_that_is_no_name_of_a_folder_is_refused(tmp_path: Path, program: bytes, name: str) -> None:
    with pytest.raises(StepError, match="cannot be the name"):
        packer.pack(tree(tmp_path / "s"), tmp_path / "file", name=name, program="start", runtime=program)


def test_a_program_outside_of_the_folder_is_refused(tmp_path: Path, program: bytes) -> None:
    for path in ("../start", "/bin/sh", "x" * 600):
        with pytest.raises(StepError):
            packer.pack(tree(tmp_path / "s"), tmp_path / "file", name="app", program=path, runtime=program)


def test_a_runtime_without_a_place_for_the_seal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="this is no runtime"):
        packed(tree(tmp_path / "s"), tmp_path / "file", b"\x7fELF of somebody else")


def test_the_runtime_alone_says_that_nothing_is_in_it(tmp_path: Path, program: bytes) -> None:
    (tmp_path / "alone").write_bytes(program)
    (tmp_path / "alone").chmod(0o755)
    done = run(tmp_path / "alone", tmp_path / "cache")
    assert (done.returncode, done.stderr) == (
        OWN_FAILURE,
        "onefile: this is the runtime alone, and nothing is packed into it\n",
    )


def refused(file: Path, cache: Path) -> None:
    """It never starts the app; and where it still runs at all, it says why and leaves nothing."""
    done = run(file, cache)
    assert "started" not in done.stdout
    assert done.returncode != 0
    if done.returncode == OWN_FAILURE:
        assert "Get the file again" in done.stderr or "nothing is packed" in done.stderr
    assert not list(cache.glob("**/tree/*"))


def all_are_refused(body: bytes, folder: Path, dice: random.Random, changed: Sequence[int], cut: Sequence[int]) -> None:
    """A file with one bit changed at each of these places, one cut at each of those, and one with a byte more."""
    bodies = [body[:at] + bytes([body[at] ^ (1 << dice.randrange(8))]) + body[at + 1 :] for at in changed]
    bodies += [body[:size] for size in cut]
    for number, bad in enumerate([*bodies, body + b"x"]):
        file = folder / f"bad{number}"
        file.write_bytes(bad)
        file.chmod(0o755)
        refused(file, folder / "cache-of-bad")


def test_a_file_that_was_cut_or_changed_anywhere_is_refused(tmp_path: Path, program: bytes) -> None:
    source = tree(tmp_path / "source", {f"f{i}": random.Random(i).randbytes(3000) for i in range(8)})
    body = packed(source, tmp_path / "good", program).read_bytes()
    assert run(tmp_path / "good", tmp_path / "cache-good").stdout == "started\n"
    dice = random.Random(14)
    # Of the runtime, bytes that decide how it is loaded or whether it gets so far may also end it at once.
    behind = len(program)
    changed = [behind, behind + 3, len(body) - 1, *dice.sample(range(behind, len(body)), 25)]
    cut = [len(body) - 1, behind, behind + 10, *dice.sample(range(behind, len(body)), 10)]
    all_are_refused(body, tmp_path, dice, changed, cut)


def test_a_changed_runtime_is_refused_too(tmp_path: Path, program: bytes) -> None:
    """In the text of a message: it runs as before, and yet it is not what was packed."""
    body = packed(tree(tmp_path / "source"), tmp_path / "good", program).read_bytes()
    (tmp_path / "bad").write_bytes(body.replace(b"name: %s\nkey", b"Name: %s\nkey"))
    (tmp_path / "bad").chmod(0o755)
    assert (tmp_path / "bad").read_bytes() != body
    refused(tmp_path / "bad", tmp_path / "cache")


def by_hand(out: Path, program: bytes, raw: bytes, chunks: Sequence[packer.Chunk] = (), size: int = 0) -> Path:
    """A file with any index, sealed as the packer would."""
    entries = [packer.Item(b"x", stat.S_IFREG | 0o644, size)]
    packer.write(out, program, raw, chunks, entries, name="app", program="start")
    return out


def entry(path: bytes, mode: int = stat.S_IFREG | 0o644, size: int = 0, target: bytes | None = None) -> packer.Item:
    return packer.Item(path, mode, size, target=target or b"")


DIR, LINK = stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777


@pytest.mark.parametrize(
    "entries",
    [
        [entry(b"../out")],
        [entry(b"/tmp/out")],
        [entry(b"a//b")],
        [entry(b"./a")],
        [entry(b"a/")],
        [entry(b"a/..", DIR)],
        [entry(b"")],
        [entry(b"n" * 300)],
        [entry(b"no/folder")],
        [entry(b"a"), entry(b"a")],
        [entry(b"a", DIR), entry(b"a", DIR)],
        [entry(b"a", LINK, target=b"/etc"), entry(b"a/passwd")],
        [entry(b"a", LINK, target=b"..")],
        [entry(b"a", DIR), entry(b"a/b", LINK, target=b"../../x")],
        [entry(b"a", LINK, target=b"")],
        [entry(b"a", stat.S_IFIFO | 0o644)],
        [entry(b"a", stat.S_IFCHR | 0o644)],
        [entry(b"a", stat.S_IFREG | 0o4755)],
        [entry(b"a", stat.S_IFREG | 0o666)],
        [entry(b"a", stat.S_IFDIR | 0o777)],
        [entry(b"a", size=1)],
        [entry(b"a", size=1 << 63)],
        [entry(b"a", size=(1 << 64) - 1), entry(b"b", size=1)],
    ],
)
def test_an_index_made_by_hand_gets_nowhere(tmp_path: Path, program: bytes, entries: Sequence[packer.Item]) -> None:
    head = struct.pack("<IIIIQ", len(entries), 0, 1000, 0, 0)
    raw = head + packer.index(entries, [])[len(head) :] if sum(one.size for one in entries) < 1 << 64 else b""
    if not raw:
        raw = head + b"".join(struct.pack("<HIQ", one.mode, one.time, one.size) + one.path + b"\0" for one in entries)
    file = by_hand(tmp_path / "file", program, raw)
    done = extract(file, tmp_path / "in" / "out") if (tmp_path / "in").mkdir() is None else None
    assert done and done.returncode == OWN_FAILURE and "is damaged" in done.stderr, done
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["cache"]
    assert not (tmp_path / "out").exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_index_makes_the_runtime_fall_over(
    tmp_path_factory: pytest.TempPathFactory, program: bytes, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    chunks = [packer._chunk(b"x" * 1000), packer._chunk(b"y" * 500)]
    entries = [entry(b"a", DIR), entry(b"a/b", size=1200), entry(b"c", size=300), entry(b"d", LINK, target=b"a/b")]
    raw = bytearray(packer.index(entries, chunks))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["bit", "number", "cut", "double"]))
        if kind == "bit":
            raw[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "number":
            raw[at : at + 4] = data.draw(st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\1\0\0\0"]))
        elif kind == "cut":
            del raw[at + 1 :]
        else:
            raw[at:at] = raw[at : at + 40]
    file = by_hand(folder / "file", program, bytes(raw), chunks, size=1500)
    done = extract(file, folder / "out")
    assert done.returncode in (0, OWN_FAILURE), (done, bytes(raw))
    assert sorted(path.name for path in folder.iterdir()) == [
        "cache",
        "file",
        *(["out"] if done.returncode == 0 else []),
    ]
    shutil.rmtree(folder)
