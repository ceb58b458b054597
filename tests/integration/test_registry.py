"""Images from a real registry with TLS and a login, from one that misbehaves, and from archives."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_portable.engines.engine import Job
from py_portable.errors import MachineError, PortableError
from py_portable.images import Image, ImageUnavailable, resolve
from py_portable.images.registry import pull, skopeo
from py_portable.store import Store, default_root
from tests.integration.conftest import bubblewrap, portable
from tests.integration.registry import (
    PASSWORD,
    USER,
    Authority,
    Fault,
    Faulty,
    Layout,
    Registry,
    root_layer,
    tar_layer,
)

pytestmark = pytest.mark.integration

LIMIT_SECONDS = 20.0
"""The test's own limit for an error to be told; the source's limits are set far below."""


@pytest.fixture(scope="module")
def debian() -> Image:
    return resolve("debian:12", store=Store(default_root(os.environ)))


@pytest.fixture(scope="module")
def layers(debian: Image) -> list[bytes]:
    """A Debian in three layers: the second adds and the third takes away."""
    second = tar_layer({"opt/tool/": "", "opt/tool/bin/hello": "#!/bin/sh\necho hello from $MARK\n", "opt/gone": "x"})
    return [root_layer(debian.root), second, tar_layer({"opt/.wh.gone": ""})]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, layers: list[bytes]) -> Iterator[Registry]:
    """One with `team/app:1` in it."""
    folder = tmp_path_factory.mktemp("registry")
    with Registry(folder / "registry") as running:
        env = ["PATH=/opt/tool/bin:/usr/bin:/bin", "MARK=the image"]
        running.image("team/app:1", layers, folder / "app", env=env)
        yield running


@pytest.fixture
def logged_in(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    become(monkeypatch, registry.environment())
    return registry


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def become(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "PY_PORTABLE_MIRRORS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def digest_in(registry: Registry, name: str) -> str:
    """What the registry itself says a name stands for."""
    told = subprocess.run(
        ["skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{registry.host}/{name}"],
        env={**os.environ, **registry.environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.strip()


def start(image: Image, *argv: str) -> str:
    job = Job("build", image.root, argv, image.env)
    done = bubblewrap().run(job, timeout=60)
    assert done.ok, done.stderr.text
    return done.stdout.text


def refusal(name: str, store: Store, **wishes: str) -> tuple[PortableError, float]:
    """The error and the seconds it took; nothing of the image may be left that could be used."""
    started = time.monotonic()
    with pytest.raises(PortableError) as caught:
        resolve(name, store=store, **wishes)  # type: ignore[arg-type]
    took = time.monotonic() - started
    for folder in ("objects", "tmp"):
        assert not [path for path in (store.root / folder).glob("*") if path.is_dir()]
    return caught.value, took


# --- what works


def test_by_tag_and_by_digest_into_the_store_and_started(logged_in: Registry, store: Store, debian: Image) -> None:
    name = f"{logged_in.host}/team/app"
    image = resolve(f"{name}:1", store=store)
    assert (image.source, image.glibc, image.suite) == ("registry", debian.glibc, debian.suite)
    assert image.identity == image.origin == digest_in(logged_in, "team/app:1")
    assert not (image.root / "opt/gone").exists()
    assert start(image, "/bin/sh", "-c", "hello") == "hello from the image\n"
    other = resolve(f"{name}@{image.origin}", store=store)
    assert other.root == image.root


def test_what_is_in_the_store_asks_no_network(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    with Registry(tmp_path / "registry", authority=registry.authority) as own:
        layer = [tar_layer({"bin/x": "x"})]
        digest = own.image("x:1", layer, tmp_path / "x")
        become(monkeypatch, own.environment())
        first = resolve(f"{own.host}/x:1", store=store)
        assert first.identity == digest
    monkeypatch.setenv("PATH", "/nonexistent")
    for wishes in ({}, {"locked_origin": digest, "locked_identity": digest}):
        assert resolve(f"{own.host}/x:1", store=store, prefix=(), **wishes) == first  # type: ignore[arg-type]
    assert resolve(f"{own.host}/x@{digest}", store=store, prefix=()).root == first.root


def test_a_moved_tag_stays_what_the_lock_says(logged_in: Registry, store: Store, tmp_path: Path) -> None:
    name = f"{logged_in.host}/moving:1"
    old = logged_in.image("moving:1", [tar_layer({"version": "old"})], tmp_path / "old")
    new = logged_in.image("moving:1", [tar_layer({"version": "new"})], tmp_path / "new")
    locked = resolve(name, store=store, locked_origin=old, locked_identity=old)
    assert (locked.identity, locked.drifted_from) == (old, None)
    assert (locked.root / "version").read_text() == "old"
    assert resolve(name, store=store, fresh=True).identity == new


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_an_index_gives_this_machines_image(form: str, logged_in: Registry, store: Store, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    mine = layout.add([tar_layer({"for": "me"})], tag=None, form=form)  # type: ignore[arg-type]
    other = layout.add([tar_layer({"for": "others"})], tag=None, architecture="s390x", form=form)  # type: ignore[arg-type]
    index = layout.index([other, mine], form=form)  # type: ignore[arg-type]
    assert logged_in.push(layout, f"both:{form}") == index["digest"]
    image = resolve(f"{logged_in.host}/both:{form}", store=store)
    assert image.identity == index["digest"]
    assert (image.root / "for").read_text() == "me"


def test_an_architecture_that_the_image_does_not_have(logged_in: Registry, store: Store, tmp_path: Path) -> None:
    layer = [tar_layer({"a": os.urandom(1 << 20)})]
    logged_in.image("foreign:1", layer, tmp_path / "foreign", architecture="s390x")
    problem, _ = refusal(f"{logged_in.host}/foreign:1", store)
    assert isinstance(problem, ImageUnavailable)
    assert "no image for linux/" in problem.what and "there are: linux/s390x" in problem.what


def test_without_tls_and_login_where_the_machine_allows_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Registry(tmp_path / "plain", tls=False, login=False) as plain:
        digest = plain.image("x:1", [tar_layer({"a": "b"})], tmp_path / "x")
        become(monkeypatch, plain.environment())
        assert resolve(f"{plain.host}/x:1", store=store).identity == digest
        (Path(os.environ["HOME"]) / ".config/containers/registries.conf").unlink()
        problem, _ = refusal(f"{plain.host}/x:1", Store(tmp_path / "other"))
    assert isinstance(problem, MachineError)
    assert "the registry has no TLS" in problem.what and "insecure = true" in str(problem.hint)


def test_a_mirror(logged_in: Registry, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = logged_in.image("hub/library/tiny:2", [tar_layer({"a": "b"})], tmp_path / "x")
    monkeypatch.setenv("PY_PORTABLE_MIRRORS", f"docker.io/={logged_in.host}/hub/ quay.io/={logged_in.host}/quay/")
    image = resolve("tiny:2", store=store)
    assert (image.name, image.identity) == ("tiny:2", digest)
    problem, _ = refusal("manylinux_2_28", Store(tmp_path / "other"))
    assert problem.what == "manylinux_2_28: the registry has no such tag or digest"
    assert f"{logged_in.host}/quay/pypa/manylinux_2_28_" in str(problem.hint)


def test_debian_comes_from_the_registry_where_it_cannot_be_bootstrapped(
    logged_in: Registry, layers: list[bytes], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = logged_in.image("hub/library/debian:12", layers[:1], tmp_path / "debian")
    monkeypatch.setenv("PY_PORTABLE_MIRRORS", f"docker.io/={logged_in.host}/hub/")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for folder in ("/usr/bin", "/bin", "/usr/sbin"):
        for tool in Path(folder).iterdir():
            if not tool.name.startswith(("apt", "mmdebstrap")) and not (bin_folder / tool.name).is_symlink():
                (bin_folder / tool.name).symlink_to(tool)
    monkeypatch.setenv("PATH", str(bin_folder))
    image = resolve("debian:12", store=store)
    assert (image.source, image.origin, image.suite, image.glibc) == ("registry", digest, "bookworm", "2.36")
    (bin_folder / "skopeo").unlink()
    for name in ("docker", "podman"):
        (bin_folder / name).unlink(missing_ok=True)
    problem, _ = refusal("debian:12", Store(tmp_path / "other"))
    assert isinstance(problem, MachineError)
    assert (
        "bootstrap: there is no apt" in problem.what
        and "registry: images cannot be fetched from a registry here" in problem.what
    )


# --- archives


@pytest.mark.parametrize("kind", ["oci-archive", "oci", "docker-archive"])
def test_archives(kind: str, layers: list[bytes], store: Store, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    digest = layout.add(layers, env=["PATH=/usr/bin:/opt/tool/bin", "MARK=a file"])["digest"]
    if kind == "oci":
        name = f"oci:{layout.folder}"
    elif kind == "oci-archive":
        name = f"oci-archive:{layout.archive(tmp_path / 'x.tar')}"
    else:
        name = f"docker-archive:{tmp_path / 'x.tar'}:some/name:1"
        subprocess.run(["skopeo", "copy", "--quiet", f"oci:{layout.folder}:latest", name], check=True)
    image = resolve(name, store=store)
    assert (image.source, image.origin, image.suite) == ("archive", None, "bookworm")
    assert (image.identity == digest) == (kind != "docker-archive")
    assert start(image, "/bin/sh", "-c", "hello") == "hello from a file\n"
    if kind != "oci":
        (tmp_path / "x.tar").chmod(0o600)
        assert resolve(name, store=store).root == image.root
        (tmp_path / "x.tar").unlink()
        assert resolve(name, store=store, locked_identity=image.identity) == image
        with pytest.raises(ImageUnavailable, match="No such file"):
            resolve(name, store=store)


# --- what goes wrong


def test_logins_are_asked_for_and_never_told(
    registry: Registry, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{registry.host}/team/app:1"
    become(monkeypatch, registry.environment(login=False))
    problem, took = refusal(name, store)
    assert isinstance(problem, ImageUnavailable) and took < LIMIT_SECONDS
    assert "not logged in" in problem.what
    assert f"docker login {registry.host}" in str(problem.hint)
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\nexit 0\n")
    tool.chmod(0o755)
    become(monkeypatch, {**registry.environment(), "PY_PORTABLE_STORE": str(store.root)})
    ran = portable("prove", tool, "--image", name, cwd=tmp_path)
    assert ran.status == 0, ran.stderr
    missing = portable("prove", tool, "--image", f"{registry.host}/team/none:1", cwd=tmp_path)
    assert missing.status == 1 and "the registry has no such" in missing.stdout, missing
    secrets = [PASSWORD.encode(), registry.auth_file().read_bytes().split(b'"auth": "')[1].split(b'"')[0]]
    for text in (ran.stdout, ran.stderr, missing.stdout, missing.stderr, problem.render()):
        assert not [secret for secret in secrets if secret.decode() in text] and USER not in text
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            assert not [secret for secret in secrets if secret in data], path


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("{host}/team/app:none", "the registry has no such tag or digest"),
        ("{host}/team/none:1", "the registry has no such"),
        ("{host}/team/app@sha256:" + "0" * 64, "the registry has no such tag or digest"),
        ("no-such-host.invalid/x:1", "unknown host"),
        ("localhost:1/x:1", "the registry refuses connections"),
    ],
)
def test_what_is_not_there_is_named(name: str, what: str, logged_in: Registry, store: Store) -> None:
    problem, took = refusal(name.format(host=logged_in.host), store)
    assert isinstance(problem, ImageUnavailable) and took < LIMIT_SECONDS
    assert what in problem.what and problem.hint


def test_an_unknown_authority_is_this_machines_fault(
    registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(monkeypatch, registry.environment(trusted=False))
    problem, took = refusal(f"{registry.host}/team/app:1", store)
    assert isinstance(problem, MachineError) and took < LIMIT_SECONDS
    assert "not trusted here" in problem.what
    assert f"/etc/docker/certs.d/{registry.host}/ca.crt" in str(problem.hint)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    folder = tmp_path_factory.mktemp("faulty")
    layout = Layout(folder / "layout")
    layout.add([tar_layer({"bin/x": os.urandom(400_000)}), tar_layer({"etc/x": "x"})])
    authority = Authority(folder / "ca")
    with Faulty(layout, authority) as running:
        yield running


@pytest.fixture
def misbehaving(faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    assert faulty.authority
    (tmp_path / "home").mkdir()
    become(monkeypatch, {"HOME": str(tmp_path / "home"), "SSL_CERT_FILE": str(faulty.authority.certificate)})
    faulty.fault, faulty.only_blobs = None, False
    return faulty


def test_the_faulty_one_without_a_fault(misbehaving: Faulty, store: Store) -> None:
    assert resolve(f"{misbehaving.host}/x:1", store=store).identity == misbehaving.layout.entries[0]["digest"]


@pytest.mark.parametrize(
    ("fault", "blobs", "what"),
    [
        ("truncate", False, "a layer is incomplete"),
        ("drop", False, "a layer is incomplete"),
        ("wrong-bytes", False, "wrong digest"),
        ("wrong-manifest", False, "wrong digest"),
        ("stall", False, "the registry stopped sending: nothing was received for 3 s"),
        ("stall-manifest", False, "the registry did not answer within 4 s"),
        ("unauthorized", False, "not logged in"),
        ("denied", False, "not logged in"),
        ("missing", False, "no such tag or digest"),
        ("broken", False, "an internal error"),
        ("unauthorized", True, "not logged in"),
        ("missing", True, "no such tag or digest"),
        ("broken", True, "an internal error"),
    ],
)
def test_faults_are_named_and_nothing_is_used(
    fault: Fault, blobs: bool, what: str, misbehaving: Faulty, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch)
    digest = misbehaving.layout.entries[0]["digest"]
    misbehaving.fault, misbehaving.only_blobs = fault, blobs
    name = f"{misbehaving.host}/x@{digest}" if fault == "wrong-manifest" else f"{misbehaving.host}/x:1"
    problem, took = refusal(name, store)
    assert isinstance(problem, ImageUnavailable), problem
    assert problem.what.startswith(f"{name}: ") and what in problem.what
    assert problem.hint and took < LIMIT_SECONDS
    misbehaving.fault = None
    assert resolve(name, store=store).identity == digest


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits as short as a test can wait."""
    monkeypatch.setattr(skopeo, "IDLE_SECONDS", 3.0)
    monkeypatch.setattr(skopeo, "INSPECT_SECONDS", 4.0)


