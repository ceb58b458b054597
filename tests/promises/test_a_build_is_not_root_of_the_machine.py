"""The promise: root of a build is not root of the machine. Whatever a build script, or a wheel that it uses, tries, it
writes no setting of the kernel, makes no device, mounts nothing, leaves its root by no way, and reaches no file, key,
process or network of the caller beyond its inputs; and a build does not start where the canary sees otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.engines import static_helpers
from tests.integration.conftest import Project
from tests.integration.test_engines import CONTAINERS, ENGINES, Caller, House, as_user, furnish, removal
from tests.integration.users import second_user

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
SETTINGS = ("core_pattern", "modprobe", "poweroff_cmd")
TRIED = 36
ORDINARY = "py-portable-builds"
NO_ROOT = "needs root: an ordinary user's build is never root of the machine, and has no engine chroot without a range"


@dataclass(frozen=True)
class Outside:
    """What a build may not reach: a file, a port and an abstract socket of the machine."""

    hidden: Path
    port: int
    name: str


@pytest.fixture
def outside() -> Iterator[Outside]:
    with (
        tempfile.TemporaryDirectory(prefix="py-portable-outside-") as folder,
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        Path(folder).chmod(0o755)
        hidden = Path(folder, "hidden")
        hidden.write_text("the caller's\n")
        name = f"py-portable-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        yield Outside(hidden, listener.getsockname()[1], name)


@pytest.fixture(autouse=True)
def the_machine_stays_as_it_was() -> Iterator[None]:
    before = settings()
    yield
    assert settings() == before


def settings() -> dict[str, str]:
    places = [Path("/proc/sys/kernel", name) for name in SETTINGS]
    return {place.name: place.read_text() for place in places if place.exists()}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    work = Path(tempfile.mkdtemp(prefix="py-portable-promises-"))
    try:
        work.chmod(0o755)
        static_helpers.put(work / "helpers")
        (work / "app").mkdir()
        words = [*static_helpers.compiler(), "-static", "-Os", "-w", "-o", work / "app" / "escapes", HERE / "escapes.c"]
        subprocess.run(list(map(str, words)), check=True)
        shutil.copytree(HERE.parents[1] / "src" / "py_portable", work / "src" / "py_portable")
        shutil.copy(HERE.parent / "integration" / "engines_driver.py", work / "driver.py")
        subprocess.run(["chmod", "-R", "a+rX", str(work)], check=True)
        found = House(work, work / "helpers", work / "app", sys.executable)
        furnish(found.root)
        yield found
    finally:
        shutil.rmtree(work)


@pytest.fixture(scope="module")
def ordinary(house: House, docker: dict[str, str]) -> Iterator[Caller]:
    with second_user(ORDINARY, home=False):
        yield replace(as_user(house, ORDINARY), containers=docker)


def escapes(caller: Caller, engine: str, outside: Outside, **order: Any) -> tuple[dict[str, int], dict[str, Any]]:
    """What came of every try of a build of this caller's, and what the driver said."""
    out = caller.root.parent / f"out-{caller.name}"
    out.mkdir()
    try:
        owner = caller.root.stat()
        os.chown(out, owner.st_uid, owner.st_gid)
        argv = ["/app/escapes", "/out", str(outside.hidden), str(outside.port), outside.name]
        binds = [*caller.house.binds, [str(out), "/out", True]]
        built: dict[str, Any] = caller.ask(engine, "build", argv=argv, binds=binds, **order)
        assert built["status"] == 0, built
        assert list(out.iterdir()) == []
    finally:
        shutil.rmtree(out)
    rows = (line.split() for line in built["stdout"].splitlines())
    return {name: int(status) for name, status in rows}, built


def succeeded(tries: Mapping[str, int]) -> list[str]:
    assert len(tries) == TRIED
    return [name for name, status in tries.items() if status == 0]


def me(house: House, *containers: Mapping[str, str]) -> Caller:
    found = {name: value for each in containers for name, value in each.items()}
    return Caller("me", (), sys.executable, house, house.root, found)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_that_it_tries_succeeds(
    engine: str, house: House, outside: Outside, docker: dict[str, str], podman: dict[str, str]
) -> None:
    tries, built = escapes(me(house, docker, podman), engine, outside)
    assert succeeded(tries) == []
    (kind,) = built["builds"]
    assert kind["own_ids"] is (engine not in CONTAINERS and os.geteuid() == 0), kind
    # The only thing that is not kept, and why, stands in the evidence.
    assert [row["aspect"] for row in kind["lacks"]] == (["own-ids"] if engine in CONTAINERS else [])


