"""A onefile, and an AppImage, survives what a machine does to it: foreign folders, full disks, kills, other users. Real uids, real mounts.

Each start is in a mount name space of its own, with its own /tmp, /var/tmp and /dev/shm, so that what lies in those of
this machine does not count, and nothing is left there.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from py_portable.formats import runtime
from py_portable.formats.runtime import packer, squash_packer, squashfs
from tests.integration.test_elf import needs

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become other users and to mount"),
    needs("musl-gcc", "setpriv", "unshare", "chroot"),
]

ME, OTHER = 20701, 20702
SWITCH = "PY_PORTABLE_ONEFILE"
OWN_FAILURE = 125
TMP_FOLDERS = ("/var/tmp", "/tmp", "/dev/shm")
OPEN = "tmpfs mode=1777"
PACKERS = {"onefile": packer.pack, "appimage": squash_packer.pack}
NOEXEC = "tmpfs mode=1777,noexec"


@dataclass
class World:
    """What a start finds. `room` is open to everybody; the home of ME lies in it."""

    room: Path
    file: Path
    payload: str
    home: Path = field(init=False)
    mounts: dict[str, str] = field(default_factory=lambda: dict.fromkeys(TMP_FOLDERS, OPEN))
    """Where something is mounted, and `tmpfs OPTIONS`, `shared FOLDER` or `read-only FOLDER`."""
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.room / "home"
        self.folder(self.home)
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(self.home)}

    def folder(self, path: Path, owner: int = ME, mode: int = 0o700) -> Path:
        path.mkdir()
        os.chown(path, owner, owner)
        path.chmod(mode)
        return path

    @property
    def cache(self) -> Path:
        """Where its own files are, when nothing is wrong."""
        return self.home / ".cache" / "py-portable-onefile" / "app"

    def trees(self, cache: Path | None = None) -> list[Path]:
        return sorted((cache or self.cache).glob("*/tree"))

    def lay(self) -> Path:
        """The cache with the tree in it."""
        assert self.start().returncode == 0
        (tree,) = self.trees()
        return tree

    def words(self, *arguments: str, uid: int = ME, mask: int = 0o022, file: Path | None = None) -> list[str]:
        lines = ["set -e"]
        for target, what in self.mounts.items():
            kind, _, options = what.partition(" ")
            if kind in ("shared", "read-only"):
                lines.append(f"mount --bind '{options}' '{target}'")
            if kind == "read-only":
                lines.append(f"mount -o remount,bind,ro '{target}'")
            elif kind != "shared":
                lines.append(f"mount -t {kind} -o {options} none '{target}'")
        lines += [f"umask {mask:03o}", 'exec "$@"']
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
        return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "sh", *user, str(file or self.file), *arguments]

    def start(
        self, *arguments: str, uid: int = ME, mask: int = 0o022, file: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        words = self.words(*arguments, uid=uid, mask=mask, file=file)
        return subprocess.run(
            words, env={**self.environ, **variables}, capture_output=True, text=True, timeout=60, cwd=self.room
        )

    def started(self, *arguments: str, **options: object) -> str:
        """stdout of a start that has to succeed without a word."""
        done = self.start(*arguments, **options)  # type: ignore[arg-type]
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def shell(self, script: str, *, uid: int = ME, **variables: str) -> subprocess.CompletedProcess[str]:
        """A script instead of the file, which is $APP."""
        words = self.words("-c", script, uid=uid, file=Path("/bin/sh"))
        environ = {**self.environ, "APP": str(self.file), **variables}
        return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, cwd=self.room)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app") / "tree"
    (folder / "lib" / "deep").mkdir(parents=True)
    source = Path(__file__).with_name("onefile_app.c")
    subprocess.run(["musl-gcc", "-static", "-Os", "-s", "-o", folder / "app", source], check=True)
    for number in range(60):
        (folder / "lib" / f"m{number}.bin").write_bytes(random.Random(number).randbytes(100_000))
    (folder / "lib" / "deep" / "blank ' \" ü.txt").write_text("text")
    (folder / "lib" / "link").symlink_to("m1.bin")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="module", params=PACKERS)
def payload(request: pytest.FixtureRequest) -> str:
    """What is behind the runtime."""
    return str(request.param)


@pytest.fixture(scope="module")
def files(app: Path, payload: str) -> Iterator[Path]:
    """A folder that every user may read, with the packed file."""
    with tempfile.TemporaryDirectory(dir="/opt" if Path("/opt").is_dir() else "/") as name:
        Path(name).chmod(0o755)
        pack(app, Path(name) / "file", payload)
        yield Path(name)


def pack(folder: Path, out: Path, payload: str, program: str = "app") -> Path:
    """In several chunks, and quickly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packer, "LEVEL", 1)
        patch.setattr(squashfs, "ZSTD_LEVEL", 1)
        patch.setattr(squash_packer, "BLOCK_BYTES", 1 << 17)
        for module in (packer, squash_packer):
            patch.setattr(module, "CHUNK_BYTES", 1 << 20)
        PACKERS[payload](folder, out, name="app", program=program, runtime=runtime.runtime())
    return out


