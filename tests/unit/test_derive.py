"""What is added to an image: names, identities, what is missing, and what the machine tells an apt inside."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable import resources
from py_portable.errors import ConfigError, MachineError, PortableError, StepError
from py_portable.images import Image, ImageUnavailable, Request, failures, releases
from py_portable.images.adding import aptfiles
from py_portable.images.adding.additions import (
    Additions,
    find_manager,
    glibc_of,
    os_release,
    parse_installed,
    read_bounded,
)
from py_portable.images.adding.derive import derive
from py_portable.images.adding.normalise import FIXED
from py_portable.images.debian import apt, network
from py_portable.images.packages import optional_packages, programs, provided, system_packages
from py_portable.store import Store

BASE = "sha256:" + "1" * 64
MANAGERS = ("apt", "dnf", "zypper", "apk")


# --- what is asked for


@pytest.mark.parametrize(
    "name",
    ["", "-y", "--root=/", "a b", "a,b", "a/b", "a=1", "a*", "a\n", "../x", "é", "bash-", "@group", "a;b"],
)
def test_no_word_but_a_package_name_becomes_a_package(name: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of a package"):
        Additions(BASE, (name,))


@pytest.mark.parametrize("name", ["gcc-c++", "libstdc++6", "python3.11", "Mesa", "java-1.8.0-openjdk", "7zip"])
def test_names_of_packages_of_every_family(name: str) -> None:
    assert Additions(BASE, (name,)).packages == (name,)


def test_identity_depends_on_everything_it_is_made_of() -> None:
    libc = ("libc6", "2.36-9", "amd64")
    asked = Additions(BASE, ("jq",), ("compilers",), "true")
    first = asked.identity((libc,))
    assert first.startswith("sha256:") and len(first) == 71
    assert dataclasses.replace(asked, packages=("jq", "jq")).identity((libc,)) == first
    jq = ("jq", "1", "amd64")
    assert asked.identity((libc, jq)) == asked.identity((jq, libc))
    others = {
        dataclasses.replace(asked, base="sha256:" + "2" * 64).identity((libc,)),
        dataclasses.replace(asked, packages=("jq", "tar")).identity((libc,)),
        dataclasses.replace(asked, needs=()).identity((libc,)),
        dataclasses.replace(asked, before="false").identity((libc,)),
        dataclasses.replace(asked, before=None).identity((libc,)),
        asked.identity((libc, jq)),
        asked.identity((("libc6", "2.36-10", "amd64"),)),
        asked.identity((("libc6", "2.36-9", "i386"),)),
    }
    assert len(others | {first}) == 9


def test_nothing_asked_for_is_the_base(tmp_path: Path) -> None:
    image = Image("x:1", tmp_path, BASE, "registry", None, None)
    assert derive(image, Request("x:1"), Store(tmp_path / "store"), ()) is image
    assert not (tmp_path / "store").exists()


def test_without_an_engine_nothing_can_be_added(tmp_path: Path) -> None:
    image = Image("x:1", tmp_path, BASE, "registry", None, None)
    with pytest.raises(MachineError, match="only with an engine"):
        derive(image, Request("x:1", packages=("jq",)), Store(tmp_path / "store"), ())


# --- what the kit needs


def test_every_need_has_packages_for_every_manager() -> None:
    for need in ("compilers", "cpython"):
        for manager in MANAGERS:
            names = system_packages(manager, (need,))
            assert names and Additions(BASE, names)
            assert not set(names) & set(optional_packages(manager, (need,)))
    assert "ccache" in system_packages("apt", ("compilers",))
    assert optional_packages("dnf", ("compilers", "cpython")) == ("ccache",)
    assert optional_packages("apt", ("compilers",)) == ()


def test_compilers_stand_for_their_packages() -> None:
    for manager in MANAGERS:
        names = system_packages(manager, ("compilers",))
        assert all(provided(name, {"cc", "g++", "make", "ccache"}) for name in names)
        assert all(provided(name, {"gcc", "g++", "make", "ccache"}) for name in names)
        assert not all(provided(name, {"gcc", "make", "ccache"}) for name in names)
    assert not provided("zlib-devel", {"gcc", "g++", "make"})
    assert set(programs()) == {"cc", "gcc", "g++", "make", "ccache"}


def test_every_package_that_programs_stand_for_is_one_that_is_needed() -> None:
    table = tomllib.loads(resources.path("packages.toml").read_text())
    known = {name for need in ("compilers", "cpython") for names in table[need].values() for name in names}
    assert set(table["programs"]) <= known


# --- looking at an image


@pytest.mark.parametrize(
    ("programs", "manager"),
    [
        ((), "none"),
        (("usr/bin/apt-get", "usr/bin/dnf"), "apt"),
        (("usr/bin/microdnf",), "dnf"),
        (("usr/bin/yum",), "dnf"),
        (("usr/bin/zypper", "usr/bin/dnf"), "zypper"),
        (("sbin/apk",), "apk"),
    ],
)
def test_the_manager_is_what_the_image_has(tmp_path: Path, programs: tuple[str, ...], manager: str) -> None:
    for name in programs:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_manager(tmp_path) == manager


def test_links_of_an_image_lead_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").symlink_to("../../../../../../../etc/os-release")
    (tmp_path / "usr").symlink_to("/usr")
    assert os_release(tmp_path) == {}
    assert find_manager(tmp_path) == "none"
    link = tmp_path / "link"
    link.symlink_to(__file__)
    assert read_bounded(link, 100) == b"" and read_bounded(tmp_path, 100) == b""
    assert read_bounded(Path(__file__), 3) == b'"""'


