"""Containers: one lock and one set of images on every engine, and nothing left of a container whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.engines import committed, daemon, owner, static_helpers
from py_portable.engines.bubblewrap import Bubblewrap
from py_portable.engines.containers import Containers
from py_portable.engines.engine import Bind, Job
from py_portable.images import Request, resolve
from py_portable.images.adding.derive import derive
from py_portable.prove.accounts import Accounts
from py_portable.prove.canary import observe
from py_portable.prove.conditions import CONDITIONS
from py_portable.prove.start import start
from py_portable.store import Store, default_root
from tests.integration import docker_daemon
from tests.integration.conftest import MainJob, Project, Ran
from tests.integration.manylinux_like import Layout
from tests.integration.registry import PASSWORD, Registry, root_layer
from tests.integration.test_interpreters import app

pytestmark = pytest.mark.integration

ALIAS = "pypa/manylinux_2_28_x86_64:2026.10.26-1"
SYSTEM_CA = Path("/etc/ssl/certs/ca-certificates.crt")


# --- one lock, one image identity, the same verdicts


@dataclass(frozen=True)
class Pulled:
    """A project whose images come from a registry with TLS and a login."""

    project: Project
    variables: Mapping[str, str]
    registry: Registry

    def run(self, engine: str, *words: str, store: Path) -> Ran:
        env = {**self.variables, "PY_PORTABLE_STORE": str(store)}
        return self.project.run("portability", "--engine", engine, "-v", *words, env=env)


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory, manylinux_layout: Layout) -> Iterator[Pulled]:
    folder = tmp_path_factory.mktemp("pulled")
    debian = resolve("debian:12", store=Store(default_root(os.environ)))
    with Registry(folder / "registry") as registry:
        trusted = folder / "ca.pem"
        assert registry.authority
        trusted.write_bytes(SYSTEM_CA.read_bytes() + registry.authority.certificate.read_bytes())
        variables = {
            "REGISTRY_AUTH_FILE": str(registry.auth_file()),
            "SSL_CERT_FILE": str(trusted),
            "PY_PORTABLE_MIRRORS": f"quay.io/={registry.host}/quay/ registry.example/={registry.host}/",
        }
        words = ["skopeo", "copy", "--quiet", manylinux_layout.for_skopeo()]
        subprocess.run([*words, f"docker://{registry.host}/quay/{ALIAS}"], env={**os.environ, **variables}, check=True)
        digest = registry.image("os/debian:12", [root_layer(debian.root)], folder / "debian")
        app(folder / "app", pure=False)
        config = {
            "version": 1,
            "app": {"source": "app", "smoke": [{"args": [], "stdout": ["myextension works!"]}]},
            "python": "3.13",
            "interpreter": {"provider": "manylinux"},
            "baselines": {"default": {"image": "manylinux_2_28"}},
            "artifacts": ["wheelhouse"],
            "portability": {
                "images": ["registry.example/os/debian:12", f"registry.example/os/debian@{digest}"],
                "probes": ["read-only", "no-home"],
            },
        }
        (folder / "portable.yaml").write_text(json.dumps(config))
        yield Pulled(Project(folder), variables, registry)


def told(project: Project) -> dict[str, Any]:
    """What must not depend on the engine."""
    evidence = project.evidence
    return {
        "cells": {
            (c["artifact"], c["image"], c["condition"]): (c["verdict"], c["reason"], c["image_identity"])
            for c in evidence["cells"]
        },
        "artifacts": {a["name"]: (a["sha256"], a["measured_floor"]) for a in evidence["artifacts"]},
        "baselines": evidence["baselines"],
    }


def test_one_lock_gives_the_same_on_every_engine(
    pulled: Pulled, docker: dict[str, str], podman: dict[str, str], tmp_path: Path
) -> None:
    env = {**pulled.variables, "PY_PORTABLE_STORE": str(tmp_path / "bubblewrap")}
    locked = pulled.project.run("lock", "--engine", "bubblewrap", env=env)
    assert locked.status == 0, locked.stderr
    first = pulled.run("bubblewrap", "--locked", store=tmp_path / "bubblewrap")
    assert first.status == 0, first.stderr + first.stdout
    lock = (pulled.project.folder / "portable.lock").read_text()
    by_bubblewrap = told(pulled.project)
    assert len(by_bubblewrap["cells"]) == 6
    assert {verdict for verdict, *_ in by_bubblewrap["cells"].values()} == {"PASS"}
    origins = json.loads(lock)["origins"]
    assert set(origins) == {"manylinux_2_28", *(image for _, image, _ in by_bubblewrap["cells"])}
    assert all(digest.startswith("sha256:") for digest in origins.values())

    (pulled.project.folder / "portable.lock").rename(tmp_path / "lock")
    without = pulled.run("bubblewrap", "--locked", store=tmp_path / "bubblewrap")
    assert without.status == 2, "what is not locked is not taken from the network"
    shutil.copy(tmp_path / "lock", pulled.project.folder / "portable.lock")

    # Another store: everything is pulled, built and started anew, in containers.
    with_docker = Pulled(pulled.project, {**pulled.variables, **docker}, pulled.registry)
    second = with_docker.run("docker", "--locked", store=tmp_path / "docker")
    assert second.status == 0, second.stderr + second.stdout
    assert (pulled.project.folder / "portable.lock").read_text() == lock
    assert told(pulled.project) == by_bubblewrap
    assert pulled.project.evidence["host"]["engine"].startswith("docker ")
    assert pulled.project.evidence["host"]["isolation"] == "full"

    # Nothing new is fetched: the registry is not asked any more.
    pulled.registry.stop()
    try:
        with_podman = Pulled(pulled.project, {**pulled.variables, **podman}, pulled.registry)
        third = with_podman.run("podman", "--locked", store=tmp_path / "docker")
    finally:
        pulled.registry.start()
    assert third.status == 0, third.stderr + third.stdout
    assert told(pulled.project) == by_bubblewrap
    assert not any(cell["cached"] for cell in pulled.project.evidence["cells"])
    assert left(docker, "docker") == left(podman, "podman") == []
    held = subprocess.run(["grep", "-rlF", PASSWORD, tmp_path, pulled.project.folder / "dist"], capture_output=True)
    assert held.stdout == b""


@pytest.mark.nightly
def test_the_main_job_has_the_same_verdicts_in_docker(
    main_job: MainJob, docker: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(main_job.project.folder, folder, symlinks=True)
    project = Project(folder)
    before = told(project)
    done = project.run("portability", "--engine", "docker", env=docker)
    assert done.status == 0, done.stderr + done.stdout
    after = told(project)
    assert after == before
    assert "XFAIL" in {verdict for verdict, *_ in after["cells"].values()}


# --- nothing is left


def left(variables: Mapping[str, str], program: str) -> list[str]:
    done = subprocess.run(
        [program, "ps", "--all", "--filter", f"label={owner.LABEL}", "--format", "{{.Names}}"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture
def here(docker: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """This process reaches the daemon; afterwards there is no container and no volume."""
    for name, value in docker.items():
        monkeypatch.setenv(name, value)
    yield docker
    assert left(docker, "docker") == []
    volumes = subprocess.run(["docker", "volume", "ls", "--quiet"], capture_output=True, check=True)
    assert volumes.stdout == b""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cell-run and the canary."""
    folder = tmp_path_factory.mktemp("tools") / "helpers"
    static_helpers.put(folder)
    return folder