@pytest.fixture
def world(files: Path, payload: str) -> Iterator[World]:
    with tempfile.TemporaryDirectory(dir=files) as name:
        room = Path(name)
        room.chmod(0o755)
        yield World(room, files / "file", payload)


def version(app: Path, world: World, number: int) -> Path:
    """Another version of the app."""
    folder = world.room / f"source{number}"
    shutil.copytree(app, folder, symlinks=True)
    (folder / "version").write_text(str(number))
    return pack(folder, world.room / f"file{number}", world.payload)


def everything(folder: Path) -> list[tuple[str, int, int, int]]:
    return sorted((str(p), p.lstat().st_mode, p.lstat().st_uid, p.lstat().st_mtime_ns) for p in folder.rglob("*"))


# What the app gets


def test_the_app_gets_its_words_its_name_and_nothing_else(world: World) -> None:
    for _ in range(2):
        out = world.shell('"$APP" --help "" "a b"; echo $$')
        argv, parent, mask, shell = out.stdout.splitlines()
        assert argv == f"argv <{world.file}> <--help> <> <a b>"
        # No process stays between them.
        assert parent == f"parent {shell}"
        assert mask == "umask 022"
    # argv[0] is what its user called it by.
    (world.room / "link").symlink_to(world.file)
    assert world.shell("cd .. && PATH=$OLDPWD:$PATH && link x").stdout.startswith("argv <link> <x>")


def test_the_environment_is_the_one_of_its_user(world: World) -> None:
    variables = {"LD_LIBRARY_PATH": "/x", "PYTHONPATH": "/y", "TMPDIR": "/z", "ODD": "a\tb"}
    for environ in ({}, variables):
        for _ in range(2):
            out = world.started("environment", **environ, **{SWITCH: ""})
            # PWD is of the shell that mounts.
            told = [line for line in out.splitlines() if not line.startswith("PWD=")]
            (tree,) = world.trees()
            own = {"APPDIR": tree, "APPIMAGE": world.file, "ARGV0": world.file, "OWD": world.room}
            added = own if world.payload == "appimage" else {}
            assert sorted(told) == sorted(f"{k}={v}" for k, v in {**world.environ, **environ, **added}.items())


def test_no_file_stays_open(world: World) -> None:
    for _ in range(2):
        assert world.started("files").split() == ["0", "1", "2"]
    for closed, left in (("0<&-", "1 2"), ("2>&-", "0 1"), ("0<&- 2>&-", "1")):
        for _ in range(2):
            shutil.rmtree(world.home / ".cache", ignore_errors=True)
            out = world.shell(f'"$APP" files {closed}')
            # What sh itself leaves open is not counted: /proc/self/fd is listed by the app.
            assert (out.returncode, " ".join(out.stdout.split())) == (0, left)


