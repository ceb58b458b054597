"""A tree of foreign ids in the store of an ordinary user: hashed, verified, swept and collected under the prefix.

As root the test becomes an ordinary user with a range of ids, in a mount namespace of its own where /etc/passwd
and /etc/subuid know that user; the machine's own files are not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import py_portable
from py_portable.engines import ids

pytestmark = pytest.mark.integration

UID = 54321

BECOME = """
set -e
room=$1; python=$2; shift 2
mount --bind "$python" "$room/python"
for name in passwd group subuid subgid; do mount --bind "$room/$name" "/etc/$name"; done
exec setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all -- "$@"
"""

PROGRAM = r'''
import os, signal, subprocess, sys
from pathlib import Path
from py_portable.errors import StepError
from py_portable.store import Store, StoreError, manifest

PREFIX = ("unshare", "--user", "--map-root-user", "--map-users=auto", "--map-groups=auto", "--")
KEY, OTHER = "a" * 64, "b" * 64
FILL = """
umask 022
cd "$1"; mkdir -p root/etc root/home/me/.ssh
echo secret >root/etc/shadow; chmod 0600 root/etc/shadow; chown 42:42 root/etc/shadow
echo key >root/home/me/.ssh/id; chmod 0400 root/home/me/.ssh/id; chmod 0500 root/home/me/.ssh
chown -R 1000:1000 root/home/me; chmod 0700 root/home/me
mkfifo root/pipe; chown 65534 root/pipe
"""

def build(work):
    subprocess.run([*PREFIX, "sh", "-ec", FILL, "sh", str(work / "out")], check=True)
    return {}

def fail(work):
    build(work)
    raise StepError("no")

def die(work):
    build(work)
    os.kill(os.getpid(), signal.SIGKILL)

store = Store(Path(sys.argv[2]))
match sys.argv[1]:
    case "make":
        entry = store.make(KEY, build, prefix=PREFIX)
        assert entry.path.stat().st_uid == os.getuid()
        assert (entry.path / "root/etc/shadow").stat().st_uid not in (0, os.getuid())
        store.verify(entry)
        store.verify(store.get(KEY))
        try:
            manifest(entry.path)
        except PermissionError:
            print(entry.digest)
    case "fail":
        try:
            store.make(OTHER, fail, prefix=PREFIX)
        except StepError as problem:
            print(problem.what)
    case "die":
        store.make(OTHER, die, prefix=PREFIX)
    case "damage":
        entry = store.get(KEY)
        subprocess.run([*PREFIX, "sh", "-c", "echo x >$0/home/me/.ssh/id", str(entry.path / "root")], check=True)
        try:
            store.verify(entry)
        except StoreError as problem:
            print(problem.what)
    case "seen":
        print(store.get(KEY), len(list((store.root / "quarantine").iterdir())))
    case "gc":
        print(store.gc(keep_days=0))
'''


@pytest.fixture
def room() -> Iterator[Path]:
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        source = Path(py_portable.__file__).parent
        shutil.copytree(source, path / "py_portable", ignore=shutil.ignore_patterns("__pycache__"))
        (path / "program.py").write_text(PROGRAM)
        (path / "home").mkdir()
        (path / "python").mkdir()
        if os.geteuid() == 0:
            os.chown(path / "home", UID, UID)
        yield path


def words(room: Path) -> list[str]:
    """Python as an ordinary user with a range of ids."""
    if os.geteuid() != 0:
        if not ids.available():
            pytest.skip(f"no range of user ids: {ids.detect().reason}")
        return [sys.executable]
    if not ids.has_capability(ids.CAP_SYS_ADMIN) or not shutil.which("newuidmap"):
        pytest.skip("no range of user ids: needs newuidmap and the right to mount")
    (room / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\nme:x:{UID}:{UID}::{room}/home:/bin/sh\n")
    (room / "group").write_text(f"root:x:0:\nme:x:{UID}:\n")
    for name in ("subuid", "subgid"):
        (room / name).write_text("me:1000000:65536\n")
    script = BECOME.replace("{uid}", str(UID))
    # This very Python, shown where that user may look: it may be installed in a folder of root's.
    base = Path(sys.base_prefix)
    python = room / "python" / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    become = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
        str(room),
        str(base),
    ]
    return [*become, "env", f"LD_LIBRARY_PATH={room}/python/lib", str(python)]


def test_the_whole_life_of_a_tree_of_foreign_ids(room: Path) -> None:
    before = words(room)
    store = room / "home" / "store"

    def run(verb: str) -> subprocess.CompletedProcess[str]:
        argv = [*before, str(room / "program.py"), verb, str(store)]
        environment = {**os.environ, "PYTHONPATH": str(room), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}
        return subprocess.run(argv, capture_output=True, text=True, env=environment, cwd="/")

    def out(verb: str) -> str:
        done = run(verb)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    def leftovers() -> list[Path]:
        return list((store / "tmp").iterdir())

    made = out("make")
    assert made.startswith("sha256:")
    assert out("make") == made
    assert out("fail") == "no"
    assert leftovers() == []
    assert run("die").returncode in (-9, 137)
    assert len(leftovers()) == 2
    assert out("make") == made
    assert len(leftovers()) == 2, "what is there is found without looking at the leftovers"
    assert "root/home/me/.ssh/id: other contents" in out("damage")
    # Another run sees it at once, though the folder is closed to it, and moves it aside.
    seen = run("seen")
    assert seen.stdout == "None 1\n" and "is damaged: root/home/me/.ssh/id: other contents" in seen.stderr
    assert out("make") == made
    assert out("gc") == "1"
    assert leftovers() == []
    assert list((store / "objects").rglob("out")) == []
    assert list((store / "quarantine").iterdir()) == []
