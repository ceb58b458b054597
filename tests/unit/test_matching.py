"""Whether a job's container is the image that a config and its lock name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from py_portable.errors import MachineError
from py_portable.images.matching import Seen, job_image, match, system_of

DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
PACKAGES = (("libc6", "2.36-9", "amd64"), ("bash", "5.2", "amd64"))
HERE = Seen("debian:12", "debian:12", "2.36", "x86_64", PACKAGES)
MANYLINUX = Seen("quay.io/pypa/manylinux_2_28_x86_64", "almalinux:8.10", "2.28", "x86_64", PACKAGES)


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("debian:12", "debian:12"),
        ("debian:bookworm", "debian:12"),
        ("debian:bookworm-slim", "debian:12"),
        ("debian:12.5", "debian:12.5"),
        ("registry.example:5000/mirror/debian:11-slim", "debian:11"),
        ("ubuntu:20.04", "ubuntu:20.04"),
        ("rockylinux:9", "rocky:9"),
        ("opensuse/leap:15.6", "opensuse-leap:15.6"),
        ("debian", None),
        ("debian:sid", None),
        ("quay.io/pypa/manylinux_2_28_x86_64", None),
        ("docker-archive:/x.tar", None),
        ("a b", None),
    ],
)
def test_which_system_a_name_means(name: str, system: str | None) -> None:
    assert system_of(name) == system


@pytest.mark.parametrize(
    ("wanted", "change", "checked", "unknown"),
    [
        ("debian:12", {}, {"name", "os-release", "glibc"}, {"digest", "packages"}),
        ("debian:bookworm-slim", {}, {"name", "os-release", "glibc"}, {"digest", "packages"}),
        ("docker.io/library/debian:12", {}, {"name", "os-release", "glibc"}, {"digest", "packages"}),
        ("debian:12", {"job_image": None}, {"os-release", "glibc"}, {"name", "digest", "packages"}),
        ("debian:12", {"job_image": " debian:12 "}, {"name", "os-release", "glibc"}, {"digest", "packages"}),
        ("debian:12", {"job_image": "in valid"}, {"os-release", "glibc"}, {"name", "digest", "packages"}),
        # A company's mirror, and GitLab's dependency proxy.
        ("debian:12", {"job_image": "mirror.example/x/debian:12"}, {"os-release", "glibc"}, {"name", "digest", "packages"}),
        ("debian:12", {"job_image": f"debian@{DIGEST}"}, {"name", "os-release", "glibc"}, {"digest", "packages"}),
    ],
)  # fmt: skip
def test_what_is_compared_and_what_cannot_be(
    wanted: str, change: Mapping[str, Any], checked: set[str], unknown: set[str]
) -> None:
    found = match(wanted, replace(HERE, **change))
    assert (set(found.checked), set(found.unknown)) == (checked, unknown)
    assert all(found.unknown.values())


def test_a_manylinux_image_by_its_short_name() -> None:
    found = match("manylinux_2_28", replace(MANYLINUX, job_image=job_image("manylinux_2_28")))
    assert {"name", "glibc"} <= set(found.checked) and "os-release" in found.unknown


def test_a_digest_that_the_lock_names() -> None:
    by_digest = replace(HERE, job_image=f"debian@{DIGEST}")
    assert "digest" in match("debian:12", by_digest, DIGEST).checked
    assert "digest" in match(f"debian@{DIGEST}", by_digest).checked
    # Whatever it is called: the bytes are the same.
    mirrored = match("debian:12", replace(HERE, job_image=f"mirror.example/base@{DIGEST}"), DIGEST)
    assert "digest" in mirrored.checked and "copy of debian:12" in mirrored.unknown["name"]
    assert "named by a tag" in match("debian:12", HERE, DIGEST).unknown["digest"]


@pytest.mark.parametrize(
    ("wanted", "change", "words"),
    [
        ("debian:12", {"job_image": "debian:11"}, "the job's image is debian:11"),
        ("debian:12", {"job_image": "python:3.13"}, "the job's image is python:3.13"),
        ("debian:12", {"job_image": f"debian@{OTHER}"}, f"the job's image is {OTHER}, locked is {DIGEST}"),
        ("debian:12", {"system": "debian:13"}, "the container is debian:13, but debian:12 is debian:12"),
        ("debian:12", {"system": "unknown:unknown"}, "the container is unknown:unknown"),
        ("debian:12", {"glibc": "2.41"}, "its glibc is 2.41, and debian:12 has 2.36"),
        ("debian:12", {"glibc": None}, "its glibc is not there"),
        ("debian:1", {}, "debian:1 is debian:1"),
        ("ubuntu:24.04", {"job_image": None}, "ubuntu:24.04 is ubuntu:24.04"),
    ],
)
def test_another_image_is_refused_with_the_one_to_take(wanted: str, change: Mapping[str, Any], words: str) -> None:
    with pytest.raises(MachineError) as caught:
        match(wanted, replace(HERE, **change), DIGEST)
    assert words in caught.value.what
    assert job_image(wanted, DIGEST) in str(caught.value.hint)


def test_the_identity_is_that_of_all_that_was_there() -> None:
    first = match("debian:12", HERE)
    assert match("debian:12", replace(HERE, packages=PACKAGES[::-1])).identity == first.identity
    others = [
        match("debian:12", replace(HERE, packages=PACKAGES[:1])),
        match("debian:12", replace(HERE, machine="aarch64")),
        match("debian:12", replace(HERE, job_image=f"debian@{DIGEST}")),
        match("debian:12.1", replace(HERE, system="debian:12.1", job_image=None)),
    ]
    assert len({one.identity for one in (first, *others)}) == 5
    again = match("debian:12", HERE, locked=first.identity)
    assert "packages" in again.checked and "packages" not in again.unknown
    assert "has changed since" in match("debian:12", HERE, locked=OTHER).unknown["packages"]


def test_the_image_of_a_job() -> None:
    assert job_image("debian:12") == "debian:12"
    assert job_image("debian:12", DIGEST) == f"debian@{DIGEST}"
    assert job_image("manylinux_2_28", DIGEST).startswith("quay.io/pypa/manylinux_2_28_")
    assert job_image("docker-archive:/x y.tar") == "docker-archive:/x y.tar"