@pytest.mark.parametrize("status", [0, 1, 42, 125, 255])
def test_the_exit_status_is_the_apps(world: World, status: int) -> None:
    assert [world.start("exit", str(status)).returncode for _ in range(2)] == [status, status]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_is_the_apps(world: World, number: int) -> None:
    assert [world.start("signal", str(number)).returncode for _ in range(2)] == [-number, -number]


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_modes_do_not_depend_on_the_umask(world: World, app: Path, mask: int) -> None:
    for _ in range(2):
        assert f"umask {mask:03o}" in world.started(mask=mask)
    (tree,) = world.trees()
    for path in app.rglob("*"):
        mode = (tree / path.relative_to(app)).lstat().st_mode
        assert mode == path.lstat().st_mode, path
    for path in (world.home / ".cache", *list((world.home / ".cache").rglob("*"))):
        assert path.is_symlink() or path.is_relative_to(tree) or not path.stat().st_mode & 0o077, path


@pytest.mark.parametrize("name", ["a b", "it's", 'say "x"', "größe ☃", "$HOME;`x`", "-n", "new\nline"])
def test_any_character_in_a_path(world: World, name: str) -> None:
    place = world.folder(world.room / name)
    shutil.copy2(world.file, place / name)
    for _ in range(2):
        assert "argv" in world.started(file=place / name, XDG_CACHE_HOME=str(place))
    assert len(world.trees(place / "py-portable-onefile" / "app")) == 1


def test_an_app_whose_library_is_loaded_by_ctypes(world: World) -> None:
    folder = world.room / "source"
    folder.mkdir()
    (folder / "twice.c").write_text("int twice(int x) { return 2 * x; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "twice.so", folder / "twice.c"], check=True)
    (folder / "app.py").write_text(
        "import ctypes, os, sys\n"
        "lib = ctypes.CDLL(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'twice.so'))\n"
        "print(lib.twice(21))\n"
    )
    (folder / "app").write_text('#!/bin/sh\nexec /usr/bin/python3 -I "${0%/*}/app.py"\n')
    (folder / "app").chmod(0o755)
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no /usr/bin/python3")
    file = pack(folder, world.room / "file", world.payload)
    assert [world.started(file=file) for _ in range(2)] == ["42\n", "42\n"]


def test_nothing_is_left_behind(world: World) -> None:
    """No process and no open stdout: a command substitution returns with the app."""
    for _ in range(2):
        begin = time.monotonic()
        done = world.shell('x=$("$APP" exit 7); echo "$? <$x>"')
        assert done.stdout == "7 <>\n" and time.monotonic() - begin < 5
    assert [path.name for path in world.cache.iterdir() if path.name != "lock"] == [world.trees()[0].parent.name]
    assert not of_user(ME)


def of_user(uid: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == uid:
                found.append((path / "cmdline").read_text())
    return found


# Folders of others


def test_a_cache_that_is_a_link_of_ones_own_is_followed(world: World) -> None:
    real = world.folder(world.room / "scratch")
    (world.home / ".cache").symlink_to(real)
    world.started()
    assert len(world.trees(real / "py-portable-onefile" / "app")) == 1


def untouched_and_elsewhere(world: World, guarded: Path, **variables: str) -> None:
    """Two starts leave the folder as it was, and unpack to /var/tmp, once."""
    shared = world.folder(world.room / "var-tmp", 0, 0o1777)
    world.mounts["/var/tmp"] = f"shared {shared}"
    before = everything(guarded)
    marks = []
    for _ in range(2):
        assert "argv" in world.started(**variables)
        marks.append(everything(shared))
    assert everything(guarded) == before
    assert marks[0] == marks[1]
    (tree,) = shared.glob("*/app/*/tree")
    assert tree.stat().st_uid == ME and stat.S_IMODE(tree.parents[2].stat().st_mode) == 0o700


def test_a_cache_that_leads_to_somebody_else_is_not_used(world: World) -> None:
    foreign = world.folder(world.room / "foreign", OTHER, 0o777)
    (world.home / ".cache").symlink_to(foreign)
    untouched_and_elsewhere(world, foreign)


def test_a_cache_below_a_link_to_somebody_else_is_not_used(world: World) -> None:
    foreign = world.folder(world.room / "foreign", OTHER, 0o755)
    world.folder(foreign / "mine")
    (world.home / "way").symlink_to(foreign)
    untouched_and_elsewhere(world, foreign, XDG_CACHE_HOME=f"{world.home}/way/mine", HOME="/nonexistent")


@pytest.mark.parametrize("owner", [ME, OTHER])
def test_the_own_folder_must_not_be_a_link(world: World, owner: int) -> None:
    cache = world.folder(world.home / ".cache")
    target = world.folder(world.room / "target", owner, 0o777)
    (cache / "py-portable-onefile").symlink_to(target)
    untouched_and_elsewhere(world, target)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720])
