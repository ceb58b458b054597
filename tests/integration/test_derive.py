"""Packages and a script on top of an image that counts as one from a registry: a bootstrapped Debian root.

dnf, zypper and apk are not to be had on the machines that run this: real runs of them are UNPROVEN, and
test_derive_managers.py runs the whole against programs of those names that only note what they were asked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_portable.engines import ids
from py_portable.engines.engine import Job
from py_portable.errors import StepError
from py_portable.images import Image, ImageUnavailable, Request, releases, resolve
from py_portable.images.adding.derive import derive
from py_portable.images.debian import apt
from py_portable.images.debian.recipe import EPOCH
from py_portable.store import Store, default_root
from tests.integration.conftest import bubblewrap
from tests.integration.test_images import BECOME, UID, room  # noqa: F401

pytestmark = pytest.mark.integration

ORIGIN = "sha256:" + "1" * 64
NO_SUCH_IDENTITY = "sha256:" + "0" * 64


def registry_image(name: str, store: Store | None = None, **more: object) -> Image:
    made = resolve(name, store=store or Store(default_root(os.environ)))
    told = {"source": "registry", "origin": ORIGIN, "key": None, "packages": (), "suite": None, **more}
    return dataclasses.replace(made, **told)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def base() -> Image:
    return registry_image("debian:12")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def add(image: Image, to: Store, environ: dict[str, str] | None = None, **wishes: object) -> Image:
    request = Request(image.name, engine=bubblewrap(), **wishes)  # type: ignore[arg-type]
    return derive(image, request, to, ids.prefix(), environ=environ)


def tree(root: Path) -> dict[str, tuple[int, int, int, int, object]]:
    """Every name with mode, owner, time and contents."""
    found = {}
    for folder, dirs, files in os.walk(root):
        for name in (*dirs, *files, "."):
            path = Path(folder) / name
            state = path.lstat()
            if path.is_symlink():
                what: object = str(path.readlink())
            else:
                what = path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(root))] = (
                state.st_mode,
                state.st_uid,
                state.st_gid,
                int(state.st_mtime),
                what,
            )
    return found


def inside(image: Image, *argv: str) -> str:
    done = bubblewrap().run(Job("build", image.root, argv, env={"PATH": "/usr/bin:/bin"}), timeout=60)
    assert done.ok, done.stderr.text
    return done.stdout.text


def hosts() -> set[str]:
    """Names of the servers that this machine's apt is configured with, that the image does not know itself."""
    setup = apt.read(release.suite for release in releases().values())
    found = {m.uri.split("/")[2].rpartition("@")[2] for m in (setup.archive, setup.security) if m}
    found |= {value for name, value in setup.settings if "proxy" in name.lower()}
    return {host.partition(":")[0] for host in found if host}


BEFORE = """
test "$(id -u)" = 0
if [ -n "${SSL_CERT_FILE-}" ]; then test -s "$SSL_CERT_FILE" && test -s "$PIP_CERT"; fi
apt-get install --yes --no-install-recommends patchelf >/dev/null
echo "deb http://elsewhere.invalid/debian bookworm main" >/etc/apt/sources.list.d/mine.list
printf '%s' '$(not "run" `twice`)' >/opt/note
echo 1.2.3.4 elsewhere >>/etc/hosts
date >/var/log/when; mkdir -p /opt/lib/__pycache__ /run/mine && date >/opt/lib/__pycache__/x.pyc
"""


