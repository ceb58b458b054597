"""Real starts on every engine, as the caller and (for root) as an ordinary user with a range of ids as well."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import random
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import py_portable
from py_portable.engines import static_helpers
from py_portable.engines.engine import LIMITS
from py_portable.prove.conditions import PLAIN
from tests.integration import docker_daemon
from tests.integration.users import second_user

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
USER = "py-portable-cells"
GONE_SECONDS = 3.0
UNMOUNTED_SECONDS = 60.0
"""A daemon unmounts what its container stood on after the last process has ended, on a loaded machine much later."""
CONTAINERS = ("docker", "podman")
ENGINES = ("bubblewrap", "chroot", *CONTAINERS)
SOON = {**dict.fromkeys((*ENGINES, "native"), 5.0), **dict.fromkeys(CONTAINERS, 20.0)}
"""Seconds within which a call with a short time limit has to be over; a daemon may be slow on a busy machine."""


@dataclass(frozen=True)
class House:
    """A folder that everybody can look into. The image's path holds what overlayfs and shells treat specially."""

    work: Path
    helpers: Path
    app: Path
    python: str

    @property
    def root(self) -> Path:
        return self.work / "o,d:d =\\ $r'oot"

    @property
    def binds(self) -> list[list[Any]]:
        return [[str(self.app), "/app", False]]


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    work = Path(tempfile.mkdtemp(prefix="py-portable-engines-test-"))
    try:
        work.chmod(0o755)
        static_helpers.put(work / "helpers")
        (work / "app").mkdir()
        program = work / "app" / "mischief"
        words = [*static_helpers.compiler(), "-static", "-Os", "-o", str(program), str(HERE / "engines_mischief.c")]
        subprocess.run(words, check=True)
        shutil.copytree(Path(py_portable.__file__).parent, work / "src" / "py_portable")
        shutil.copy(HERE / "engines_driver.py", work / "driver.py")
        subprocess.run(["chmod", "-R", "a+rX", str(work)], check=True)
        (work / "stores").mkdir()
        (work / "stores").chmod(0o1777)
        found = House(work, work / "helpers", work / "app", sys.executable)
        furnish(found.root)
        yield found
    finally:
        shutil.rmtree(work)


def furnish(root: Path) -> None:
    """A root with next to nothing in it: the apps are static."""
    for name in ("bin", "etc", "usr", "tmp", "home"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "bin" / "keep").write_text("keep me\n")
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    (root / "etc" / "shadow").write_text("secret\n")
    (root / "etc" / "shadow").chmod(0o600)