def test_a_cache_that_others_may_write_to_is_not_used(world: World, mode: int) -> None:
    cache = world.folder(world.home / ".cache", mode=mode)
    untouched_and_elsewhere(world, cache)


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_an_own_folder_that_others_may_write_to_is_not_used(world: World, mode: int) -> None:
    cache = world.folder(world.home / ".cache")
    world.folder(cache / "py-portable-onefile", mode=mode)
    untouched_and_elsewhere(world, cache)


def test_a_parent_that_others_may_write_to_is_not_used(world: World) -> None:
    parent = world.folder(world.room / "parent", ME, 0o777)
    world.folder(parent / "cache")
    untouched_and_elsewhere(world, parent, XDG_CACHE_HOME=str(parent / "cache"), HOME="/nonexistent")


def test_a_cache_of_somebody_else_is_not_used(world: World) -> None:
    cache = world.folder(world.home / ".cache", OTHER, 0o777)
    untouched_and_elsewhere(world, cache)


def test_a_name_that_somebody_took_in_a_shared_folder(world: World) -> None:
    """What he laid there is neither used nor changed; the folder with another name is found again."""
    shared = world.folder(world.room / "shared", 0, 0o1777)
    taken = world.folder(shared / f"py-portable-onefile-{ME}", OTHER, 0o777)
    (taken / "app").mkdir(mode=0o777)
    before = everything(taken)
    for _ in range(3):
        assert "argv" in world.started(HOME="/nonexistent", TMPDIR=str(shared))
    assert everything(taken) == before
    (other,) = (path for path in shared.iterdir() if path != taken)
    assert other.name.startswith(f"py-portable-onefile-{ME}.") and other.stat().st_uid == ME


def prepare(kind: str, path: Path, world: World) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    elif kind == "hard link":
        os.link(world.room / "precious", path)
    elif kind == "link":
        path.symlink_to(world.room / "precious")
    elif kind == "folder":
        path.mkdir(mode=0o700)
    os.chown(path, ME, ME, follow_symlinks=False)


@pytest.mark.parametrize("kind", ["fifo", "device", "hard link", "link", "folder"])
@pytest.mark.parametrize(
    "which", ["lock", "KEY", "KEY/marker", "KEY/tree", "KEY/tree/app", "new-KEY", "KEY/tree/lib/m1.bin"]
)
def test_whatever_lies_in_the_way(world: World, kind: str, which: str) -> None:
    """In the user's own cache: no start hangs, fails or writes through it."""
    tree = world.lay()
    (world.room / "precious").write_text("precious")
    os.chown(world.room / "precious", ME, ME)
    (world.room / "precious").chmod(0o600)
    prepare(kind, world.cache / which.replace("KEY", tree.parent.name), world)
    if which == "lock":
        shutil.rmtree(tree.parent)
    for _ in range(2):
        assert "argv" in world.started()
    assert (world.room / "precious").read_text() == "precious"
    if which != "lock":
        assert [path.name for path in world.trees()] == ["tree"] and (tree / "app").is_file()


@pytest.mark.parametrize(
    "value", ["relative", ".", "..", "", "./x", "{home}/.cache/../.cache", "{room}/nothing/../home/.cache"]
)
@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "TMPDIR"])
def test_odd_values_of_variables(world: World, variable: str, value: str) -> None:
    value = value.format(home=world.home, room=world.room)
    world.folder(world.home / ".cache")
    before = sorted(world.room.iterdir())
    for _ in range(2):
        assert "argv" in world.started(**{variable: value})
    assert len(world.trees()) == 1
    assert sorted(world.room.iterdir()) == before


def test_sudo_that_keeps_home_leaves_nothing_of_root_there(world: World) -> None:
    world.started()
    before = everything(world.home)
    assert "argv" in world.started(uid=0)
    assert everything(world.home) == before
    shutil.rmtree(world.home / ".cache")
    assert "argv" in world.started(uid=0)
    assert not list(world.home.iterdir())
    # And the user can start it afterwards.
    world.started()


