"""Packages of dh-virtualenv: what one entry of the config stands for, and what its source says. Nothing is built."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.config import Config, ImageSpec
from py_portable.errors import ConfigError
from py_portable.formats import parse_config
from py_portable.formats.system_packages import debian_source
from py_portable.formats.system_packages.about import PackageAbout, addressed
from py_portable.formats.system_packages.documents import debian_changelog
from py_portable.plan.assemble import houses
from py_portable.plan.expected import expects
from py_portable.plan.ground import _needs, target

ABOUT = PackageAbout(
    "myapp", "1:2.0~rc1", "1+deb12", "Costs $5 or $HOME", "One.\n\nTwo ${x}.", "MIT", "Jane Doe <jane@example.org>", ""
)


def config(base: Path, artifacts: Mapping[str, Any], **changes: Any) -> Config:
    told = {
        "version": 1,
        "app": {"requirement": "httpie==3.2.4"},
        "python": "3.13",
        "wheels": {"max-glibc": "2.31"},
        "artifacts": artifacts,
        "portability": {"images": ["debian:11", "debian:12", "debian:13"]},
        **changes,
    }
    return parse_config(json.dumps(told, indent=1).encode(), "portable.yaml", base)


def distro(**keys: Any) -> dict[str, Any]:
    return {"format": "dh-virtualenv", "releases": ["debian:12", "debian:13"], **keys}


def test_each_release_is_an_artifact_and_a_baseline_with_its_own_python(tmp_path: Path) -> None:
    told = config(tmp_path, {"tree": {"format": "bundle"}, "distro": distro(packages=["libpq-dev"])})
    assert houses(told) == [("default", "3.13"), ("distro-debian-12", "3.11"), ("distro-debian-13", "3.13")]
    own = told.baselines["distro-debian-12"]
    assert (own.image, own.packages, own.own) == ("debian:12", ("libpq-dev",), True)
    assert told.artifacts["distro-debian-12"].interpreter.provider == "system"
    assert set(_needs(told, "distro-debian-12")) == {"compilers", "system-python", "dh-virtualenv"}
    assert "dh-virtualenv" not in _needs(told, "default")
    # It is only for that release, so what its wheels may need is what the release has.
    assert target(told, "distro-debian-12", "3.11")["max_glibc"] == "2.36"
    assert target(told, "default", "3.13")["max_glibc"] == "2.31"


@pytest.mark.parametrize(
    ("baselines", "packages"),
    [
        ({"default": {"image": "debian:11", "packages": ["libpq-dev"]}}, ("libpq-dev",)),
        ({"default": {"image": "manylinux_2_28", "packages": ["libpq-devel"]}}, ()),
        ({"one": {"image": "debian:11", "packages": ["a1"]}, "two": {"image": "debian:11", "packages": ["b1"]}}, ()),
    ],
)
def test_it_has_the_packages_of_the_usual_baseline_if_they_have_the_same_names(
    tmp_path: Path, baselines: Mapping[str, Any], packages: tuple[str, ...]
) -> None:
    told = config(tmp_path, {"distro": distro()}, baselines=baselines)
    assert told.baselines["distro-debian-13"].packages == packages


def test_its_own_release_accepts_it_and_others_of_the_family_refuse_it(tmp_path: Path) -> None:
    one = config(tmp_path, {"distro": distro()}).artifacts["distro-debian-12"]
    expected = {
        name: expects(one, ImageSpec(name))
        for name in (
            *("debian:12", "debian:bookworm", "debian:11", "debian:13", "ubuntu:24.04", "almalinux:9"),
            *("debian:bookworm-20240110-slim", "docker.io/library/debian:12.5", "docker.io/library/debian:13"),
            *("debian:12@sha256:" + "0" * 64, "debian:stable"),
        )
    }
    others = {name: expected.pop(name) for name in list(expected)[6:]}
    assert list(others.values()) == ["pass", "pass", "fail:release", "pass", "pass"]
    assert expected == {
        "debian:12": "pass",
        "debian:bookworm": "pass",
        "debian:11": "fail:release",
        "debian:13": "fail:release",
        "ubuntu:24.04": "fail:release",
        # It has no dpkg: nothing is started there.
        "almalinux:9": "pass",
    }


@pytest.mark.parametrize(
    ("artifacts", "changes", "place", "message"),
    [
        ({"distro": {"format": "dh-virtualenv"}}, {}, '"distro"', 'the key "releases" is missing'),
        (
            {"distro": distro(releases=["debian:12", "debian:bullseye"])},
            {},
            '"releases": [',
            "artifacts.distro.releases: debian:11 has Python 3.9, but the tools that build wheels need 3.10; choose "
            "debian:12 or debian:13, or the format deb, which brings a Python with it",
        ),
        (
            {"distro": distro(releases=["ubuntu:24.04"])},
            {},
            '"releases": [',
            'it is not known how to build for "ubuntu:24.04"; choose debian:12',
        ),
        ({"distro": distro(releases=["Debian 12"])}, {}, '"Debian 12"', "expected a release, such as debian:12"),
        ({"distro": distro(python="3.11")}, {}, '"python": "3.11"', "artifacts.distro.python: unknown key"),
        ({"distro": distro(name="My App")}, {}, '"My App"', 'cannot be the name of a Debian package'),
        (
            {"distro": distro(), "tree": {"format": "bundle", "baseline": "mine"}},
            {"baselines": {"mine": {"image": "debian:11"}, "distro-debian-13": {"image": "debian:12"}}},
            '"distro-debian-13"',
            "this name is reserved: artifacts.distro has a baseline with this name",
        ),
        (
            {"distro": distro(), "distro-debian-12": {"format": "bundle"}},
            {},
            '"distro":',
            "this name is reserved: artifacts.distro-debian-12 makes an artifact with this name",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_where_it_stands(
    tmp_path: Path, artifacts: Mapping[str, Any], changes: Mapping[str, Any], place: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, artifacts, **changes)
    told = caught.value.render()
    whole = {"version": 1, "app": {"requirement": "httpie==3.2.4"}, "python": "3.13", "wheels": {"max-glibc": "2.31"}}
    lines = json.dumps({**whole, "artifacts": artifacts, "portability": 0, **changes}, indent=1).splitlines()
    number = next(number for number, text in enumerate(lines, 1) if place in text)
    if not changes:
        assert f"portable.yaml:{number}:" in told
    assert message in told


def test_the_source_says_what_the_project_says_and_nothing_in_it_is_a_variable() -> None:
    found = debian_source.files(ABOUT, depends=["git (>= 1:2)"], epoch=1735689600, suite="bookworm")
    control = found["control"]
    assert "Depends: ${shlibs:Depends}, ${misc:Depends}, ${venv:Depends}, git (>= 1:2)\n" in control
    assert "Description: Costs ${}5 or ${}HOME\n One.\n .\n Two ${}{x}.\n" in control
    assert "Homepage" not in control
    assert found["changelog"] == (
        "myapp (1:2.0~rc1-1+deb12) bookworm; urgency=medium\n\n  * Version 1:2.0~rc1.\n\n"
        " -- Jane Doe <jane@example.org>  Wed, 01 Jan 2025 00:00:00 +0000\n"
    )


@pytest.mark.parametrize("person", ["Jane Doe <jane@example.org>", "Jane", "<jane>", "a <b> <c@d>"])
def test_a_changelog_can_be_read_whoever_signs_it(person: str) -> None:
    text = debian_changelog(replace(ABOUT, maintainer=addressed(person)), 0, "trixie")
    # A line of the form that dpkg-parsechangelog(1) reads, with one name and one address.
    assert re.fullmatch(r" -- [^<>\n]+ <[^<>\n]+>  Thu, 01 Jan 1970 00:00:00 \+0000", text.splitlines()[-1])


@given(st.text(max_size=300))
def test_no_description_begins_another_field(text: str) -> None:
    assert all(line.startswith(" ") and line.strip() for line in debian_source._extended(text))
