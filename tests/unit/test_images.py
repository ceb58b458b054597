"""Recipes, identities, causes of failure, and how the store is asked for images."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from py_portable import images, resources
from py_portable.engines.own_ids import Choice
from py_portable.errors import ConfigError, MachineError, PortableError, StepError
from py_portable.images import BootstrapSource, ImageUnavailable, Request, failures
from py_portable.images.debian import apt
from py_portable.images.debian.bootstrap import _PLACE, Bootstrapped, _end_processes, _reachable
from py_portable.images.debian.recipe import (
    EPOCH,
    HOOKS,
    BootstrapSpec,
    Package,
    glibc_of,
    identity,
    parse_packages,
    recipe,
)
from py_portable.store import Store

PLACE = Path("/place")
SETUP = apt.AptSetup(
    apt.Mirror("http://me:secret@mirror.test/debian"),
    apt.Mirror("http://mirror.test/debian-security"),
    (("Acquire::http::Proxy", "http://you:hidden@proxy.test"),),
)
LIBC: Package = ("libc6", "2.31-13+deb11u11", "a" * 64)


# --- recipes


@pytest.mark.parametrize("name", ["", "x", "-o", "--include", "a b", "a,b", "A", "a/b", "a=1", "a\n", "../x", "é"])
def test_no_word_but_a_package_name_becomes_a_package(name: str) -> None:
    with pytest.raises(ConfigError, match="not the name of a Debian package"):
        BootstrapSpec("bullseye", (name,))


@pytest.mark.parametrize("name", ["", "-x", "a/../b", "Bullseye", "a b"])
def test_no_word_but_a_suite_becomes_a_suite(name: str) -> None:
    with pytest.raises(ConfigError):
        BootstrapSpec(name)


@pytest.mark.parametrize("mode", ["root", "unshare"])
def test_the_mode_is_always_said(mode: Any) -> None:
    made = recipe(BootstrapSpec("bullseye"), SETUP, mode=mode, place=PLACE)
    assert f"--mode={mode}" in made.argv


def test_mirrors_logins_and_shell_text_stand_in_files_only() -> None:
    spec = BootstrapSpec("bullseye", ("zlib1g-dev", "g++", "zlib1g-dev"))
    made = recipe(spec, SETUP, mode="root", place=PLACE)
    line = " ".join(made.argv)
    for secret in ("mirror.test", "proxy.test", "secret", "hidden"):
        assert secret not in line
        assert secret not in repr(made)
    assert 'Acquire::http::Proxy "http://you:hidden@proxy.test";' in made.files["apt.conf"]
    assert "http://me:secret@mirror.test/debian bullseye-updates main" in made.files["sources.list"]
    assert "--include=g++,zlib1g-dev" in made.argv
    assert made.argv[-3:] == ("bullseye", "/place/root.tar", "/place/sources.list")


def test_a_place_with_odd_letters_stays_one_word() -> None:
    made = recipe(BootstrapSpec("trixie"), SETUP, mode="root", place=Path("/a b'c"))
    hooks = [word for word in made.argv if "finish.sh" in word]
    assert hooks == ["--customize-hook=sh '/a b'\"'\"'c/finish.sh' \"$1\""]


def test_without_a_mirror_of_the_machine_none_is_named() -> None:
    made = recipe(BootstrapSpec("trixie"), apt.AptSetup(), mode="root", place=PLACE)
    assert made.argv[-1] == "/place/root.tar"
    assert "sources.list" not in made.files


def test_an_expiring_suite_is_not_asked_for_its_date() -> None:
    made = recipe(BootstrapSpec("forky", check_valid_until=False), SETUP, mode="root", place=PLACE)
    assert 'Acquire::Check-Valid-Until "false";' in made.files["apt.conf"]


def test_the_last_hook_is_the_one_that_cleans() -> None:
    made = recipe(BootstrapSpec("trixie"), SETUP, mode="root", place=PLACE)
    hooks = [word for word in made.argv if "-hook=" in word]
    assert "finish.sh" in hooks[-1] and "download" in hooks[-2]


def test_hooks_name_no_host() -> None:
    for name in HOOKS:
        assert "://" not in resources.path(name).read_text()


# --- packages and identity

LISTED = f"""\
Installed: ii  libc6 2.31-13+deb11u11 amd64
Installed: rc  gone 1 amd64
Installed: ii  base-files 11.1 amd64
Package: libc6
Version: 2.31-13+deb11u11
Architecture: amd64
SHA256: {"a" * 64}
Package: base-files
Architecture: amd64
Version: 11.1
SHA256: {"b" * 64}
Package: libc6
Version: 2.31-13+deb11u11
Architecture: i386
SHA256: {"c" * 64}
"""


def test_packages_have_the_digest_of_their_own_architecture() -> None:
    packages, arch = parse_packages(LISTED)
    assert packages == (("base-files", "11.1", "b" * 64), LIBC)
    assert arch == "amd64"
    assert glibc_of(packages) == "2.31"


def test_the_last_of_two_lists_counts_with_the_digests_of_both() -> None:
    later = "Installed: ii  libc6 2.31-13+deb11u11 amd64\nInstalled: ii  jq 1.6 amd64\n"
    packages, _ = parse_packages(LISTED + later)
    assert packages == (("jq", "1.6", None), LIBC)


def test_a_list_without_libc_is_no_list() -> None:
    with pytest.raises(ValueError, match="libc6"):
        parse_packages("")


def test_identity_depends_on_everything_it_is_made_of() -> None:
    spec = BootstrapSpec("bullseye")
    base = identity(spec, (LIBC,), "amd64", "tool 1")
    assert base.startswith("sha256:") and len(base) == 71
    assert identity(BootstrapSpec("bullseye", timeout=1), (LIBC,), "amd64", "tool 1") == base
    others = {
        identity(dataclasses.replace(spec, suite="trixie"), (LIBC,), "amd64", "tool 1"),
        identity(dataclasses.replace(spec, epoch=1), (LIBC,), "amd64", "tool 1"),
        identity(spec, (LIBC,), "arm64", "tool 1"),
        identity(spec, (LIBC,), "amd64", "tool 2"),
        identity(spec, (("libc6", LIBC[1], "f" * 64),), "amd64", "tool 1"),
        identity(spec, (("libc6", "2.31-14", "a" * 64),), "amd64", "tool 1"),
    }
    assert len(others | {base}) == 7


def test_files_that_are_closed_to_others_are_copied_for_ids_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, int]] = []
    monkeypatch.setattr("os.chown", lambda path, uid, _: given.append((str(path), uid)))
    closed, place = tmp_path / "auth.conf.d", tmp_path / "place"
    closed.mkdir(mode=0o700)
    place.mkdir()
    (closed / "one.conf").write_text("machine mirror.test login me password hidden")
    proxy = ("Acquire::http::Proxy", "http://you:hidden@proxy.test")
    setup = apt.AptSetup(None, None, (proxy,), (("Dir::Etc::netrcparts", str(closed)),))
    own = Choice(Path("/helpers/own-ids"), 1879048192)
    made = _reachable(setup, place, own)
    ((name, copy),) = made.netrc
    assert made.settings == (proxy,) and name == "Dir::Etc::netrcparts"
    assert copy.startswith(f"{place}/") and (Path(copy) / "one.conf").stat().st_mode & 0o777 == 0o600
    assert {uid for _, uid in given} == {1879048192} and f"{copy}/one.conf" in {path for path, _ in given}
    assert _reachable(setup, place, Choice(Path("x"), reason="an ordinary user")) is setup


def test_roots_keep_the_identity_that_locks_name() -> None:
    """The hook that once ran `before` is gone, and what locks and stores hold of other images stays good."""
    assert BootstrapSpec("bullseye").told() == {
        "suite": "bullseye", "packages": [], "before": None, "epoch": EPOCH,
        "hooks": "6fc4bd2c43be654213a044652d05fff1b4e7c21fe4bcb1708b78a60122d490c2",
    }  # fmt: skip


# --- causes of failure


@pytest.mark.parametrize(
    ("log", "kind", "said"),
    [
        (
            "Err:1 http://m.test bullseye InRelease\n  Temporary failure resolving 'm.test'\nE: apt-get failed",
            ImageUnavailable,
            "the mirror cannot be reached: Temporary failure resolving 'm.test'",
        ),
        (
            "E: Failed to fetch http://a:b@m.test/x  Could not connect to m.test:80 (1.2.3.4)",
            ImageUnavailable,
            "Failed to fetch http://***@m.test/x",
        ),
        (
            "E: Release file for http://m.test/dists/forky/InRelease is expired (invalid since 3d).",
            ImageUnavailable,
            "expired",
        ),
        (
            "E: The repository 'http://m.test/debian buster Release' does not have a Release file.",
            failures.NotServed,
            "does not have this suite",
        ),
        (
            "W: GPG error: the following signatures couldn't be verified because the public key is not available:"
            " NO_PUBKEY 0E98404D386FA1D9\nE: The repository 'x' is not signed.",
            MachineError,
            "NO_PUBKEY",
        ),
        ("dpkg: error: failed to write: No space left on device", MachineError, "the disk is full"),
        ("newuidmap: uid range [0-1) -> [1-2) not allowed", MachineError, "no range of user ids"),
        (
            "E: unshare() failed: Operation not permitted",
            MachineError,
            "does not let a bootstrap make namespaces",
        ),
        (
            "E: server certificate verification failed. CAfile: none",
            MachineError,
            "certificate is not trusted",
        ),
        ("E: Unable to locate package libpqdev", StepError, "bullseye has no package libpqdev"),
        ("E: Package 'python-all' has no installation candidate", StepError, "no package python-all"),
        ("E: something new", StepError, "the bootstrap of bullseye failed"),
    ],
)
def test_causes(log: str, kind: type[PortableError], said: str) -> None:
    found = failures.explain(log, suite="bullseye", known_packages=lambda: ["libpq-dev", "libc6"])
    assert found.error is kind
    assert said in found.what
    assert "a:b@" not in found.what


def test_a_near_package_is_named() -> None:
    found = failures.explain(
        "E: Unable to locate package libpqdev", suite="trixie", known_packages=lambda: ["libpq-dev", "libc6"]
    )
    assert found.hint == "did you mean libpq-dev?"


# --- names


@pytest.mark.parametrize(
    ("name", "suite"),
    [
        ("debian:11", "bullseye"),
        ("debian:bookworm", "bookworm"),
        ("debian:13", "trixie"),
        ("debian:14", "forky"),
    ],
)
def test_names_of_debian(name: str, suite: str) -> None:
    release = images.find_release(name)
    assert release is not None and release.suite == suite


def test_forky_is_the_one_whose_date_is_not_looked_at() -> None:
    assert {r.number for r in images.releases().values() if not r.valid_until} == {"14"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("quay.io/x/y@sha256:00", "'quay.io/x/y@sha256:00' is not the name of an image: write after @ sha256: and 64"
         " lower-case hexadecimal digits"),
        ("../../etc", "'../../etc' is not the name of an image: '..' is not a host name"),
    ],
)  # fmt: skip
def test_what_is_no_name_says_why(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        images.resolve(name, store=Store(tmp_path / "store"))
    assert caught.value.what == reason
    assert not (tmp_path / "store").exists()


# --- the store


class Mirror:
    """Stands for a distribution that moves on: its state is the version of libc6."""

    def __init__(self, store: Path) -> None:
        self.version = "2.31-1"
        self.made = 0
        self.store = Store(store)
        self.source = BootstrapSource(apt.AptSetup, make=self.make)

    def make(self, spec: BootstrapSpec, into: Path, **_: object) -> Bootstrapped:
        self.made += 1
        (into / "root").mkdir()
        (into / "root" / "version").write_text(self.version)
        packages: tuple[Package, ...] = (
            ("libc6", self.version, None),
            *((name, "1", None) for name in spec.packages),
        )
        return Bootstrapped(into / "root", identity(spec, packages, "amd64", "t"), "2.31", packages, "amd64", "t", 0.1)

    def get(self, locked: str | None = None, **wishes: Any) -> images.Image:
        request = Request("debian:11", locked_identity=locked, **wishes)
        return self.source.get(request, self.store, ())


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "store")


def test_an_image_is_made_once(mirror: Mirror) -> None:
    first, second = mirror.get(), mirror.get()
    assert mirror.made == 1
    assert first == second
    assert (first.root / "version").read_text() == "2.31-1"
    assert first.packages == (("libc6", "2.31-1", None),)
    assert first.drifted_from is None


def test_other_packages_or_another_script_is_another_image(mirror: Mirror) -> None:
    assert mirror.get().root != mirror.get(packages=("zlib1g-dev",)).root and mirror.made == 2
    # It is run in the sandbox of builds, on top of the image without it.
    with pytest.raises(MachineError, match="can be added to debian:11 only with an engine"):
        mirror.get(before="true")
    assert mirror.made == 2


def test_the_locked_image_is_used_however_it_came_to_be_made(mirror: Mirror) -> None:
    made = mirror.get()
    mirror.version = "2.31-2"
    again = mirror.get(made.identity)
    assert again.identity == made.identity and again.drifted_from is None
    assert mirror.made == 1


@pytest.mark.parametrize("wishes", [{"packages": ("zlib1g-dev",)}])
def test_what_was_locked_for_another_recipe_is_not_used(mirror: Mirror, wishes: dict[str, Any]) -> None:
    old = mirror.get().identity
    for _ in range(2):
        found = mirror.get(old, **wishes)
        assert found.identity != old and found.drifted_from == old
        assert [name for name, *_ in found.packages][1:] == list(wishes.get("packages", ()))
    assert mirror.made == 2


def test_a_lost_image_that_can_be_made_again_is_no_drift(mirror: Mirror, tmp_path: Path) -> None:
    made = mirror.get()
    other = Mirror(tmp_path / "other")
    again = other.get(made.identity)
    assert again.identity == made.identity and again.drifted_from is None


def test_drift_is_told_each_time_and_made_once(mirror: Mirror, tmp_path: Path) -> None:
    old = mirror.get().identity
    later = Mirror(tmp_path / "later")
    later.version = "2.31-2"
    for _ in range(2):
        found = later.get(old)
        assert found.drifted_from == old
        assert found.identity != old
    assert later.made == 1
    relocked = later.get(found.identity)
    assert relocked.drifted_from is None and later.made == 1


def test_a_fresh_look_sees_what_is_new(mirror: Mirror) -> None:
    old = mirror.get()
    mirror.version = "2.31-2"
    new = mirror.get(fresh=True)
    assert new.identity != old.identity
    assert mirror.get().identity == new.identity
    assert mirror.get(old.identity).identity == old.identity
    assert mirror.made == 2


def test_a_fresh_look_at_an_unchanged_mirror_gives_the_same_root(mirror: Mirror) -> None:
    old = mirror.get()
    assert mirror.get(fresh=True).root == old.root
    assert mirror.made == 2


def test_names_that_lie_or_are_lost_cost_a_bootstrap_at_most(mirror: Mirror) -> None:
    first = mirror.get()
    stale = mirror.get(packages=("zlib1g-dev",))
    assert first.key and stale.key
    for path in mirror.store.cache("images").iterdir():
        path.write_text(stale.key)
    assert mirror.get(first.identity).identity == first.identity
    for path in mirror.store.cache("images").iterdir():
        path.write_text("nonsense\0" * 9)
    assert mirror.get(first.identity).identity == first.identity


def test_the_meta_of_an_entry_tells_the_image(mirror: Mirror) -> None:
    image = mirror.get()
    assert image.key
    entry = mirror.store.get(image.key)
    assert entry is not None
    meta: Mapping[str, Any] = json.loads(json.dumps(entry.meta))
    assert meta["suite"] == "bullseye" and meta["glibc"] == "2.31"
    assert meta["packages"] == [["libc6", "2.31-1", None]]


def test_what_runs_in_the_place_of_a_caller_that_is_gone_is_ended_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    places = [tmp_path / f"{_PLACE}{owner}-x" for owner in (ended.pid, os.getpid(), "nobody")]
    for place in (*places, tmp_path / "other"):
        place.mkdir()
    running = [subprocess.Popen(["sleep", "600"], cwd=place) for place in (*places, tmp_path / "other")]
    try:
        places[0].rmdir()
        _end_processes(tmp_path)
        assert running[0].wait(30) == -signal.SIGKILL
        assert [one.poll() for one in running[1:]] == [None] * 3
    finally:
        for one in running:
            one.kill()
            one.wait()