# Where nothing can be written, or nothing started


def test_a_home_that_is_read_only(world: World) -> None:
    world.mounts[str(world.home)] = f"read-only {world.home}"
    assert "argv" in world.started()
    assert not list(world.home.iterdir())


def test_a_cache_that_was_filled_before_the_home_became_read_only(world: World) -> None:
    world.started()
    world.mounts = {str(world.home): f"read-only {world.home}", **dict.fromkeys(TMP_FOLDERS, NOEXEC)}
    assert "argv" in world.started()


@pytest.mark.parametrize("home", [None, "", "/", "/nonexistent", "home"])
def test_no_home(world: World, home: str | None) -> None:
    del world.environ["HOME"]
    assert "argv" in world.started(**({} if home is None else {"HOME": home}))
    assert not list(world.home.iterdir())


def test_a_cache_that_starts_nothing(world: World) -> None:
    world.folder(world.home / ".cache")
    world.mounts[str(world.home / ".cache")] = f"tmpfs mode=0700,uid={ME},noexec"
    world.mounts["/tmp"] = NOEXEC
    assert "argv" in world.started()


def test_no_place_at_all_is_one_sentence_that_says_what_to_set(world: World) -> None:
    world.mounts = {str(world.home): f"read-only {world.home}", **dict.fromkeys(TMP_FOLDERS, NOEXEC)}
    done = world.start()
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (OWN_FAILURE, "", 1)
    assert done.stderr.startswith("app: there is no folder to unpack it to: set XDG_CACHE_HOME to a folder of your own")
    assert "/.cache is read-only" in done.stderr or "/.cache does not exist" in done.stderr
    assert done.stderr.count("allows no programs to be started") == 3
    # And what it says helps.
    place = world.folder(world.room / "place")
    assert "argv" in world.started(XDG_CACHE_HOME=str(place))


def test_one_single_file_is_started_from_memory(world: World, app: Path) -> None:
    folder = world.room / "source"
    folder.mkdir()
    shutil.copy2(app / "app", folder / "app")
    file = pack(folder, world.room / "file", world.payload)
    world.mounts = {str(world.home): f"read-only {world.home}", **dict.fromkeys(TMP_FOLDERS, NOEXEC)}
    assert world.started("x", file=file).startswith(f"argv <{file}> <x>")
    assert world.started("files", file=file).split() == ["0", "1", "2"]
    assert world.start("exit", "9", file=file).returncode == 9


def test_a_disk_that_is_full(world: World) -> None:
    """It tells before it fills it; what it had begun is gone."""
    cache = world.folder(world.home / ".cache")
    world.mounts = {str(cache): f"tmpfs mode=0700,uid={ME},size=4m", **dict.fromkeys(TMP_FOLDERS, NOEXEC)}
    done = world.start()
    assert done.returncode == OWN_FAILURE and "MB of room" in done.stderr and done.stderr.count("\n") == 1
    # Another place that has room is taken.
    world.mounts["/var/tmp"] = OPEN
    assert "argv" in world.started()


@needs("strace")
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_an_error_of_the_disk_at_every_write(world: World, app: Path, error: str) -> None:
    """At the first, second, ... call of each kind: the app starts from another place, or one sentence says why not.
    Never is anything half unpacked taken for whole, nor left."""
    small = world.room / "small"
    (small / "lib").mkdir(parents=True)
    shutil.copy2(app / "app", small / "app")
    (small / "lib" / "a").write_text("a" * 5000)
    (small / "lib" / "b").symlink_to("a")
    file, tried = pack(small, world.room / "file", world.payload), 0
    for call in ("mkdirat", "pwrite64", "write", "symlinkat", "utimensat", "syncfs", "renameat", "fsync"):
        for number in range(1, 12):
            shutil.rmtree(world.home / ".cache", ignore_errors=True)
            script = "strace -f -qq -o /dev/shm/trace -e trace=$CALL -e inject=$CALL:error=$ERROR:when=$NUMBER"
            done = world.shell(
                f'{script} "$APP"; status=$?; cat /dev/shm/trace >&2; exit $status',
                CALL=call, ERROR=error, NUMBER=str(number), APP=str(file),
            )  # fmt: skip
            trace = done.stderr
            injected = "(INJECTED)" in trace
            tried += injected
            assert "argv" in done.stdout or done.returncode == OWN_FAILURE, (call, number, done)
            left = [path.name for path in world.cache.glob("*") if path.name != "lock"]
            assert not [name for name in left if name.startswith("new-")] and len(left) <= 1, (call, number, left)
            # Whatever is there now is whole.
            assert "argv" in world.started(file=file)
            for tree in world.trees():
                assert (tree / "lib" / "a").read_text() == "a" * 5000 and (tree / "lib" / "b").is_symlink()
            if not injected:
                break
    assert tried > 15


