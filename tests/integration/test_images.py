"""Real bootstraps through the machine's own mirror: as root, as an ordinary user, killed, drifted, refused."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import py_portable
from py_portable.engines import ids
from py_portable.errors import StepError
from py_portable.images import BootstrapSource, Image, ImageUnavailable, Request, find_release, releases, resolve
from py_portable.images.debian import apt
from py_portable.images.debian.bootstrap import bootstrap
from py_portable.images.debian.recipe import BootstrapSpec
from py_portable.store import Store, default_root
from tests.integration.conftest import bubblewrap

pytestmark = pytest.mark.integration

UID = 54322
NO_SUCH_IDENTITY = "sha256:" + "0" * 64
UNWANTED = re.compile(
    r"/(?:python[23][^/]*|libpython[^/]*|libpq[.-][^/]*|libcurl[^/]*|gcc(?:-[0-9]+)?|g\+\+|cc|c99|as|ld|clang|"
    r"tcc|ca-certificates[^/]*)$"
)


@pytest.fixture(scope="module")
def store() -> Store:
    """The one that all tests of a session share: images are made once."""
    return Store(default_root(os.environ))


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One with nothing in it, for what is added to an image: its base is made once for all of these tests."""
    return Store(tmp_path_factory.mktemp("apart") / "store")


def machines_hosts() -> set[str]:
    """Names of the servers that this machine's apt is configured with."""
    setup = apt.read(release.suite for release in releases().values())
    found = {mirror.uri.split("/")[2].rpartition("@")[2] for mirror in (setup.archive, setup.security) if mirror}
    return {host.partition(":")[0] for host in found if host}


@pytest.mark.parametrize("name", ["debian:11", "debian:12", "debian:13"])
def test_a_root_is_bare_and_tells_nothing_of_its_maker(name: str, store: Store) -> None:
    image = resolve(name, store=store)
    release = find_release(name)
    assert release is not None
    assert image.glibc == release.glibc and image.suite == release.suite
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", image.identity)
    assert all(digest and len(digest) == 64 for _, _, digest in image.packages)
    root = image.root
    assert f'VERSION_ID="{name.partition(":")[2]}"' in (root / "etc/os-release").read_text()
    present = [str(path.relative_to(root)) for path in walk(root)]
    programs = [
        p for p in present if UNWANTED.search(f"/{p}") and not p.startswith(("usr/share/doc/", "usr/share/gcc"))
    ]
    assert programs == []
    assert (root / "etc/hostname").read_text() == "cell\n"
    assert "nameserver" not in (root / "etc/resolv.conf").read_text()
    assert list((root / "etc/apt/sources.list.d").iterdir()) == []
    assert list((root / "dev").iterdir()) == list((root / "tmp").iterdir()) == []
    for gone in ("etc/machine-id", "etc/apt/apt.conf.d/99mmdebstrap", "etc/apt/apt.conf.d/99py-portable"):
        assert gone not in present
    assert [p for p in present if p.startswith(("var/log/", "run/py-portable"))] in ([], ["var/log/apt"])
    assert [p for p in present if p.startswith("var/lib/apt/lists/")] == [
        "var/lib/apt/lists/lock",
        "var/lib/apt/lists/partial",
    ]
    hosts = machines_hosts()
    for folder in ("etc", "var", "run", "root"):
        for path in walk(root / folder):
            if path.is_file() and not path.is_symlink():
                text = path.read_bytes()
                assert not [host for host in hosts if host.encode() in text], path
    for name in ("bin", "sbin", "lib"):
        assert (root / name).readlink() == Path("usr", name)


def walk(root: Path) -> list[Path]:
    return sorted(Path(folder) / name for folder, dirs, files in os.walk(root) for name in (*dirs, *files))