def test_packages_and_before_and_nothing_else(base: Image, store: Store, tmp_path: Path) -> None:
    started = int(time.time())
    image = add(base, store, packages=("libpq-dev", "jq"), before=BEFORE)
    names = {name: version for name, version, _ in image.packages}
    assert names["libpq-dev"] and names["jq"] and names["patchelf"] and names["libc6"]
    assert (image.name, image.source, image.origin, image.glibc) == ("debian:12", "registry", ORIGIN, "2.36")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", image.identity) and image.identity != base.identity
    assert inside(image, "jq", "-n", "1+1") == "2\n"
    assert (image.root / "opt/note").read_text() == '$(not "run" `twice`)'

    before, after = tree(base.root), tree(image.root)
    for name in ("etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/apt/sources.list", "proc", "tmp", "."):
        assert after[name] == before[name], name
    for name in ("out", "kit", "etc/machine-id", "run/mine", "opt/lib/__pycache__"):
        assert name not in after, name
    assert list((image.root / "etc/apt/sources.list.d").iterdir()) == []
    assert [p for p in after if p.startswith("var/cache/apt/") and p.endswith((".deb", ".bin"))] == []
    assert [p for p in after if p.startswith("var/lib/apt/lists/")] == []
    assert after["var/log/when"][4] == b""
    # Packages bring their own times; what was written meanwhile has a fixed one.
    assert max(when for _, _, _, when, _ in after.values()) < started
    assert after["opt/note"][3] == after["opt"][3] == EPOCH
    # Nothing that was there is gone, but for caches, lists and backups.
    gone = {name for name in set(before) - set(after) if not name.startswith("var/lib/apt/lists/")}
    assert gone <= {"var/cache/apt/archives/lock", "var/cache/apt/archives/partial"}, gone
    words = hosts()
    assert words
    for name, (_, _, _, _, what) in after.items():
        if isinstance(what, bytes) and not name.startswith("usr/"):
            assert not [host for host in words if host.encode() in what], name

    again = add(base, Store(tmp_path / "other"), packages=("jq", "libpq-dev"), before=BEFORE)
    assert again.identity == image.identity
    other = tree(again.root)
    assert {name for name in after.keys() | other.keys() if after.get(name) != other.get(name)} == set()

    drifted = add(base, store, packages=("jq", "libpq-dev"), before=BEFORE, locked_identity=NO_SUCH_IDENTITY)
    assert drifted.identity == image.identity and drifted.drifted_from == NO_SUCH_IDENTITY
    kept = add(base, store, packages=("jq", "libpq-dev"), before=BEFORE, locked_identity=image.identity)
    assert kept.root == image.root and kept.drifted_from is None


def test_compilers_and_then_nothing_is_missing(base: Image, store: Store) -> None:
    image = add(base, store, needs=("compilers",))
    assert inside(image, "/usr/lib/ccache/gcc", "-dumpmachine").strip().endswith("-linux-gnu")
    # No network and no proxy could help here: nothing is asked.
    closed = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    again = add(image, store, closed, needs=("compilers",), packages=("make", "libc6-dev"))
    assert again == image


def test_a_compiler_on_the_path_of_the_image_counts(base: Image, store: Store, tmp_path: Path) -> None:
    made = add(
        base,
        store,
        before="""
        mkdir -p /opt/toolset/bin
        for name in gcc g++ make ccache; do ln -s /bin/true /opt/toolset/bin/$name; done
        """,
    )
    image = dataclasses.replace(made, env={"PATH": "/opt/toolset/bin:/usr/bin:/bin:/usr/sbin:/sbin"})
    assert add(image, store, needs=("compilers",)) == image


def test_an_older_release_through_its_own_apt(store: Store) -> None:
    image = add(registry_image("debian:11"), store, packages=("jq",))
    assert image.glibc == "2.31" and inside(image, "jq", "--version").startswith("jq-1.6")


def test_an_unknown_package_and_its_neighbour(base: Image, store: Store) -> None:
    with pytest.raises(StepError) as caught:
        add(base, store, packages=("zlib1g-devv",))
    assert caught.value.what == "debian:12 has no package zlib1g-devv"
    assert caught.value.hint and "zlib1g-dev" in caught.value.hint
    assert caught.value.log and caught.value.log.is_file()


def test_a_failing_script_shows_its_last_words(base: Image, store: Store) -> None:
    with pytest.raises(StepError) as caught:
        add(base, store, before="echo 'the library is not there' >&2\n(exit 7)\necho no")
    assert caught.value.what == "`before` failed on debian:12 with exit status 7"
    assert "the library is not there" in caught.value.render()
    assert caught.value.log and caught.value.log.is_file()