# Several at once, and kills


def test_sixteen_first_starts_at_once(world: World) -> None:
    words = world.words("exit", "3")
    begun = [subprocess.Popen(words, env=world.environ, stderr=subprocess.PIPE, text=True) for _ in range(16)]
    assert [(child.wait(60), child.stderr.read()) for child in begun] == [(3, "")] * 16  # type: ignore[union-attr]
    assert len(world.trees()) == 1


def pids_of(uid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == uid and b"file" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_the_winner_of_sixteen_is_killed_again_and_again(world: World, seed: int) -> None:
    dice = random.Random(seed)
    words = world.words("exit", "3")
    begun = [
        subprocess.Popen(words, env=world.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(16)
    ]
    for _ in range(8):
        time.sleep(dice.uniform(0, 0.05))
        holder = lock_holder(world.cache / "lock")
        if holder:
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder, signal.SIGKILL)
    ended = [child.wait(60) for child in begun]
    assert set(ended) <= {3, -signal.SIGKILL} and ended.count(3) >= 8
    world.started()
    assert sorted(path.name for path in world.cache.iterdir()) == sorted(["lock", world.trees()[0].parent.name])
    assert "as it was unpacked" in world.started(**{SWITCH: "verify"})
    assert not of_user(ME)


def lock_holder(lock: Path) -> int | None:
    """Who has the lock, as the kernel tells."""
    with contextlib.suppress(OSError):
        inode = lock.stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "->" not in words and words[5].endswith(f":{inode}"):
                return int(words[4])
    return None


def test_a_first_start_that_was_killed_leaves_nothing_after_the_next(world: World) -> None:
    for wait in (0.005, 0.02, 0.04, 0.06):
        child = subprocess.Popen(world.words("exit", "3"), env=world.environ)
        end = time.monotonic() + 60
        while not list(world.cache.glob("new-*/tree/*")) and time.monotonic() < end and child.poll() is None:
            time.sleep(0.001)
        time.sleep(wait)
        child.kill()
        child.wait()
        world.started()
        assert sorted(path.name for path in world.cache.iterdir()) == sorted(["lock", world.trees()[0].parent.name])
        shutil.rmtree(world.cache)


# Versions


def test_upgrade_and_downgrade(world: World, app: Path) -> None:
    first, second = (version(app, world, number) for number in (1, 2))
    for file in (first, second, first, second):
        world.started(file=file)
    assert {(tree / "version").read_text() for tree in world.trees()} == {"1", "2"}


def test_prune_removes_what_no_start_of_it_uses(world: World, app: Path) -> None:
    first, second = (version(app, world, number) for number in (1, 2))
    world.started(file=first)
    world.started(file=second)
    running = subprocess.Popen(world.words("sleep", "60", file=first), env=world.environ, stdout=subprocess.PIPE)
    try:
        assert running.stdout and running.stdout.readline() == b"sleeps\n"
        assert "kept, it is in use" in world.started(file=second, **{SWITCH: "prune"})
        assert len(world.trees()) == 2
    finally:
        running.kill()
        running.wait()
    assert world.started(file=second, **{SWITCH: "prune"}).startswith("removed: ")
    assert [(tree / "version").read_text() for tree in world.trees()] == ["2"]
    world.started(file=first)


def test_prune_while_others_start(world: World, app: Path) -> None:
    """Each start works, whenever its version is removed."""
    first, second = (version(app, world, number) for number in (1, 2))
    starts = world.words("-c", 'for i in $(seq 60); do "$APP" exit 3; [ $? = 3 ] || exit 1; done', file=Path("/bin/sh"))
    prunes = world.words("-c", 'for i in $(seq 40); do "$APP" || exit 1; done', file=Path("/bin/sh"))
    begun = [subprocess.Popen(starts, env={**world.environ, "APP": str(first)}) for _ in range(2)]
    pruning = subprocess.Popen(
        prunes, env={**world.environ, "APP": str(second), SWITCH: "prune"}, stdout=subprocess.PIPE
    )
    told, _ = pruning.communicate(timeout=120)
    assert [child.wait(120) for child in (*begun, pruning)] == [0, 0, 0]
    assert b"removed" in told


# What was changed


def spoil(path: Path, how: str) -> None:
    if how == "deleted":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif how == "altered":
        body = path.read_bytes()
        path.write_bytes(bytes([body[0] ^ 1]) + body[1:])
    elif how == "replaced":
        body = path.read_bytes()
        path.unlink()
        path.write_bytes(body)
    elif how == "mode":
        path.chmod(0o600)


@pytest.mark.parametrize("how", ["deleted", "truncated", "altered", "replaced", "mode"])
@pytest.mark.parametrize("which", ["app", "lib/m7.bin", "lib/deep/blank ' \" ü.txt"])
def test_a_cached_file_that_was_changed_is_unpacked_again(world: World, app: Path, how: str, which: str) -> None:
    tree = world.lay()
    spoil(tree / which, how)
    assert "argv" in world.started()
    assert (tree / which).read_bytes() == (app / which).read_bytes()
    assert (tree / which).stat().st_mode == (app / which).stat().st_mode and (tree / which).stat().st_uid == ME


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "missing"])
def test_a_marker_that_was_not_written_whole_counts_for_nothing(world: World, damage: str) -> None:
    tree = world.lay()
    marker = tree.parent / "marker"
    body = marker.read_bytes()
    marker.unlink()
    if damage != "missing":
        marker.write_bytes({"empty": b"", "cut": body[:-20], "garbage": body[:8] + b"\xff" * 40}[damage])
        os.chown(marker, ME, ME)
    made = tree.stat().st_ctime_ns
    world.started()
    (fresh,) = world.trees()
    assert fresh.stat().st_ctime_ns != made and (fresh.parent / "marker").read_bytes() == body