def test_the_release_is_read_through_the_image_s_own_link(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "etc/os-release").symlink_to("/usr/lib/os-release")
    (tmp_path / "usr/lib/os-release").write_text('ID=debian\nVERSION_ID="12"\n# x\n')
    assert os_release(tmp_path) == {"ID": "debian", "VERSION_ID": "12"}


def test_lists_of_every_manager() -> None:
    dpkg = "ii \tlibc6\t2.36-9\tamd64\nrc \tgone\t1\tamd64\nii \tjq\t1.6\tamd64\n"
    assert parse_installed(dpkg) == (("jq", "1.6", "amd64"), ("libc6", "2.36-9", "amd64"))
    rpm = "ii\tglibc\t2.28-251.el8\tx86_64\nii\tbind\t32:9.11-1\tx86_64\nii\tglibc\t2.28-251.el8\ti686\n"
    assert parse_installed(rpm)[0] == ("bind", "32:9.11-1", "x86_64") and len(parse_installed(rpm)) == 3
    apk = "P\tmusl\nV\t1.2.5-r0\nA\tx86_64\nP\tjq\nV\t1.7\nA\tx86_64\n"
    assert parse_installed(apk) == (("jq", "1.7", "x86_64"), ("musl", "1.2.5-r0", "x86_64"))
    assert [glibc_of(parse_installed(text)) for text in (dpkg, rpm, apk)] == ["2.36", "2.28", None]


@given(st.text())
def test_any_text_is_a_list_of_something(text: str) -> None:
    for row in parse_installed(text):
        assert len(row) == 3
    assert glibc_of((("glibc", text, ""),)) is None or text[0].isdigit()


# --- what the machine tells


def setup_with(tmp_path: Path) -> apt.AptSetup:
    for name, text in {
        "key.asc": "KEY",
        "cert": "CERT",
        "own.pem": "OWN",
        "auth": "machine m password hidden2",
    }.items():
        (tmp_path / name).write_text(text)
    return apt.AptSetup(
        apt.Mirror("http://me:hidden1@mirror.test/debian", f"{tmp_path}/key.asc"),
        None,
        (
            ("Acquire::http::Proxy", "http://you:hidden3@proxy.test:3128"),
            ("Acquire::https::CAInfo", f"{tmp_path}/own.pem"),
            ("Acquire::https::mirror.test::SslCert", f"{tmp_path}/cert"),
            ("Acquire::http::Proxy-Auto-Detect", "/usr/bin/detect"),
        ),
        (("Dir::Etc::netrc", f"{tmp_path}/auth"),),
    )


def test_apt_inside_names_no_path_of_the_machine(tmp_path: Path) -> None:
    made = aptfiles.files(setup_with(tmp_path), releases()["12"], "BUNDLE")
    told = b"".join(made[name] for name in ("apt.conf", "sources.list")).decode()
    assert str(tmp_path) not in told and "detect" not in told and "/usr/share/keyrings" not in told
    assert 'Acquire::https::CAInfo "/kit/ca.crt";' in told and "own.pem" not in told
    assert b"machine m password hidden2" in made["auth.conf"]
    assert "http://me:hidden1@mirror.test/debian bookworm-updates main" in told
    named = {word.removeprefix("/kit/") for word in told.replace('"', " ").replace(",", " ").split() if "/kit/" in word}
    assert {name.rpartition("/kit/")[2].rstrip("];") for name in named} - {"ca.crt"} <= set(made)
    assert b"KEY" in made.values() and b"CERT" in made.values() and b"OWN" not in made.values()