def test_a_script_that_takes_too_long_is_ended_whole(base: Image, store: Store) -> None:
    request = Request(base.name, before="echo waiting; sleep 987", engine=bubblewrap())
    with pytest.raises(StepError, match="did not end within 2 s") as caught:
        derive(base, request, store, ids.prefix(), timeout=2)
    assert "waiting" in caught.value.render()
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"987" in read(path).split(b"\0")]
    assert running == []


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@contextlib.contextmanager
def proxy_that_refuses() -> Iterator[int]:
    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(407)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_logins_and_proxies_are_told_to_the_manager_and_to_nobody_else(base: Image, store: Store) -> None:
    with proxy_that_refuses() as port:
        setup = apt.AptSetup(apt.Mirror("http://me:hidden1@mirror.invalid/debian"), None, (("Acquire::Retries", "0"),))
        request = Request(base.name, packages=("jq",), engine=bubblewrap())
        environ = {"http_proxy": f"http://you:hidden2@127.0.0.1:{port}"}
        with pytest.raises(ImageUnavailable) as caught:
            derive(base, request, store, ids.prefix(), environ=environ, setup=lambda: setup)
    assert "407" in caught.value.reason and "mirror.invalid" in caught.value.reason
    assert caught.value.log is not None
    for text in (caught.value.render(), caught.value.log.read_text()):
        assert "hidden" not in text and f":{port}" not in text


def test_a_mirror_that_nobody_runs(base: Image, store: Store) -> None:
    setup = apt.AptSetup(apt.Mirror("http://127.0.0.1:9/debian"), None, (("Acquire::Retries", "0"),))
    request = Request(base.name, packages=("jq",), engine=bubblewrap())
    with pytest.raises(ImageUnavailable, match="the mirror cannot be reached") as caught:
        derive(base, request, store, ids.prefix(), environ={}, setup=lambda: setup)
    assert caught.value.reason.startswith("adding packages to debian:12: ")


def test_an_image_without_tar_is_told_before_anything_is_fetched(base: Image, store: Store, tmp_path: Path) -> None:
    bare = tmp_path / "root"
    subprocess.run(["cp", "-a", str(base.root), str(bare)], check=True)
    (bare / "usr/bin/tar").unlink()
    image = dataclasses.replace(base, root=bare, identity="sha256:" + "2" * 64)
    with pytest.raises(StepError, match="has no tar") as caught:
        add(image, store, {"http_proxy": "http://127.0.0.1:9"}, packages=("jq",))
    assert caught.value.hint == "add tar to the `packages` of the baseline"
    shutil.rmtree(bare)


AS_USER = """
import dataclasses, os, sys
from pathlib import Path
from py_portable.engines import ids
from py_portable.images import Request, resolve
from py_portable.images.adding.derive import derive
from py_portable.engines.static_helpers.stored import helpers
from py_portable.store import Store
from py_portable.engines.bubblewrap import Bubblewrap
os.umask(0o077)
store = Store(Path("store"))
base = dataclasses.replace(resolve("debian:12", store=store), source="registry", key=None, packages=())
image = derive(base, Request("debian:12", packages=("jq",), engine=Bubblewrap(helpers(store))), store, ids.prefix())
store.verify(store.get(image.key))
print(image.identity, store.get(image.key).digest)
"""


def test_an_ordinary_user_gets_the_same_bits(
    room: Path,  # noqa: F811
    base: Image,
    store: Store,
    tmp_path: Path,
) -> None:
    python = room / "python" / "bin" / "python3"
    words = ["unshare", "--mount", "--propagation=private", "--", "sh", "-c", BECOME.format(uid=UID), "sh"]
    words += [str(room), str(Path(sys.base_prefix)), str(python), "-c", AS_USER]
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(room / "home"),
        "PYTHONPATH": str(room / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(words, cwd=room / "home", env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr

    def as_root(below: Image) -> list[str]:
        image = add(below, store, packages=("jq",))
        entry = store.get(image.key or "")
        assert entry is not None
        return [image.identity, entry.digest]

    if done.stdout.split() != as_root(base):
        # The user made the base as well, now; the distribution may have published something since ours was made.
        now = registry_image("debian:12", Store(tmp_path / "now"))
        assert now.identity != base.identity
        assert done.stdout.split() == as_root(now)