def test_what_was_added_is_no_damage_and_looked_for_once(world: World) -> None:
    tree = world.lay()
    inode = tree.stat().st_ino
    (tree / "lib" / "__pycache__").mkdir()
    world.started()
    assert tree.stat().st_ino == inode and (tree / "lib" / "__pycache__").is_dir()
    before = everything(world.home)
    world.started()
    assert everything(world.home) == before


def test_of_a_large_tree_all_is_looked_at_once_a_day(world: World) -> None:
    folder = world.room / "many"
    folder.mkdir()
    (folder / "app").write_text("#!/bin/sh\necho argv\n")
    (folder / "app").chmod(0o755)
    for number in range(1000):
        (folder / f"f{number:04}").write_text(str(number))
    file = pack(folder, world.room / "file", world.payload)
    world.started(file=file)
    (tree,) = world.trees()
    spoil(tree / "f0999", "truncated")
    (tree / "f0999").write_text("")
    world.started(file=file)
    yesterday = time.time() - 25 * 3600
    os.utime(tree.parent / "marker", (yesterday, yesterday))
    world.started(file=file)
    assert (tree / "f0999").read_text() == "999"
    os.utime(tree.parent / "marker", (yesterday, yesterday))
    world.started(file=file)
    assert time.time() - (tree.parent / "marker").stat().st_mtime < 3600