@pytest.fixture(scope="module")
def root() -> Path:
    return resolve("debian:12", store=Store(default_root(os.environ))).root


def wait_for(true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_container_of_a_dead_owner_is_swept_and_others_are_not(here: dict[str, str], tools: Path) -> None:
    engine = Containers("docker", tools)
    image = daemon.bring("docker", tools)
    dead = subprocess.run([sys.executable, "-c", "from py_portable.engines import owner; print(owner.mine())"], capture_output=True, text=True, check=True)  # fmt: skip
    elsewhere = dead.stdout.strip().replace("/", "0/", 1)
    names = {"dead": dead.stdout.strip(), "elsewhere": elsewhere, "mine": owner.mine()}
    for name, label in names.items():
        words = ["docker", "create", "--name", f"of-{name}", "--label", f"{owner.LABEL}={label}", image, "/canary"]
        subprocess.run(words, check=True, capture_output=True)
    kept = f"{daemon.KEPT_PREFIX}x"
    subprocess.run(["docker", "create", "--name", kept, "--label", f"{owner.LABEL}={names['dead']}", image, "/canary"], check=True, capture_output=True)  # fmt: skip
    try:
        engine.probe()
        assert sorted(left(here, "docker")) == sorted(["of-elsewhere", "of-mine", kept])
    finally:
        daemon.remove("docker", "of-dead", "of-elsewhere", "of-mine", kept)


def layers_of(variables: Mapping[str, str]) -> list[str]:
    words = ["docker", "image", "ls", "--format", "{{.Tag}}", committed.REPOSITORY]
    done = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_layer_goes_with_its_run_and_that_of_a_killed_one_with_the_next(
    here: dict[str, str], root: Path, tools: Path, tmp_path: Path
) -> None:
    engine = Containers("docker", tools)
    layer = tmp_path / "layer"
    layer.mkdir()
    job = Job("build", root, ("/bin/sh", "-c", "echo x >/opt/made"), root_access="throw-away", layer=layer)
    assert engine.run(job, timeout=60).ok
    argv = ["/bin/cat", "/opt/made"]
    seen = start(engine, root, CONDITIONS["plain"], argv, (), tools, 20, account=(), layers=(layer,))
    assert seen.stdout.text == "x\n" and len(layers_of(here)) == 2, "one more, with a home"
    engine.forget(layer)
    assert layers_of(here) == []
    code = "import sys; from tests.integration.test_containers import killed; killed(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, root, tools, layer], cwd=Path(__file__).parents[2])
    assert len(layers_of(here)) == 1
    engine.probe()
    assert layers_of(here) == []


def killed(root: str, tools: str, layer: str) -> None:
    job = Job("build", Path(root), ("/bin/true",), root_access="throw-away", layer=Path(layer))
    assert Containers("docker", Path(tools)).run(job, timeout=60).ok
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_layer_that_is_too_large_is_not_kept(here: dict[str, str], root: Path, tools: Path, tmp_path: Path) -> None:
    words = ("/bin/sh", "-c", "dd if=/dev/zero of=/opt/full bs=1M count=2100 2>/dev/null")
    ended = Containers("docker", tools).run(
        Job("build", root, words, root_access="throw-away", layer=tmp_path), timeout=120
    )
    assert (ended.status, ended.record) == (125, b"") and "no more than 2147483648 are kept" in ended.stderr.text
    assert layers_of(here) == []


DRIVER = """
import json, sys
from pathlib import Path
from py_portable.engines.engine import Job
from py_portable.engines.containers import Containers
root, tools, profile = sys.argv[1:]
job = Job(profile, Path(root), ("/bin/sh", "-c", "trap '' TERM INT HUP; sleep 1000 & sleep 1000"), uid=10001)
Containers("docker", Path(tools)).run(job, timeout=600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("profile", ["proof", "build"])
def test_a_container_ends_with_its_caller(
    here: dict[str, str], root: Path, tools: Path, profile: str, number: int
) -> None:
    words = [sys.executable, "-c", DRIVER, str(root), str(tools), profile]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as python:
        wait_for(lambda: len(running()) == 1)
        python.send_signal(number)
    # No next run is needed for that: cell-run hears that its caller has gone.
    wait_for(lambda: left(here, "docker") == [])


def running() -> list[str]:
    done = subprocess.run(
        ["docker", "ps", "--filter", f"label={owner.LABEL}", "--quiet"], capture_output=True, text=True
    )
    return done.stdout.split()


def test_the_time_limit_ends_the_container(here: dict[str, str], root: Path, tools: Path) -> None:
    seen = start(
        Containers("docker", tools), root, CONDITIONS["plain"], ["/bin/sleep", "1000"], (), tools, 0.5, account=()
    )
    assert seen.timed_out and seen.record and seen.record.limit
    assert running() == []


def test_what_is_kept_of_a_failure_can_be_looked_into(here: dict[str, str], root: Path, tools: Path) -> None:
    engine = Containers("docker", tools)
    script = "echo found >/var/tmp/trace; exit 3"
    job = Job("build", root, ("/bin/sh", "-c", script), root_access="throw-away", keep=True)
    ended = engine.run(job, timeout=60)
    assert ended.status == 3 and ended.kept
    names = left(here, "docker")
    try:
        assert len(names) == 1 and names[0].startswith(daemon.KEPT_PREFIX) and names[0] in ended.kept
        look = f"{ended.kept} -c 'cat /var/tmp/trace'".replace("-it ", "")
        shown = subprocess.run(["sh", "-c", look], capture_output=True, text=True)
        assert shown.stdout.splitlines()[-1] == "found", shown
        assert engine.run(Job("build", root, ("/bin/true",), keep=True), timeout=60).kept is None
        assert left(here, "docker") == names
    finally:
        daemon.remove("docker", *names)


# --- a daemon that shares no folder with the caller


@pytest.fixture(scope="module")
def apart() -> Iterator[dict[str, str]]:
    with docker_daemon.dockerd(apart=True) as variables:
        yield variables


def test_a_daemon_that_sees_no_file_of_the_caller(
    apart: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its /tmp is another: nothing below it can be bound."""
    for name, value in apart.items():
        monkeypatch.setenv(name, value)
    tools, place = tmp_path / "tools", tmp_path / "place"
    static_helpers.put(tools)
    place.mkdir()
    (place / "in").mkdir()
    (place / "in" / "told").write_text("from the caller")
    (place / "out").mkdir()
    store = Store(default_root(os.environ))
    root = resolve("debian:12", store=store).root
    engine = Containers("docker", tools)
    assert engine.probe().isolation == "full"
    accounts = Accounts(store, engine, tools)
    for name, condition in CONDITIONS.items():
        account = accounts.of(condition, root)
        assert observe(engine, root, condition, tools, account=account).violations == (), name
    binds = (Bind(place / "in", "/opt/some where/in"), Bind(place / "out", "/out", writable=True))
    script = "cat '/opt/some where/in/told' >/out/got; id -u >>/out/got; mkdir /out/more; ln -s got /out/more/link"
    ended = engine.run(Job("build", root, ("/bin/sh", "-c", script), binds=binds), timeout=60)
    assert ended.ok, ended.stderr.text
    assert (place / "out" / "got").read_text() == "from the caller0\n"
    assert (place / "out" / "more" / "link").is_symlink()
    for condition in ("plain", "read-only"):
        argv = ["/bin/cat", "/opt/some where/in/told"]
        seen = start(engine, root, CONDITIONS[condition], argv, binds[:1], tools, 20, account=())
        assert (seen.stdout.text, seen.trouble) == ("from the caller", None), seen
    layer = place / "layer"
    layer.mkdir()
    job = Job("build", root, ("/bin/sh", "-c", "cp /opt/in/told /opt/kept"), binds=(Bind(place / "in", "/opt/in"),))
    assert engine.run(replace(job, root_access="throw-away", layer=layer), timeout=60).ok
    for condition in ("plain", "read-only"):
        argv = ["/bin/cat", "/opt/kept"]
        seen = start(engine, root, CONDITIONS[condition], argv, (), tools, 20, account=(), layers=(layer,))
        assert (seen.stdout.text, seen.trouble) == ("from the caller", None), seen
    engine.forget(layer)
    assert layers_of(apart) == []
    assert left(apart, "docker") == []
    images = subprocess.run(["docker", "images", "--format", "{{.Tag}}"], capture_output=True, text=True).stdout
    assert not [tag for tag in images.split() if tag.startswith("py-portable-")]


# --- the daemon's own troubles


def test_a_daemon_that_is_not_there(main_job: MainJob, tmp_path: Path) -> None:
    done = main_job.project.run("portability", "--engine", "docker", env={"DOCKER_HOST": f"unix://{tmp_path}/none"})
    assert done.status == 3
    assert f"docker: the daemon does not answer at unix://{tmp_path}/none" in done.stderr
    assert "Traceback" not in done.stderr


def test_packages_are_added_to_an_image_in_docker(here: dict[str, str], tools: Path, tmp_path: Path) -> None:
    """What docker itself puts into a container is in no image that is made there."""
    bootstrapped = resolve("debian:12", store=Store(default_root(os.environ)))
    base = replace(bootstrapped, name="x/debian:12", source="registry", origin="sha256:" + "1" * 64, key=None)
    made = {}
    for engine in (Containers("docker", tools), Bubblewrap(tools)):
        request = Request("x/debian:12", packages=("hello",), before="echo made >/etc/made", engine=engine)
        made[engine.name] = derive(base, request, Store(tmp_path / engine.name), ())
    docker, bubblewrap = made["docker"], made["bubblewrap"]
    assert docker.identity == bubblewrap.identity
    seen = {n: sorted(str(p.relative_to(i.root)) for p in i.root.rglob("*")) for n, i in made.items()}
    assert seen["docker"] == seen["bubblewrap"]
    assert (docker.root / "etc/made").read_text() == "made\n"