def test_an_image_that_the_machine_does_not_serve_keeps_its_sources(tmp_path: Path) -> None:
    made = aptfiles.files(setup_with(tmp_path), None, None)
    assert "sources.list" not in made and "auth.conf" not in made
    assert b"proxy.test" in made["apt.conf"]
    local = apt.AptSetup(apt.Mirror("file:/srv/debian"))
    assert "sources.list" not in aptfiles.files(local, releases()["12"], None)
    assert aptfiles.files(apt.AptSetup(), releases()["12"], None) == {"apt.conf": b""}


def test_an_expiring_suite_is_not_asked_for_its_date(tmp_path: Path) -> None:
    made = aptfiles.files(setup_with(tmp_path), releases()["14"], None)
    assert b'Acquire::Check-Valid-Until "false";' in made["apt.conf"]


def test_proxies_travel_and_are_not_seen(tmp_path: Path) -> None:
    environ = {
        "http_proxy": "http://you:pass@proxy.test:3128/",
        "NO_PROXY": "localhost",
        "HTTPS_PROXY": "other.test:1",
        "HOME": "x",
    }
    assert set(network.proxies(environ)) == {"http_proxy", "NO_PROXY", "HTTPS_PROXY"}
    hidden = network.secrets(environ, setup_with(tmp_path))
    text = "could not connect to proxy.test:3128 via other.test:1; http://a:b@mirror.test/x; localhost"
    assert network.cleaned(text, hidden) == "could not connect to *** via ***; http://***@mirror.test/x; localhost"
    log = tmp_path / "log"
    log.write_text(text)
    network.scrub(log, hidden)
    assert "proxy.test" not in log.read_text()
    network.scrub(tmp_path / "none", hidden)


def test_the_fixed_files_are_those_of_a_bootstrapped_root() -> None:
    hook = resources.path("bootstrap/finish.sh").read_text()
    for text in FIXED.values():
        assert text.decode().encode("unicode_escape").decode().removesuffix("\\n") in hook


# --- causes of failure


@pytest.mark.parametrize(
    ("log", "kind", "said"),
    [
        ("Error: Unable to find a match: libpqdevel", StepError, "x:1 has no package libpqdevel"),
        ("No match for argument: libpqdevel", StepError, "x:1 has no package libpqdevel"),
        ("error: No package matches 'libpqdevel'", StepError, "x:1 has no package libpqdevel"),
        ("No package libpqdevel available.", StepError, "x:1 has no package libpqdevel"),
        ("No provider of 'libpqdevel' found.", StepError, "x:1 has no package libpqdevel"),
        ("ERROR: unable to select packages:\n  libpqdevel (no such package):\n", StepError, "has no package libpqdevel"),
        ("Status code: 404 for x\nError: Failed to download metadata for repo 'appstream'", failures.NotServed, "does not have"),
        ("Curl error (60): SSL peer certificate", MachineError, "certificate is not trusted"),
        ("Curl error (28): Timeout was reached for http://a:b@m.test/", ImageUnavailable, "reached: Curl"),
        ("Timeout exceeded when accessing 'http://m.test/'", ImageUnavailable, "cannot be reached"),
        ("Signature verification failed for file 'repomd.xml'", MachineError, "signature"),
        ("ERROR: x: UNTRUSTED signature", MachineError, "signature"),
        (
            "WARNING: http://m.test: DNS: transient error (try again later)\n  jq (no such package):",
            ImageUnavailable,
            "cannot be reached",
        ),
        ("W: Failed: Could not resolve 'm.test'\nE: Unable to locate package jq", ImageUnavailable, "reached"),
        ("tar: write error: No space left on device", MachineError, "the disk is full"),
        ("nothing provides libx needed by jq", StepError, "cannot be installed together"),
        ("something new", StepError, "adding packages to x:1 failed"),
    ],
)  # fmt: skip
def test_causes(log: str, kind: type[PortableError], said: str) -> None:
    found = failures.explain(log, suite="x:1", doing="adding packages to x:1", names_first=False)
    assert found.error is kind and said in found.what
    assert "a:b@" not in found.what