def test_verify_finds_what_no_time_and_size_tells(world: World, app: Path) -> None:
    tree = world.lay()
    assert world.started(**{SWITCH: "verify"}).count("as it was") == 2
    when = (tree / "lib" / "m7.bin").stat().st_mtime
    spoil(tree / "lib" / "m7.bin", "altered")
    os.utime(tree / "lib" / "m7.bin", (when, when))
    done = world.start(**{SWITCH: "verify"})
    assert done.returncode == 1 and "lib/m7.bin" in done.stdout
    world.started()
    assert (tree / "lib" / "m7.bin").read_bytes() == (app / "lib" / "m7.bin").read_bytes()


@pytest.mark.parametrize("how", ["cut", "altered"])
def test_a_damaged_file_is_refused_at_its_first_start(world: World, how: str) -> None:
    body = world.file.read_bytes()
    bad = world.room / "bad"
    bad.write_bytes(body[: len(body) // 2] if how == "cut" else body[:-500] + bytes([body[-500] ^ 1]) + body[-499:])
    bad.chmod(0o755)
    done = world.start(file=bad)
    assert (done.returncode, done.stdout) == (OWN_FAILURE, "")
    assert f"{bad} is damaged" in done.stderr and "Get the file again" in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in world.cache.glob("*")] in ([], ["lock"])


# Switches, and other systems


def test_the_switches(world: World, app: Path) -> None:
    assert "all arguments" in world.started("--help", **{SWITCH: "help"}).lower()
    info = world.started(**{SWITCH: "info"})
    assert "name: app\n" in info and "starts: app\n" in info and "folder:" not in info
    world.started()
    assert f"folder: {world.trees()[0]}\n" in world.started(**{SWITCH: "info"})
    out = world.folder(world.room / "out") / "x y"
    world.started(**{SWITCH: f"extract={out}"})
    assert {p.relative_to(out) for p in out.rglob("*")} == {p.relative_to(app) for p in app.rglob("*")}
    again = world.start(**{SWITCH: f"extract={out}"})
    assert again.returncode == OWN_FAILURE and "cannot be made: File exists" in again.stderr
    odd = world.start(**{SWITCH: "extarct"})
    assert odd.returncode == OWN_FAILURE and "extarct" in odd.stderr and "extract=FOLDER" in odd.stderr


def test_in_a_name_space_where_other_users_have_no_number(world: World) -> None:
    """As in rootless containers: / belongs to nobody there."""
    words = world.words(file=Path("/usr/bin/unshare"))
    at = words.index("/usr/bin/unshare")
    words[at:] = ["unshare", "--user", f"--map-user={ME}", str(world.file)]
    for _ in range(2):
        done = subprocess.run(words, env=world.environ, capture_output=True, text=True)
        if "Operation not permitted" in done.stderr or "No space left" in done.stderr:
            pytest.skip("no user name spaces here")
        assert "argv" in done.stdout, done
    assert len(world.trees()) == 1


def test_a_setuid_file_is_refused(world: World) -> None:
    bad = world.room / "setuid"
    shutil.copy(world.file, bad)
    os.chown(bad, OTHER, OTHER)
    bad.chmod(0o6755)
    done = world.start(file=bad)
    assert done.returncode == OWN_FAILURE and "must not be setuid" in done.stderr


def test_without_proc(world: World) -> None:
    root = world.folder(world.room / "root", 0, 0o755)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    shutil.copy2(world.file, root / "file")
    words = [shutil.which("chroot"), f"--userspec={ME}:{ME}", str(root), "/file", "x"]
    for _ in range(2):
        done = subprocess.run(words, env={"HOME": "/nonexistent"}, capture_output=True, text=True)
        assert done.stdout.startswith("argv </file> <x>"), done
    assert len(list(root.glob("tmp/*/app/*/tree"))) == 1


def test_the_interpreter_of_a_script_that_is_not_there_is_named(world: World) -> None:
    folder = world.room / "source"
    folder.mkdir()
    (folder / "app").write_text("#!/nonexistent/python\n")
    (folder / "app").chmod(0o755)
    done = world.start(file=pack(folder, world.room / "file", world.payload))
    assert done.returncode == 127 and "lacks the interpreter or loader that it names" in done.stderr


def test_it_is_what_ran(world: World) -> None:
    """The tests above start the program that the kit ships, where it is of today's sources."""
    assert sys.platform == "linux" and runtime.prebuilt_runtime().compiled() is not None