def test_a_rate_limit_is_named(misbehaving: Faulty, store: Store) -> None:
    misbehaving.fault = "too-many"
    problem, took = refusal(f"{misbehaving.host}/x:1", store)
    assert isinstance(problem, ImageUnavailable)
    # skopeo itself waits and tries again for half a minute before it says so.
    assert "rate limit" in problem.what and took < pull.INSPECT_SECONDS + LIMIT_SECONDS


@pytest.mark.parametrize("room", ["300k", "700k"])
def test_a_full_disk_is_named(room: str, misbehaving: Faulty, tmp_path: Path) -> None:
    """It is full while the layers are fetched, then while they are unpacked."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", small], check=True)
    try:
        problem, took = refusal(f"{misbehaving.host}/x:1", Store(small / "store"))
        assert isinstance(problem, MachineError) and took < LIMIT_SECONDS
        assert "disk is full" in problem.what or "No space left" in problem.what, problem
        assert problem.hint
    finally:
        # This process holds the store's leases for as long as it lives.
        subprocess.run(["umount", "--lazy", small], check=True)


# --- without skopeo


def test_docker_gets_it_where_there_is_no_skopeo(
    logged_in: Registry, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker: dict[str, str]
) -> None:
    for variable, value in docker.items():
        monkeypatch.setenv(variable, value)
    program = str(shutil.which("docker"))
    layers = [tar_layer({"a": "b", "gone": "x"}), tar_layer({".wh.gone": ""})]
    digest = logged_in.image("by/docker:1", layers, tmp_path / "x", env=["A=b"], form="docker")
    places = tmp_path / "bin"
    places.mkdir()
    (places / "docker").symlink_to(program)
    for name in ("unshare", "env"):
        (places / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(places))
    name = f"{logged_in.host}/by/docker:1"
    try:
        image = resolve(name, store=store)
        assert (image.identity, image.source, image.env) == (digest, "registry", {"A": "b"})
        assert sorted(path.name for path in image.root.iterdir()) == ["a"]
        missing, _ = refusal(f"{logged_in.host}/by/none:1", Store(tmp_path / "other"))
        assert isinstance(missing, ImageUnavailable) and "the registry has no such" in missing.what
        become(monkeypatch, logged_in.environment(login=False))
        denied, _ = refusal(f"{logged_in.host}/by/docker:2", Store(tmp_path / "third"))
        # The daemon does not trust the CA: on loopback it then tries without TLS, and says only how that ended.
        assert isinstance(denied, ImageUnavailable)
    finally:
        subprocess.run([program, "rmi", "--force", name, f"{logged_in.host}/by/docker@{digest}"], capture_output=True)
