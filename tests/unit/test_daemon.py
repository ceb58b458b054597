"""What docker and podman say of themselves, and what a user is told where they say nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.base.capture import Captured
from py_portable.base.process import Outcome
from py_portable.engines import daemon, owner
from py_portable.errors import MachineError
from tests.unit.stub_docker import Stub

# Shortened from podman 4.3.1: `podman info --format '{{json .}}'`.
PODMAN: dict[str, Any] = {
    "host": {"arch": "amd64", "security": {"rootless": False, "selinuxEnabled": False}},
    "store": {"graphDriverName": "overlay"},
    "version": {"APIVersion": "4.3.1", "Version": "4.3.1"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["SecurityOptions", "ServerVersion", "host", "security", "version", "Version", "rootless"]),
            inner,
        )
    ),
)


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINER_HOST", "USER"):
        monkeypatch.delenv(name, raising=False)
    stub = Stub(tmp_path / "bin")
    Stub(tmp_path / "bin", "podman")
    monkeypatch.setenv("PATH", f"{stub.folder}:/usr/bin:/bin")
    return stub


def told(stub: Stub, program: str = "docker") -> tuple[str, str | None]:
    with pytest.raises(MachineError) as caught:
        daemon.find(program)
    assert len(caught.value.what) < 200 and "\n" not in caught.value.what
    return caught.value.what, caught.value.hint


def said(stderr: str, stdout: str = "", *, timed_out: bool = False) -> Outcome:
    streams = [Captured(text.encode(), b"", len(text)) for text in (stdout, stderr)]
    return Outcome(("docker",), 1, timed_out, 30.0, *streams)


def test_what_docker_says(stub: Stub) -> None:
    assert daemon.find("docker") == daemon.Daemon("docker", "24.0.7", False, ("memory", "processes"))
    assert daemon.find("docker") and len(stub.commands("info")) == 1, "asked once a process"


@pytest.mark.parametrize("option", ["name=rootless", "name=userns", "name=userns,mode=private"])
def test_docker_whose_root_is_no_root(stub: Stub, option: str) -> None:
    stub.says(
        "info", stdout=json.dumps({"ServerVersion": "20.10.24+dfsg1", "SecurityOptions": ["name=cgroupns", option]})
    )
    assert daemon.find("docker") == daemon.Daemon("docker", "20.10.24+dfsg1", True)


@pytest.mark.parametrize("rootless", [True, False])
def test_what_podman_says(stub: Stub, rootless: bool) -> None:
    info = {**PODMAN, "host": {"security": {"rootless": rootless}}}
    stub.says("info", stdout=json.dumps(info))
    assert daemon.find("podman") == daemon.Daemon("podman", "4.3.1", rootless)


@pytest.mark.parametrize(
    ("told", "limits"),
    [
        ({"MemoryLimit": True, "PidsLimit": True}, ("memory", "processes")),
        ({"MemoryLimit": False, "PidsLimit": True}, ("processes",)),
        ({"MemoryLimit": "true"}, ()),
        ({"host": {"cgroupControllers": ["cpuset", "cpu", "memory", "pids"]}}, ("memory", "processes")),
        ({"host": {"cgroupControllers": ["pids"]}}, ("processes",)),
        ({"host": {"cgroupControllers": []}}, ()),
        ({"host": {"cgroupControllers": None}}, ()),
        ({"host": None}, ()),
    ],
)
def test_what_a_daemon_can_limit(told: dict[str, Any], limits: tuple[str, ...]) -> None:
    assert daemon.limits(told) == limits


@given(JSON)
def test_no_answer_of_a_daemon_is_a_traceback(info: Any) -> None:
    found = daemon._object(json.dumps(info))
    for program in daemon.OLDEST:
        assert isinstance(daemon._version(program, found), str)
        assert isinstance(daemon._rootless(found), bool)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "x" * 10])
def test_what_is_no_json_object_tells_nothing(text: str) -> None:
    assert daemon._object(text) == {}


@pytest.mark.parametrize(
    ("program", "version", "fine"),
    [
        ("docker", "19.03.15", False),
        ("docker", "20.9.1", False),
        ("docker", "20.10.0", True),
        ("docker", "28.1.1-rc.1", True),
        ("docker", "dev", False),
        ("podman", "3.4.7", False),
        ("podman", "4.0.0-rc1", True),
        ("podman", "5.2.1", True),
    ],
)
def test_versions(program: str, version: str, fine: bool) -> None:
    if fine:
        daemon.check_version(program, version)
        return
    with pytest.raises(MachineError) as caught:
        daemon.check_version(program, version)
    oldest = {"docker": "20.10", "podman": "4.0"}[program]
    assert caught.value.what == f"{program} {version} was found, but {oldest} or newer is required"
    assert caught.value.hint == f"install a newer {program}, or use another engine: py-portable doctor"


def test_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for program, package in (("docker", "docker.io"), ("podman", "podman")):
        with pytest.raises(MachineError, match=f"{program} is not installed") as caught:
            daemon.find(program)
        assert caught.value.hint == f"apt-get install {package}"


DENIED = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get …"
DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"


def test_its_socket_is_closed(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.says("info", 1, json.dumps({"ServerErrors": [DENIED]}), "errors pretty printing info\n")
    what, hint = told(stub)
    assert what == "docker: this user may not use its socket"
    assert hint == "sudo usermod --append --groups docker $USER, then log in again"
    monkeypatch.setenv("USER", "ann")
    assert told(stub)[1] == "sudo usermod --append --groups docker ann, then log in again"


def test_nobody_answers(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.says("info", 1, json.dumps({"ServerErrors": [DOWN]}), "errors pretty printing info\n")
    assert told(stub) == ("docker: the daemon does not answer", "sudo systemctl start docker")
    monkeypatch.setenv("DOCKER_HOST", "ssh://ann:hunter2@far.example")
    what, hint = told(stub)
    assert what == "docker: the daemon does not answer at ssh://***@far.example"
    assert hint == "check DOCKER_HOST, or look at: docker info"


def test_nobody_answers_podman(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///not/of/podman")
    stub.says("info", 125, "", "Cannot connect to Podman. Please verify your connection …\nError: unable to connect\n")
    assert told(stub, "podman") == ("podman: the daemon does not answer", "sudo systemctl start podman.socket")
    monkeypatch.setenv("CONTAINER_HOST", "tcp://far.example:1")
    assert told(stub, "podman") == (
        "podman: the daemon does not answer at tcp://far.example:1",
        "check CONTAINER_HOST, or look at: podman info",
    )


def test_the_group_docker_opens_nothing_of_podman(stub: Stub) -> None:
    stub.says("info", 125, "", "Error: mkdir /run/user/1000/libpod: permission denied\n")
    assert told(stub, "podman") == (
        "podman: Error: mkdir /run/user/1000/libpod: permission denied",
        "look at: podman info",
    )


@pytest.mark.parametrize("words", ["dial tcp 10.0.0.1:2375: connect: connection refused", "lookup x: No such host"])
def test_other_ways_not_to_answer(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert daemon.why_silent("docker", said(words)) == ("the daemon does not answer", "sudo systemctl start docker")


def test_it_hangs() -> None:
    assert daemon.why_silent("docker", said(DENIED, timed_out=True)) == (
        "did not answer within 30 s",
        "look at: docker info",
    )


def test_an_unknown_trouble_is_one_line_of_it(stub: Stub) -> None:
    info = {
        "ID": "",
        "Containers": 0,
        "ServerErrors": ["client version 1.24 is too old\nfor tcp://a:b@c"],
        "pad": "x" * 3000,
    }
    stub.says("info", 1, json.dumps(info), "errors pretty printing info\n")
    assert told(stub) == ("docker: for tcp://***@c", "look at: docker info")
    stub.says("info", 1, "", "first\nlast words\n\n")
    assert told(stub) == ("docker: last words", "look at: docker info")
    stub.says("info", 0, "", "")
    assert told(stub) == ("docker: said nothing", "look at: docker info")


def test_docker_that_is_podman(stub: Stub) -> None:
    stub.says("info", 0, json.dumps(PODMAN), "Emulate Docker CLI using podman.\n")
    assert told(stub) == ("the program docker is podman under another name", "use it as --engine podman")


def test_the_tag_of_a_root(tmp_path: Path) -> None:
    tag = daemon.image_of(tmp_path)
    assert tag.startswith("localhost/py-portable-root:") and tag == daemon.image_of(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    assert daemon.image_of(tmp_path / "link") != tag, "a new file has changed the folder"
    tag = daemon.image_of(tmp_path)
    assert daemon.image_of(tmp_path / "link") == tag
    others = {
        daemon.image_of(tmp_path, daemon.Home("/home/cell", 1)),
        daemon.image_of(tmp_path, daemon.Home("/home/cell", 2)),
        daemon.image_of(tmp_path, None, ("ENV A=b",)),
        daemon.image_of(tmp_path / "none"),
    }
    assert len(others) == 4 and tag not in others
    assert daemon.image_of(Path("/odd/\udcff"))


def test_only_the_dead_are_swept(stub: Stub) -> None:
    place = owner.mine().partition(":")[0]
    lines = [
        f"living {owner.mine()}",
        f"dead {place}:{2**22 + 1}:5",
        f"{daemon.KEPT_PREFIX}dead {place}:{2**22 + 1}:5",
        f"elsewhere x/1:{2**22 + 1}:5",
        "nameless",
        "",
    ]
    stub.says("ps", stdout="\n".join(lines) + "\n")
    assert daemon.sweep("docker") == ("dead",)
    assert stub.commands("rm") == [["rm", "--force", "--volumes", "dead"]]
    stub.says("ps", 1, "", "no")
    assert daemon.sweep("docker") == () and len(stub.commands("rm")) == 1