@pytest.mark.parametrize("engine", ENGINES)
def test_nor_in_a_cell(
    engine: str, house: House, outside: Outside, docker: dict[str, str], podman: dict[str, str]
) -> None:
    """The covers of the kernel's files are the same there, and the app is an ordinary user besides."""
    argv = ["/app/escapes", "/home/cell", str(outside.hidden), str(outside.port), outside.name]
    started = me(house, docker, podman).ask(engine, "start", argv=argv)
    rows = (line.split() for line in started["stdout"].splitlines())
    assert succeeded({name: int(status) for name, status in rows}) == [], started


@pytest.mark.parametrize("engine", ["bubblewrap", "chroot"])
def test_nor_without_ids_of_its_own(engine: str, house: House, outside: Outside) -> None:
    """Where a namespace for root cannot be had, its root is the kernel's root, and all else is the same."""
    if os.geteuid() != 0:
        pytest.skip(NO_ROOT)
    tries, built = escapes(me(house), engine, outside, refuse="a test had it so")
    assert succeeded(tries) == []
    (kind,) = built["builds"]
    assert kind["own_ids"] is False
    assert kind["lacks"] == [{"aspect": "own-ids", "reason": "a test had it so"}]


@pytest.mark.parametrize("engine", ["bubblewrap", "chroot", "docker"])
def test_nor_for_an_ordinary_user(engine: str, ordinary: Caller, outside: Outside) -> None:
    tries, built = escapes(ordinary, engine, outside)
    assert succeeded(tries) == []
    (kind,) = built["builds"]
    assert [row["aspect"] for row in kind["lacks"]] == (["own-ids"] if engine in CONTAINERS else [])


def test_nor_for_one_with_a_single_id(ordinary: Caller, outside: Outside) -> None:
    spare = {name: Path(name).read_text() for name in ("/etc/subuid", "/etc/subgid")}
    subprocess.run(["usermod", *removal("subuid", ORDINARY), *removal("subgid", ORDINARY), ORDINARY], check=True)
    try:
        tries, built = escapes(ordinary, "bubblewrap", outside)
    finally:
        for name, text in spare.items():
            Path(name).write_text(text)
    assert succeeded(tries) == []
    assert [kind["lacks"] for kind in built["builds"]] == [[]]


def test_a_build_with_the_network_has_that_and_no_more(house: House, outside: Outside) -> None:
    tries, _ = escapes(me(house), "bubblewrap", outside, network=True)
    assert set(succeeded(tries)) == {"connect_loopback", "connect_abstract"}