def mounts(word: str) -> list[str]:
    """Mount points of this machine that have the word in them."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(point for point in (line.split()[4] for line in lines) if word in point)


def half_made() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("py-portable-bootstrap-*"))


def test_killed_then_drifted_then_the_same_bits(store: Store, tmp_path: Path) -> None:
    made = resolve("debian:11", store=store)
    program = (
        "import sys; from pathlib import Path; from py_portable.images import resolve;"
        "from py_portable.store import Store; resolve('debian:11', store=Store(Path(sys.argv[1])))"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "store")]
    source = str(Path(py_portable.__file__).parent.parent)
    child = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": source})
    end = time.monotonic() + 60
    mine = f"py-portable-bootstrap-{child.pid}-"
    while not list(Path(tempfile.gettempdir()).glob(f"{mine}*/mmdebstrap.*/var/lib/dpkg/status")):
        assert child.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    time.sleep(2)
    assert tasks(mine) and mounts(mine) == []
    child.send_signal(signal.SIGKILL)
    child.wait()
    while tasks(mine):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert mounts(mine) == []
    assert [path for path in half_made() if path.name.startswith(mine)]

    other = Store(tmp_path / "store")
    again = resolve("debian:11", store=other, locked_identity=NO_SUCH_IDENTITY)
    assert not [path for path in half_made() if path.name.startswith(mine)]
    assert mounts(mine) == []
    assert again.drifted_from == NO_SUCH_IDENTITY
    assert again.identity == made.identity
    assert digest(other, again) == digest(store, made)
    assert resolve("debian:11", store=other, locked_identity=made.identity).drifted_from is None


def tasks(word: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def digest(store: Store, image: Image) -> str:
    assert image.key
    entry = store.get(image.key)
    assert entry is not None
    return entry.digest


BECOME = """
set -e
room=$1; python=$2; shift 2
mount --bind "$python" "$room/python"
for name in passwd group subuid subgid; do mount --bind "$room/$name" "/etc/$name"; done
exec setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all -- "$@"
"""

AS_USER = """
import os, sys
from pathlib import Path
from py_portable.images import resolve
from py_portable.store import Store
os.umask(0o077)
store = Store(Path("store"))
image = resolve("debian:11", store=store)
entry = store.get(image.key)
store.verify(entry)
print(image.identity, entry.digest)
"""


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder of an ordinary user that exists in a mount namespace only, and that other users can reach."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    folder = Path(tempfile.mkdtemp(prefix="py-portable-images-test-"))
    try:
        folder.chmod(0o755)
        first = ids.free_range(*(p.read_text() for p in (Path("/etc/subuid"), Path("/etc/subgid")) if p.exists()))
        for name, line in {
            "passwd": f"imager:x:{UID}:{UID}::{folder}/home:/bin/sh",
            "group": f"imager:x:{UID}:",
            "subuid": f"imager:{first}:65536",
            "subgid": f"imager:{first}:65536",
        }.items():
            old = Path("/etc") / name
            (folder / name).write_text((old.read_text() if old.exists() else "") + line + "\n")
        (folder / "home").mkdir(mode=0o700)
        os.chown(folder / "home", UID, UID)
        (folder / "python").mkdir()
        shutil.copytree(Path(py_portable.__file__).parent, folder / "src" / "py_portable")
        subprocess.run(["chmod", "-R", "a+rX", str(folder / "src")], check=True)
        yield folder
    finally:
        shutil.rmtree(folder)


def test_an_ordinary_user_gets_the_same_bits(room: Path, store: Store) -> None:
    prefix = Path(sys.base_prefix)
    python = room / "python" / "bin" / "python3"
    words = ["unshare", "--mount", "--propagation=private", "--", "sh", "-c", BECOME.format(uid=UID), "sh"]
    words += [str(room), str(prefix), str(python), "-c", AS_USER]
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    env = {
        "PATH": path,
        "HOME": str(room / "home"),
        "PYTHONPATH": str(room / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(words, cwd=room / "home", env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    made = resolve("debian:11", store=store)
    assert done.stdout.split() == [made.identity, digest(store, made)]
    assert [path for path in half_made() if path.stat().st_uid == UID] == []


def test_packages_and_a_script_before(apart: Store) -> None:
    before = """
    test "$(id -u)" = 0
    if [ -n "${SSL_CERT_FILE-}" ]; then test -s "$SSL_CERT_FILE" && test -s "$PIP_CERT"; fi
    apt-config dump Acquire::https::CAInfo
    apt-get update >/dev/null
    apt-get install --yes --no-install-recommends jq >/dev/null
    printf '%s' '$(not "run" `twice`)' >/opt/note
    """
    image = resolve("debian:13", packages=("patchelf",), before=before, store=apart, engine=bubblewrap())
    names = {name: digest for name, _, digest in image.packages}
    assert names["patchelf"] and "jq" in names
    assert (image.root / "opt/note").read_text() == '$(not "run" `twice`)'
    assert not [p for p in walk(image.root / "var/cache/apt") if p.suffix == ".deb"]
    assert list((image.root / "run").iterdir()) == [image.root / "run/lock"]


def test_a_failing_script_shows_its_last_words(apart: Store) -> None:
    with pytest.raises(StepError) as caught:
        resolve(
            "debian:13",
            packages=("patchelf",),
            before="echo 'the library is not there' >&2\nfalse\necho no",
            store=apart,
            engine=bubblewrap(),
        )
    assert "the library is not there" in caught.value.render()
    assert caught.value.log and caught.value.log.is_file()


def test_a_bootstrap_that_takes_too_long_is_ended_whole(tmp_path: Path) -> None:
    setup = apt.read(release.suite for release in releases().values())
    spec = BootstrapSpec("trixie", timeout=4)
    (tmp_path / "out").mkdir()
    with pytest.raises(StepError, match="did not end within 4 s"):
        bootstrap(spec, tmp_path / "out", setup=setup, prefix=ids.prefix(), log=tmp_path / "log")
    mine = f"py-portable-bootstrap-{os.getpid()}-"
    assert tasks(mine) == [] and mounts(mine) == []
    assert not [path for path in half_made() if path.name.startswith(mine)]


def test_an_unknown_package_and_its_neighbour(tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        resolve("debian:12", packages=("zlib1g-devv",), store=Store(tmp_path / "s"))
    assert caught.value.what == "bookworm has no package zlib1g-devv"
    assert caught.value.hint and "zlib1g-dev" in caught.value.hint


@contextlib.contextmanager
def proxy_that_refuses() -> Iterator[int]:
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    with line:
                        line.recv(4096)
                        line.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_logins_are_told_to_apt_and_to_nobody_else(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    with proxy_that_refuses() as port:
        setup = apt.AptSetup(
            apt.Mirror("http://me:hidden1@mirror.invalid/debian"),
            None,
            (("Acquire::http::Proxy", f"http://you:hidden2@127.0.0.1:{port}"),),
        )
        with pytest.raises(ImageUnavailable) as caught:
            BootstrapSource(lambda: setup).get(Request("debian:12"), store, ids.prefix())
    assert "407" in caught.value.reason and "mirror.invalid" in caught.value.reason
    log = caught.value.log
    assert log is not None
    for text in (caught.value.render(), log.read_text()):
        assert "hidden" not in text


def test_a_mirror_that_nobody_runs(tmp_path: Path) -> None:
    setup = apt.AptSetup(apt.Mirror("http://127.0.0.1:9/debian"), None, (("Acquire::Retries", "0"),))
    with pytest.raises(ImageUnavailable, match="the mirror cannot be reached") as caught:
        BootstrapSource(lambda: setup).get(Request("debian:12"), Store(tmp_path / "s"), ids.prefix())
    assert caught.value.reason.startswith("bootstrap of bookworm: ")
    assert "\n" not in caught.value.reason
