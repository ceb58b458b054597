"""How registries are asked: digests, locks, mirrors, and which source comes first."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from py_portable import images
from py_portable.base.capture import Captured
from py_portable.base.process import Outcome, require, run
from py_portable.engines import ids
from py_portable.errors import ConfigError, MachineError, PortableError
from py_portable.images import ImageUnavailable, Request, SourceUnusable, root
from py_portable.images.from_registry import RegistrySource, puller
from py_portable.images.registry import aliases, pull
from py_portable.images.registry.image_manifest import ImageConfig, here
from py_portable.images.registry.pull import Content, Pull
from py_portable.images.registry.reference import parse
from py_portable.store import Store

resolving = sys.modules["py_portable.images.find"]
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
NAME = "r.example/team/app:1"


class Remote:
    """Stands for a registry and the tool that asks it: `means` is what its tag stands for."""

    name = "stand-in"

    def __init__(self) -> None:
        self.means = ONE
        self.asked: list[str] = []
        self.failure: PortableError | None = None

    def __call__(self) -> Remote:
        return self

    def digest(self, wanted: Pull) -> str:
        self.asked.append(str(wanted.reference))
        if self.failure:
            raise self.failure
        return self.means

    def fetch(self, wanted: Pull, digest: str, room: Path, log: Path) -> Content:
        self.asked.append(str(wanted.reference.pinned(digest)))
        (room / "blob").write_text("half")
        if self.failure:
            raise self.failure
        return Content(ImageConfig("amd64", "", {"PATH": "/opt/bin"}), ())


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Remote:
    def unpack(layers: object, target: Path, **_: Any) -> None:
        (target / "etc").mkdir()
        (target / "etc/os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")

    monkeypatch.setattr(root, "unpack", unpack)
    monkeypatch.setattr(ids, "available", lambda: True)
    monkeypatch.delenv("PY_PORTABLE_MIRRORS", raising=False)
    return Remote()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def get(remote: Remote, store: Store, name: str = NAME, **wishes: Any) -> images.Image:
    return RegistrySource(remote).get(Request(name, **wishes), store, ())


def test_a_tag_becomes_a_digest_once(remote: Remote, store: Store) -> None:
    first = get(remote, store)
    assert (first.identity, first.origin, first.source) == (ONE, ONE, "registry")
    assert (first.suite, first.glibc, first.env) == ("bookworm", None, {"PATH": "/opt/bin"})
    remote.means = TWO
    assert get(remote, store) == first
    assert remote.asked == [NAME, f"r.example/team/app@{ONE}"]
    assert get(remote, store, fresh=True).identity == TWO
    assert get(remote, store).identity == TWO


def test_two_names_of_one_digest_share_a_root(remote: Remote, store: Store) -> None:
    first = get(remote, store)
    other = get(remote, store, f"elsewhere.example/x@{ONE}")
    assert other.root == first.root and other.name != first.name
    assert len(remote.asked) == 2


def test_the_lock_pins_a_tag(remote: Remote, store: Store) -> None:
    remote.means = TWO
    found = get(remote, store, locked_origin=ONE, locked_identity=ONE)
    assert (found.identity, found.drifted_from) == (ONE, None)
    assert remote.asked == [f"r.example/team/app@{ONE}"]
    assert get(remote, store, locked_origin=ONE).root == found.root
    assert len(remote.asked) == 1


def test_a_digest_in_the_name_is_stronger_than_the_lock(remote: Remote, store: Store) -> None:
    found = get(remote, store, f"r.example/team/app@{TWO}", locked_origin=ONE, locked_identity=ONE)
    assert (found.identity, found.drifted_from) == (TWO, ONE)


def test_another_image_than_the_locked_one_is_drift(remote: Remote, store: Store) -> None:
    assert get(remote, store, locked_identity=TWO).drifted_from == TWO


def test_an_origin_that_is_no_digest_is_the_locks_fault(remote: Remote, store: Store) -> None:
    with pytest.raises(ConfigError, match="not a digest"):
        get(remote, store, locked_origin="latest")


def test_a_mirror_is_asked_and_leaves_no_trace(remote: Remote, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PY_PORTABLE_MIRRORS", "r.example/=mirror.example:5000/r/")
    mirrored = get(remote, store)
    assert remote.asked == ["mirror.example:5000/r/team/app:1", f"mirror.example:5000/r/team/app@{ONE}"]
    assert "mirror.example" not in repr(mirrored)
    files = [path for path in store.root.rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"mirror.example" in path.read_bytes()]
    monkeypatch.delenv("PY_PORTABLE_MIRRORS")
    assert get(remote, store) == mirrored and len(remote.asked) == 2


def test_an_alias_is_asked_for_by_its_dated_tag(remote: Remote, store: Store) -> None:
    found = get(remote, store, "manylinux_2_28_x86_64")
    assert found.name == "manylinux_2_28_x86_64"
    assert remote.asked[0].startswith("quay.io/pypa/manylinux_2_28_x86_64:20")


@pytest.mark.parametrize("failure", [ImageUnavailable("x"), MachineError("x"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing_that_is_used(failure: Any, remote: Remote, store: Store) -> None:
    remote.means = TWO
    with pytest.raises(type(failure)):
        remote.failure = failure
        get(remote, store, f"r.example/x@{ONE}")
    assert store.get(root.key(ONE, here())) is None
    assert not [path for path in (store.root / "tmp").iterdir() if path.is_dir()]
    remote.failure = None
    assert get(remote, store, f"r.example/x@{ONE}").identity == ONE


def test_the_architecture_is_part_of_a_roots_key() -> None:
    keys = {root.key(ONE, here(machine)) for machine in ("x86_64", "aarch64", "armv7l", "armv6l")}
    assert len(keys) == 4


def test_logins_and_archives_are_no_references() -> None:
    source = RegistrySource()
    assert source.claims("ubuntu:20.04") and source.claims("manylinux2014")
    assert not source.claims("me:secret@quay.io/x") and not source.claims("oci-archive:x.tar")


# --- which source is asked


class Fixed:
    """A source that claims everything and does one thing."""

    def __init__(self, name: str, does: PortableError | images.Image) -> None:
        self.name, self.does, self.asked = name, does, 0

    def claims(self, name: str) -> bool:
        return True

    def get(self, request: Request, store: Store, prefix: tuple[str, ...]) -> images.Image:
        self.asked += 1
        if isinstance(self.does, PortableError):
            raise self.does
        return self.does


IMAGE = images.Image("debian:11", Path("/x"), ONE, "registry", "2.31", "bullseye")
CANNOT = SourceUnusable("mmdebstrap is not installed", hint="install mmdebstrap")


def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *sources: Fixed, **wishes: Any) -> images.Image:
    monkeypatch.setattr(resolving, "SOURCES", {source.name: source for source in sources})
    return images.resolve("debian:11", store=Store(tmp_path / "store"), prefix=(), **wishes)


def test_the_registry_stands_in_where_nothing_can_be_bootstrapped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert ask(monkeypatch, tmp_path, Fixed("bootstrap", CANNOT), Fixed("registry", IMAGE)) is IMAGE


@pytest.mark.parametrize("failure", [ImageUnavailable("gone"), MachineError("disk"), PortableError("step")])
def test_any_other_failure_is_final(failure: PortableError, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    second = Fixed("registry", IMAGE)
    with pytest.raises(type(failure)) as caught:
        ask(monkeypatch, tmp_path, Fixed("bootstrap", failure), second)
    assert caught.value is failure and second.asked == 0


@pytest.mark.parametrize(
    "second",
    [
        SourceUnusable("no skopeo", hint="install skopeo"),
        ImageUnavailable("debian:11: no skopeo", hint="install skopeo"),
    ],
)
def test_where_all_fail_each_says_why(second: PortableError, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(MachineError) as caught:
        ask(monkeypatch, tmp_path, Fixed("bootstrap", CANNOT), Fixed("registry", second))
    assert caught.value.what == (
        "debian:11 is not available here: bootstrap: mmdebstrap is not installed; registry: no skopeo"
    )
    assert caught.value.hint == "one of these is enough:\ninstall mmdebstrap\ninstall skopeo"


def test_what_the_lock_has_from_a_registry_is_asked_for_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second = Fixed("bootstrap", IMAGE), Fixed("registry", IMAGE)
    ask(monkeypatch, tmp_path, first, second, locked_origin=ONE)
    assert (first.asked, second.asked) == (0, 1)
    ask(monkeypatch, tmp_path, first, second, locked_origin=ONE, fresh=True)
    ask(monkeypatch, tmp_path, first, second)
    assert (first.asked, second.asked) == (2, 1)


def test_a_machine_without_mmdebstrap_or_apt_is_one_that_cannot_bootstrap(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ids, "available", lambda: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnusable, match="there is no apt"):
        images.BootstrapSource().get(Request("debian:11"), Store(tmp_path / "store"), ())


def test_without_a_range_of_ids_the_next_source_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ids, "available", lambda: False)
    monkeypatch.setattr(ids, "detect", lambda: ids.Ids("none", "no range", "give one"))
    with pytest.raises(SourceUnusable, match="cannot be bootstrapped: no range"):
        images.BootstrapSource().get(Request("debian:11"), Store(tmp_path / "store"), ())


def test_debian_has_a_public_address() -> None:
    for name, address in {
        "debian:11": "docker.io/library/debian:11",
        "debian:bookworm": "docker.io/library/debian:12",
        # It has no number there yet.
        "debian:14": "docker.io/library/debian:forky",
        "debian:12-slim": "debian:12-slim",
        "quay.io/own/debian:12": "quay.io/own/debian:12",
        f"debian@sha256:{'a' * 64}": f"debian@sha256:{'a' * 64}",
    }.items():
        assert str(aliases.expand(parse(name))) == address


# --- which tool is used


def program(folder: Path, name: str, text: str = "exit 0") -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_skopeo_then_a_daemon_that_answers_then_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnusable, match="no skopeo") as caught:
        puller()
    assert "apt-get install skopeo" in str(caught.value.hint)
    program(tmp_path, "docker", "echo no daemon >&2; exit 1")
    with pytest.raises(SourceUnusable):
        puller()
    program(tmp_path, "podman", "exit 125")
    with pytest.raises(SourceUnusable):
        puller()
    program(tmp_path, "podman", """echo '{"version": {"Version": "4.3.1"}}'""")
    assert puller().name == "podman"
    program(tmp_path, "docker", """echo '{"ServerVersion": "20.10.24"}'""")
    assert puller().name == "docker"
    program(tmp_path, "skopeo")
    assert puller().name == "skopeo"


# --- what went wrong


def outcome(text: str, **changes: Any) -> Outcome:
    said = Captured(text.encode(), b"", len(text.encode()))
    told: dict[str, Any] = {"status": 1, "timed_out": False, "stopped": None, **changes}
    return Outcome(("skopeo",), seconds=1.0, stdout=Captured(b"", b"", 0), stderr=said, **told)


@pytest.mark.parametrize(
    ("text", "error", "what"),
    [
        ("reading manifest 1 in r: unauthorized: authentication required", ImageUnavailable, "not logged in"),
        ("pull access denied for x, repository does not exist or may require 'docker login'", ImageUnavailable, "not logged in"),
        ("unable to retrieve auth token: invalid username/password: unauthorized: no", ImageUnavailable, "not logged in"),
        ("Error response from daemon: Get https://r/v2/: no basic auth credentials", ImageUnavailable, "not logged in"),
        ("reading manifest 2 in r: manifest unknown: manifest unknown", ImageUnavailable, "no such tag or digest"),
        ("reading manifest 2 in r: name unknown: repository name not known", ImageUnavailable, "no such repository"),
        ("Error fetching blob: invalid status code from registry 404 (Not Found)", ImageUnavailable, "no such tag or digest"),
        ("dial tcp: lookup x on 1.1.1.1:53: no such host", ImageUnavailable, "unknown host"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", ImageUnavailable, "refuses connections"),
        ('Get "https://r/v2/": x509: certificate signed by unknown authority', MachineError, "not trusted here"),
        ("x509: certificate has expired or is not yet valid", ImageUnavailable, "certificate is not valid"),
        ("http: server gave HTTP response to HTTPS client", MachineError, "has no TLS"),
        ("toomanyrequests: You have reached your pull rate limit", ImageUnavailable, "rate limit"),
        ("invalid status code from registry 429 (Too Many Requests)", ImageUnavailable, "rate limit"),
        ("Digest did not match, expected sha256:1, got sha256:2", ImageUnavailable, "wrong digest"),
        ("writing blob: happened during read: unexpected EOF", ImageUnavailable, "incomplete"),
        ("write /x: no space left on device", MachineError, "the disk is full"),
        ("received unexpected HTTP status: 500 Internal Server Error", ImageUnavailable, "an internal error"),
        ("invalid status code from registry 503 (Service Unavailable)", ImageUnavailable, "an internal error"),
        ("open /etc/containers/policy.json: no such file or directory", MachineError, "policy"),
        ("Cannot connect to the Docker daemon at unix:///x", MachineError, "daemon cannot be reached"),
        ("permission denied while trying to connect to unix:///var/run/docker.sock", MachineError, "daemon cannot be reached"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", ImageUnavailable, "architecture"),
        ("net/http: TLS handshake timeout", ImageUnavailable, "cannot be reached"),
        ("something nobody thought of", ImageUnavailable, "skopeo could not fetch it (exit status 1)"),
    ],
)  # fmt: skip
def test_causes_are_named(text: str, error: type[PortableError], what: str) -> None:
    wanted = Pull(NAME, parse(NAME), here())
    form = f'time="x" level=warning msg="denied"\ntime="x" level=fatal msg="{text}"'.replace('"https', '\\"https')
    for shown in (text, form.replace('v2/":', 'v2/\\":')):
        problem = pull.failure(wanted, outcome(shown), limit=60)
        assert type(problem) is error
        assert problem.what.startswith(f"{NAME}: ") and what in problem.what
        assert problem.hint and "{host}" not in problem.hint


def test_a_name_is_not_taken_for_a_status() -> None:
    name = "r.example:503/denied/unauthorized:x509"
    text = f'Error parsing image name "docker://{name}": pinging registry r.example:503: dial tcp 1.1.1.1:404: connection refused'
    problem = pull.failure(Pull(name, parse(name), here()), outcome(text), limit=60)
    assert problem.what == f"{name}: the registry refuses connections"
    text = "reading manifest unauthorized in r.example:503/denied: manifest unknown"
    wanted = Pull("x", parse("r.example:503/denied:unauthorized"), here())
    assert "no such tag" in pull.failure(wanted, outcome(text), limit=60).what


def test_a_mirror_stands_in_no_reason() -> None:
    wanted = Pull(NAME, parse("mirror.example/team/app:1"), here())
    for shown in (
        outcome("denied: mirror.example"),
        outcome("what?"),
        outcome("", timed_out=True),
        outcome("", stopped="it stalls"),
    ):
        problem = pull.failure(wanted, shown, limit=60)
        assert "mirror" not in problem.what
    problem = pull.failure(wanted, outcome("unauthorized"), limit=60)
    assert "docker login mirror.example" in str(problem.hint) and "requested: mirror.example/team/app" in str(
        problem.hint
    )


def test_a_login_in_what_a_tool_says_is_hidden() -> None:
    problem = pull.failure(Pull(NAME, parse(NAME), here()), outcome('Get "https://me:secret@r/v2/": eof'), limit=1)
    assert "secret" not in problem.render()


def test_time_limits_are_named() -> None:
    wanted = Pull(NAME, parse(NAME), here())
    assert pull.failure(wanted, outcome("", timed_out=True), limit=60).what == (
        f"{NAME}: the registry did not answer within 60 s"
    )
    assert pull.failure(wanted, outcome("", stopped="it stalls"), limit=60).what == f"{NAME}: it stalls"
    assert "rate limit" in pull.failure(wanted, outcome("toomanyrequests", timed_out=True), limit=60).what


# --- the watchdog


def test_a_transfer_has_to_grow_and_not_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(pull.time, "monotonic", lambda: now)
    look = pull.growth(tmp_path, 100, idle=30)
    assert look() is None
    now = 29
    assert look() is None
    (tmp_path / "blob").write_bytes(bytes(60))
    now = 40
    assert look() is None
    now = 71
    assert look() == "the registry stopped sending: nothing was received for 30 s"
    (tmp_path / "blob").write_bytes(bytes(101))
    assert "more than the 100 bytes" in str(look())


def test_a_watched_command_is_ended_with_all_it_started(tmp_path: Path) -> None:
    done = run(["sh", "-c", "sleep 600 & echo $!; sleep 600"], watch=lambda: "seen enough", timeout=60)
    assert (done.ok, done.timed_out, done.stopped) == (False, False, "seen enough")
    assert done.seconds < 30
    assert not Path(f"/proc/{done.stdout.text.strip()}/exe").exists()
    with pytest.raises(PortableError, match="was ended: seen enough"):
        require(done, what="it")


def test_a_command_that_ends_by_itself_is_not_stopped() -> None:
    done = run(["sh", "-c", "sleep 1.5; exit 3"], watch=lambda: None)
    assert (done.status, done.stopped) == (3, None)