def test_keys_of_the_caller_are_out_of_reach(house: House, outside: Outside) -> None:
    """With a key in the caller's own session keyring, which a build inherits where nobody takes it away."""
    caller = me(house)
    plant = (
        "import ctypes, os, sys; c = ctypes.CDLL(None).syscall; n = {'x86_64': (248, 250), 'aarch64': (217, 219)}"
        "[os.uname().machine]; c(n[1], 1, None); assert c(n[0], b'user', b'py-portable-test', b'x', 1, -3) > 0; "
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    told = replace(caller, prefix=(sys.executable, "-c", plant))
    tries, _ = escapes(told, "bubblewrap", outside)
    assert succeeded(tries) == []


# --- the same by a wheel, through the whole of a build

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "hostile"
version = "1"
scripts = {hostile = "hostile:main"}
[tool.setuptools]
packages = ["hostile"]
"""
SETUP = """
import json, pathlib, subprocess, sys
sys.path.insert(0, "")
from setuptools import setup
from setuptools.command.build_py import build_py
from hostile import attempts
class Plain(build_py):
    def run(self):
        super().run()
        place = pathlib.Path(self.build_lib).absolute()
        # What starts with every Python that has the wheel, without any build script of its own.
        (place / "hostile.pth").write_text("import hostile.at_start\\n")
        site = "import site, sys; site.addsitedir(sys.argv[1])"
        started = subprocess.run([sys.executable, "-c", site, place], stdout=subprocess.PIPE, check=True)
        (place / "hostile" / "at_start.json").write_bytes(started.stdout)
        (place / "hostile" / "setup.json").write_text(json.dumps(attempts.all()))
setup(cmdclass={"build_py": Plain})
"""
ATTEMPTS = '''
import ctypes, os, socket

PLACE = "/build/hostile-place"
HIDDEN = "%s"

def rewrite(path):
    with open(path, "r+") as stream:
        text = stream.read()
        stream.seek(0)
        stream.write(text)

def libc(name, *words):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*words) < 0:
        raise OSError(ctypes.get_errno(), name)

def key():
    libc("syscall", {"x86_64": 250, "aarch64": 219}[os.uname().machine], 0, -3, 1)

def connect():
    with socket.socket() as there:
        there.connect(("127.0.0.1", %d))

def all():
    """The names of what succeeded, and how many were tried. Only inside: on the machine nothing is tried."""
    if not os.path.exists("/run/py-portable/cell-run"):
        raise SystemExit("the hostile app was started outside of a sandbox")
    os.makedirs(PLACE, exist_ok=True)
    tries = {
        "core_pattern": lambda: rewrite("/proc/sys/kernel/core_pattern"),
        "modprobe": lambda: open("/proc/sys/kernel/modprobe", "r+"),
        "sysrq": lambda: open("/proc/sysrq-trigger", "w"),
        "hidden": lambda: open(HIDDEN),
        "disk": lambda: os.mknod(PLACE + "/disk", 0o60600, os.makedev(254, 0)),
        "mount": lambda: libc("mount", b"x", PLACE.encode(), b"tmpfs", 0, None),
        "remount": lambda: libc("mount", None, b"/proc/sys", None, 4096 | 32, None),
        "unshare": lambda: libc("unshare", 0x10000000),
        "chroot": lambda: os.chroot(PLACE),
        "key": key,
        "network": connect,
        "root": lambda: open("/etc/py-portable-was-here", "w"),
    }
    done = []
    for name, action in tries.items():
        try:
            action()
            done.append(name)
        except OSError:
            pass
    with open("/proc/self/uid_map") as stream:
        return {"tried": len(tries), "succeeded": done, "root": os.getuid(), "map": stream.read()}
'''
AT_START = """
import json
from hostile import attempts
print(json.dumps(attempts.all()))
"""
CONFIG = """
version: 1
app: {source: app, script: hostile}
python: "3.13"
baselines:
  default: {image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}
artifacts:
  wheels: {format: wheelhouse}
portability: {images: ["debian:11"]}
"""


@pytest.mark.parametrize("engine", ["bubblewrap", "chroot"])
def test_a_wheel_does_not_become_root(engine: str, tmp_path: Path, outside: Outside) -> None:
    """Its build script, and a line of a .pth that starts with the interpreter it is installed into."""
    app = tmp_path / "app"
    (app / "hostile").mkdir(parents=True)
    (app / "setup.py").write_text(SETUP)
    (app / "pyproject.toml").write_text(PYPROJECT)
    (app / "hostile" / "__init__.py").write_text("def main():\n    print('hello')\n")
    (app / "hostile" / "attempts.py").write_text(ATTEMPTS % (outside.hidden, outside.port))
    (app / "hostile" / "at_start.py").write_text(AT_START)
    (tmp_path / "portable.yaml").write_text(CONFIG)
    project = Project(tmp_path)
    done = project.run("build", "--engine", engine)
    assert done.status == 0, done.stderr
    (wheel,) = (tmp_path / "dist").rglob("hostile-1-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "hostile.pth" in archive.namelist()
        found = [json.loads(archive.read(f"hostile/{name}.json")) for name in ("setup", "at_start")]
    (part,) = (json.loads(path.read_text()) for path in (tmp_path / "dist").rglob("parts/build-*.json"))
    steps = [step for step in part["steps"] if not step["cached"]]
    for told in found:
        assert (told["tried"], told["succeeded"], told["root"]) == (12, [], 0)
        assert told["map"].split()[:2] != ["0", "0"], "root inside has an id that nobody has outside"
    kinds = [kind for step in steps for kind in step.get("sandbox", ())]
    assert kinds and all(kind["own_ids"] and kind["lacks"] == [] for kind in kinds)
