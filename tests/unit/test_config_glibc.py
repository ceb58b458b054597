"""Which glibc an image has, where its name tells it."""

from __future__ import annotations

import pytest

from py_portable.config.glibc import canonical_image, known_glibc, version_key, with_packages


@pytest.mark.parametrize(
    ("image", "glibc"),
    [
        ("debian:11", "2.31"),
        ("debian:12", "2.36"),
        ("debian:13", "2.41"),
        ("debian:14", "2.43"),
        ("debian:bullseye", "2.31"),
        ("debian:bookworm-slim", "2.36"),
        ("debian:11.9", "2.31"),
        ("registry.example:5000/library/debian:13", "2.41"),
        ("manylinux_2_28", "2.28"),
        ("quay.example/pypa/manylinux_2_28_x86_64:2025.01.01-1", "2.28"),
        ("manylinux2014", "2.17"),
        ("pypa/manylinux2014_aarch64@sha256:00", "2.17"),
        ("manylinux_2_34_aarch64", "2.34"),
        ("manylinux2014_x86_64", "2.17"),
        ("manylinux1", "2.5"),
        ("debian:10", None),
        ("debian:sid", None),
        ("debian", None),
        ("notdebian:11", None),
        ("ubuntu:20.04", None),
        ("alpine:3.22", None),
        ("musllinux_1_2", None),
        ("musllinux_1_2_x86_64", None),
        ("quay.example/pypa/musllinux_1_2_x86_64:2025.01.01-1", None),
    ],
)
def test_known_glibc(image: str, glibc: str | None) -> None:
    assert known_glibc(image) == glibc


def test_versions_are_compared_as_numbers() -> None:
    assert version_key("2.9") < version_key("2.31")


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("debian:trixie", "debian:13"),
        ("debian:13", "debian:13"),
        ("debian:13-slim", "debian:13-slim"),
        ("ubuntu:trixie", "ubuntu:trixie"),
        ("debian:trixie+libpq5+python3", "debian:13+libpq5+python3"),
    ],
)
def test_one_image_has_one_name(image: str, name: str) -> None:
    assert canonical_image(image) == name


def test_an_image_with_packages_has_one_name_whatever_their_order() -> None:
    assert with_packages("debian:12", ["python3", "libpq5"]) == "debian:12+libpq5+python3"
    assert with_packages("debian:12", []) == "debian:12"