@dataclass(frozen=True)
class Caller:
    """Somebody who runs py-portable: the words before the command, and the Python that they can start."""

    name: str
    prefix: tuple[str, ...]
    python: str
    house: House
    root: Path
    containers: Mapping[str, str] = field(default_factory=dict)
    """The variables that lead to docker and podman."""

    def words(self, engine: str, do: str, **order: Any) -> list[str]:
        whole = {
            "engine": engine,
            "do": do,
            "helpers": str(self.house.helpers),
            "root": str(self.root),
            "binds": self.house.binds,
            "condition": "plain",
            "timeout": 20,
            "env": {},
            "network": False,
            "log": None,
            **order,
        }
        return [*self.prefix, self.python, str(self.house.work / "driver.py"), json.dumps(whole)]

    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": "/",
            "LANG": "de_DE.UTF-8",
            "PYTHONPATH": str(self.house.work / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.containers,
        }

    def ask(self, engine: str, do: str, **order: Any) -> Any:
        done = subprocess.run(
            self.words(engine, do, **order), env=self.env(), capture_output=True, timeout=120, cwd="/"
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def start(self, engine: str, *argv: str, **order: Any) -> Any:
        return self.ask(engine, "start", argv=["/app/mischief", *argv], **order)


@pytest.fixture(scope="session")
def ordinary(house: House, docker: dict[str, str]) -> Iterator[Caller]:
    with second_user(USER, home=False):
        yield replace(as_user(house), containers=docker)


def as_user(house: House, name: str = USER) -> Caller:
    who = pwd.getpwnam(name)
    prefix = ("setpriv", "--reuid", str(who.pw_uid), "--regid", str(who.pw_gid), "--clear-groups", "--")
    for python in (sys.executable, "/usr/bin/python3"):
        test = [*prefix, python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        if subprocess.run(test, capture_output=True, cwd="/").returncode == 0:
            break
    else:
        pytest.skip("no Python 3.11 that an ordinary user can start")
    root = house.work / "user" / house.root.name
    furnish(root)
    subprocess.run(["chown", "-R", f"{who.pw_uid}:{who.pw_gid}", str(house.work / "user")], check=True)
    return Caller("ordinary", prefix, python, house, root)


@pytest.fixture(params=["me", "ordinary"])
def caller(request: pytest.FixtureRequest, house: House, docker: dict[str, str], podman: dict[str, str]) -> Caller:
    if request.param == "ordinary":
        if getattr(request.node, "callspec", None) and request.node.callspec.params.get("engine") == "podman":
            pytest.skip("podman without root: needs a capable machine")
        found: Caller = request.getfixturevalue("ordinary")
        return found
    return Caller("me", (), sys.executable, house, house.root, docker | podman)


@pytest.fixture
def token() -> Iterator[str]:
    """A word for the app's arguments; afterwards no process may have it and nothing may be mounted for it."""
    word = f"token-{uuid.uuid4().hex}"
    before = mounts()
    yield word
    assert gone(word), processes(word)
    end = time.monotonic() + UNMOUNTED_SECONDS
    while mounts() != before and time.monotonic() < end:
        time.sleep(0.02)
    assert mounts() == before


def processes(word: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in line and int(folder.name) != os.getpid():
            found.append(f"{folder.name} {line!r}")
    return found


def gone(word: str) -> bool:
    end = time.monotonic() + GONE_SECONDS
    while processes(word):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def mounts() -> list[str]:
    """What engines could leave mounted; other programs of the machine may mount at the same time."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    ours = [line for line in lines if docker_daemon.OWN in line or docker_daemon.DAEMON not in line]
    return [line for line in ours if "/sys" in line.split()[4] or "py-portable" in line]


def digest(*folders: Path) -> str:
    total = hashlib.sha256()
    for folder in folders:
        for path in sorted([folder, *folder.rglob("*")]):
            status = path.lstat()
            line = (
                str(path),
                oct(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_rdev,
                status.st_nlink,
            )
            body = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            total.update(repr((line, body)).encode())
    return total.hexdigest()


@pytest.fixture(autouse=True)
def untouched(house: House) -> Iterator[None]:
    """Whatever a test does, the images, the helpers and the artifact stay as they were."""
    folders = [house.root, house.helpers, house.app]
    if (house.work / "user").exists():
        folders.append(house.work / "user")
    before = digest(*folders)
    yield
    assert digest(*folders) == before


@pytest.mark.parametrize("engine", ENGINES)
def test_every_condition_is_in_force(caller: Caller, engine: str) -> None:
    seen = caller.ask(engine, "observe")
    assert {name: found["violations"] for name, found in seen.items()} == {
        "plain": [],
        "read-only": [],
        "no-home": [],
        "no-passwd": [],
    }
    # A machine may give no limits (cgroups); nothing else had to be excused.
    limits = {promise.text for promise in PLAIN.promises if promise.aspect in LIMITS}
    assert all(set(found["excused"]) <= limits for found in seen.values())
    assert all(found["stable"] for found in seen.values())
    assert len({found["digest"] for found in seen.values()}) == 4


def test_bubblewrap_isolates_fully(caller: Caller) -> None:
    info = caller.ask("bubblewrap", "probe")
    assert info["isolation"] == "full" and set(info["lacks"]) <= set(LIMITS)
    assert info["version"][0].isdigit()


def test_chroot_and_native_say_that_they_are_partial(caller: Caller) -> None:
    assert caller.ask("chroot", "probe")["isolation"] == "partial"
    info = caller.ask("native", "probe")
    assert info["isolation"] == "partial"
    assert {"account", "hostname", "network", "pids", "root", "tmp"} <= set(info["lacks"])
    assert ("ids" in info["lacks"]) == (caller.prefix != () or os.geteuid() != 0)


def test_native_leaves_read_only_unproven(caller: Caller) -> None:
    seen = caller.ask("native", "observe", root="/")
    assert "the root is mounted read-only" in seen["read-only"]["violations"]
    assert seen["plain"]["violations"] == []
    assert "there is no network but loopback" in seen["plain"]["excused"]


def test_one_mapped_id_is_told(ordinary: Caller) -> None:
    spare = {name: Path(name).read_text() for name in ("/etc/subuid", "/etc/subgid")}
    usermod(*removal("subuid", USER), *removal("subgid", USER))
    try:
        info = ordinary.ask("bubblewrap", "probe")
        seen = ordinary.ask("bubblewrap", "observe")
        hostile = ordinary.start("bubblewrap", "hostile")
        refused = subprocess.run(ordinary.words("chroot", "probe"), env=ordinary.env(), capture_output=True, cwd="/")
    finally:
        for name, text in spare.items():
            back = [line for line in text.splitlines() if line.startswith(f"{USER}:")]
            first, count = (int(word) for word in back[0].split(":")[1:])
            flag = f"--add-{Path(name).name}s"
            usermod(flag, f"{first}-{first + count - 1}")
    assert info["isolation"] == "partial" and set(info["lacks"]) - set(LIMITS) == {"ids"}
    assert {name: found["violations"] for name, found in seen.items()} == {name: [] for name in seen}
    assert "/etc/shadow cannot be read" in seen["plain"]["excused"]
    # The supervisor has the app's own id here: it can be killed, but the forged record must not be believed.
    assert "fd" not in hostile["stdout"]
    assert hostile["record"] is None or hostile["record"]["exited"] == 7
    assert b"gives " + USER.encode() + b" no range of 65536 ids" in refused.stderr
    assert b"next: sudo usermod --add-subuids" in refused.stderr


def usermod(*words: str) -> None:
    """It does nothing to a user who has a process, and one of the test before may still be ending."""
    wait_until(lambda: subprocess.run(["usermod", *words, USER]).returncode == 0)


def removal(kind: str, user: str) -> list[str]:
    lines = Path(f"/etc/{kind}").read_text().splitlines()
    first, count = next(
        (int(line.split(":")[1]), int(line.split(":")[2])) for line in lines if line.startswith(f"{user}:")
    )
    return [f"--del-{kind}s", f"{first}-{first + count - 1}"]


@pytest.mark.parametrize("engine", [*ENGINES, "native"])
def test_how_an_app_ended(caller: Caller, engine: str, token: str) -> None:
    order = {"root": "/"} if engine == "native" else {}
    hello = caller.start(engine, "hello", token, **order)
    assert (hello["stdout"], hello["stderr"], hello["timed_out"]) == ("hello\n", "", False)
    assert hello["record"]["reached"] and hello["record"]["exited"] == 0
    assert 0 < hello["record"]["wall_ns"] < hello["seconds"] * 1e9
    assert caller.start(engine, "seven", token, **order)["record"]["exited"] == 7
    crash = caller.start(engine, "crash", token, **order)["record"]
    assert (crash["exited"], crash["signal"]) == (None, signal.SIGABRT)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_app_that_cannot_be_started(caller: Caller, engine: str) -> None:
    missing = caller.ask(engine, "start", argv=["/app/none"])
    assert missing["trouble"] is None
    assert (missing["record"]["stage"], missing["record"]["reached"]) == ("ran", False)
    assert missing["record"]["exec_errno"] == 2
    assert caller.ask(engine, "start", argv=["/etc/passwd"])["record"]["exec_errno"] == 13


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_fails_proves_nothing(caller: Caller, engine: str) -> None:
    broken = caller.start(engine, "hello", root="/nonexistent/image")
    assert broken["record"] is None
    assert broken["trouble"].startswith("cell-run wrote no record; ")
    assert "Traceback" not in broken["trouble"]
    lost = caller.ask(engine, "start", argv=["/app/mischief"], binds=[["/nonexistent/app", "/app", False]])
    assert lost["record"] is None


@pytest.mark.parametrize("engine", [*ENGINES, "native"])
def test_time_limit_ends_everything(caller: Caller, engine: str, token: str) -> None:
    order = {"root": "/"} if engine == "native" else {}
    hung = caller.start(engine, "hang", token, timeout=0.7, **order)
    assert processes(token) == [], "nothing may be left when the call returns"
    assert hung["timed_out"] and hung["record"]["limit"]
    assert hung["stdout"] == "hanging\n"
    assert 0.7 <= hung["seconds"] < SOON[engine]


@pytest.mark.parametrize("engine", [*ENGINES, "native"])
def test_a_moving_target_is_ended(caller: Caller, engine: str, token: str) -> None:
    order = {"root": "/"} if engine == "native" else {}
    record = caller.start(engine, "bomb", token, timeout=1, **order)["record"]
    assert processes(token) == []
    assert record["left_behind"] > 10


@pytest.mark.parametrize("engine", [*ENGINES, "native"])
def test_a_daemon_left_behind_is_ended_and_counted(caller: Caller, engine: str, token: str) -> None:
    order = {"root": "/"} if engine == "native" else {}
    left = caller.start(engine, "daemon", token, **order)
    assert processes(token) == [], "nothing may be left when the call returns"
    assert (left["record"]["exited"], left["record"]["left_behind"]) == (0, 3)
    assert left["stdout"] == "started\n"
    assert left["seconds"] < SOON[engine]


def test_a_flood_of_binary_output_is_bounded(caller: Caller, token: str) -> None:
    flood = caller.start("bubblewrap", "flood", token)
    assert flood["record"]["exited"] == 0
    assert flood["total"] == 100_000_000
    assert flood["captured"] < 70_000


@pytest.mark.parametrize("condition", ["plain", "read-only"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_hostile_artifact_changes_nothing(caller: Caller, engine: str, condition: str, token: str) -> None:
    # The fixture `untouched` compares the image, the artifact and the helpers byte by byte.
    hostile = caller.start(engine, "hostile", token, condition=condition)
    assert hostile["record"] is not None, hostile
    # Its own marks on what a user may do inside a nested namespace of its own are harmless; no other.
    lines = set(hostile["stdout"].splitlines())
    if engine == "podman" and condition == "plain":
        # Its root has no flag that a namespace of the app's own could be kept from changing there.
        lines -= {"remounted-bind /", "remounted-bind /proc/self/root"}
    assert lines == set()
    assert hostile["record"]["exited"] == 7, "the record that the app forged was not believed"


def test_an_image_whose_links_point_outside(
    house: House, docker: dict[str, str], podman: dict[str, str], token: str
) -> None:
    root, victim = house.work / "linked", house.work / "victim"
    victim.mkdir()
    root.mkdir()
    try:
        (root / "tmp").symlink_to("/etc")
        for name in ("run", "home", "proc", "dev", "app"):
            (victim / name).mkdir()
            (root / name).symlink_to(victim / name)
        me = Caller("me", (), sys.executable, house, root, docker | podman)
        for engine in ENGINES:
            started = me.start(engine, "hello", token)
            assert all(list(folder.iterdir()) == [] for folder in victim.iterdir())
            if engine in CONTAINERS:
                assert started["record"] is None and "/home/cell" in started["trouble"], started
            else:
                assert started["stdout"] == "hello\n", started
        assert sorted(path.name for path in root.iterdir()) == ["app", "dev", "home", "proc", "run", "tmp"]
    finally:
        shutil.rmtree(root)
        shutil.rmtree(victim)


@pytest.mark.parametrize("engine", [*ENGINES, "native"])
def test_killing_the_caller_ends_the_cell(caller: Caller, engine: str, token: str) -> None:
    order = {"root": "/"} if engine == "native" else {}
    words = caller.words(engine, "start", argv=["/app/mischief", "hang", token], **order)
    with subprocess.Popen(words, env=caller.env(), cwd="/", stdout=subprocess.DEVNULL) as python:
        wait_until(lambda: sum("hang" in line and "cell-run" not in line for line in processes(token)) > 4)
        python.send_signal(signal.SIGKILL)
    assert gone(token), processes(token)


def test_native_removes_the_home_of_a_caller_that_was_killed(house: House, token: str) -> None:
    me = Caller("me", (), sys.executable, house, house.root)
    words = me.words("native", "start", argv=["/app/mischief", "hang", token], root="/")
    with subprocess.Popen(words, env=me.env(), cwd="/", stdout=subprocess.DEVNULL) as python:
        wait_until(lambda: len(processes(token)) > 4)
        homes = list(Path(tempfile.gettempdir()).glob(f"py-portable-home-{python.pid}-*"))
        python.send_signal(signal.SIGKILL)
    assert len(homes) == 1
    assert gone(token)
    me.start("native", "hello", token, root="/")
    assert not homes[0].exists()


@pytest.mark.parametrize("profile", ["start", "build"])
def test_killing_the_caller_at_any_moment(caller: Caller, profile: str, token: str) -> None:
    order = {"argv": ["/app/mischief", "hang", token]}
    dice = random.Random(7)
    for _ in range(12):
        words = caller.words("bubblewrap", profile, **order)
        with subprocess.Popen(words, env=caller.env(), cwd="/", stdout=subprocess.DEVNULL) as python:
            time.sleep(0.1 + dice.random() * 0.3)
            python.send_signal(signal.SIGKILL)
        assert gone(token), processes(token)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_build_runs_as_root_and_its_output_is_the_callers(caller: Caller, engine: str) -> None:
    out = caller.root.parent / f"out-{caller.name}"
    out.mkdir()
    try:
        owner = caller.root.stat()
        os.chown(out, owner.st_uid, owner.st_gid)
        binds = [*caller.house.binds, [str(out), "/out", True]]
        built = caller.ask(engine, "build", argv=["/app/mischief", "output"], binds=binds)
        assert built["status"] == 0, built
        assert (out / "made").stat().st_uid == owner.st_uid
    finally:
        shutil.rmtree(out)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_builds_environment_stays_out_of_its_log(caller: Caller, engine: str) -> None:
    log = caller.root.parent / f"log-{caller.name}"
    log.touch()
    try:
        os.chown(log, caller.root.stat().st_uid, -1)
        env = {"PIP_INDEX_URL": "https://user:hunter2@index.invalid/simple", "NAME": "a b\n'c'"}
        argv = ["/app/mischief", "env"]
        seen = caller.ask(engine, "build", argv=argv, env=env, log=str(log), network=True)
        lines = set(seen["stdout"].splitlines())
        assert "PIP_INDEX_URL=https://user:hunter2@index.invalid/simple" in lines
        assert "NAME=a b\n'c'\n" in seen["stdout"]
        assert {line for line in lines if line.startswith("fd=")} == {"fd=0", "fd=1", "fd=2"}
        assert "uid=0" in lines
        assert not any(line.startswith(("PY_PORTABLE", "LANG", "PYTHONPATH")) for line in lines)
        command = log.read_text().splitlines()[0]
        assert "hunter2" not in command and "/app/mischief env" in command
    finally:
        log.unlink()


@pytest.mark.parametrize("engine", ENGINES)
def test_time_limit_of_a_build(caller: Caller, engine: str, token: str) -> None:
    hung = caller.ask(engine, "build", argv=["/app/mischief", "hang", token], timeout=0.7)
    assert hung["timed_out"]
    assert hung["seconds"] < SOON[engine]
    assert gone(token), processes(token)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_line_that_reproduces_a_cell(caller: Caller, engine: str) -> None:
    line = caller.start(engine, "seven")["reproduce"]
    done = subprocess.run(
        [*caller.prefix, "sh", "-c", line],
        env=caller.env(),
        capture_output=True,
        cwd="/",
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 7, done
    assert "\n" not in line and shlex.split(line)


INSTALLED = """\
/bin 40750 0 0 0
/bin/keep none
/etc/made 104755 5 6 5
/usr/hard 104755 5 6 5
/usr/capable 100644 0 0 8 capable
/usr/link 120777 0 0 0
/usr/second none
""".splitlines()
"""What a cell sees of the mode `spread` of mischief: owners, setuid bits and capabilities as they were given."""


def without(found: list[str], *names: str) -> list[str]:
    return [line for line in found if line.split()[0] not in names]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_installation_writes_anywhere_lies_under_every_start(caller: Caller, engine: str) -> None:
    # That image, artifact and helpers stay as they were is what the fixture `untouched` compares.
    told = caller.ask(engine, "install", modes=["spread"], timeout=60)
    assert told["ended"] == [[0, "", True]], told["ended"]
    # Nobody but root may look into /bin now.
    plain = without(told["seen"]["plain"], "/bin/new", "/etc/passwd")
    assert plain == [*INSTALLED, "/etc closed"]
    assert without(told["seen"]["read-only"], "/bin/new", "/etc/passwd") == [*INSTALLED, "/etc read-only"]
    # What the installation made of it, with the user of the cell; it belongs to whoever keeps the store.
    (passwd,) = (line for line in told["seen"]["plain"] if line.startswith("/etc/passwd "))
    assert passwd.split()[:2] == ["/etc/passwd", "100644"]
    assert int(passwd.split()[-1]) == 46 + len("cell:x:10001:10001::/home/cell:/bin/sh\n")
    assert told["seen"]["plain again"] == told["seen"]["plain"], "a start leaves nothing to the next one"
    assert told["seen"]["read-only again"] == told["seen"]["read-only"]
    before, after = told["before"], told["after"]
    assert sorted(set(after) - set(before) - {"app", "app/mischief", "run", "run/py-portable"}) == [
        "bin/new",
        "etc/made",
        "usr/a\nb",
        "usr/capable",
        "usr/hard",
        "usr/link",
    ]
    assert sorted(set(before) - set(after)) == ["bin/keep"]
    assert after["etc/made"][:4] == ["file", 0o4755, 5, 6] and after["usr/link"][-1] == "../etc/made"
    files = set(before) & set(after)
    assert sorted(name for name in files if after[name] != before[name] and after[name][0] != "folder") == [
        "etc/passwd"
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_installation_stands_on_the_one_before_it(caller: Caller, engine: str) -> None:
    told = caller.ask(engine, "install", modes=["spread", "shrink"], timeout=60)
    assert told["ended"] == [[0, "", True], [0, "", True]], told["ended"]
    gone = {"/etc/made none", "/usr/hard none", "/bin/keep none"}
    assert gone < set(told["seen"]["plain"])
    assert "/usr/second 100644 0 0 7" in told["seen"]["plain"]
    assert "/usr/capable 100644 0 0 8 capable" in told["seen"]["plain"]
    left = set(told["after"]) - set(told["before"]) - {"app", "app/mischief", "run", "run/py-portable"}
    assert left == {"usr/second", "usr/capable", "usr/link"}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_installation_that_fails_leaves_no_layer(caller: Caller, engine: str) -> None:
    told = caller.ask(engine, "install", modes=["seven", "spread"], timeout=60)
    assert [status for status, *_ in told["ended"]] == [7, 0]
    assert "/etc/made 104755 5 6 5" in told["seen"]["plain"]


@pytest.mark.parametrize("engine", ["bubblewrap", "chroot"])
def test_what_an_installation_writes_has_a_bound(caller: Caller, engine: str) -> None:
    told = caller.ask(engine, "install", modes=["fill"], timeout=60)
    assert told["ended"][0][0] == 28, "the disk of an installation is full at 2 GiB"


def test_native_keeps_no_root(house: House) -> None:
    me = Caller("me", (), sys.executable, house, Path("/"))
    done = subprocess.run(me.words("native", "install", modes=["spread"]), env=me.env(), capture_output=True, cwd="/")
    assert done.returncode != 0
    assert b"the engine native changes the root that it runs in, so nothing is installed there" in done.stderr
    assert not Path("/etc/made").exists()
