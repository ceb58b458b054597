"""Whether a root is thrown away: three witnesses have to agree, and none of them is believed alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from py_portable.engines.throwaway import ContainerFacts, judge, require, root_type, statements
from py_portable.errors import MachineError

JOB = ContainerFacts(
    own_pids=True,
    init="sh",
    root_type="overlay",
    marks=("/.dockerenv",),
    said=("CI_DISPOSABLE_ENVIRONMENT", "CI_JOB_IMAGE"),
)
LAPTOP = ContainerFacts(own_pids=False, init="systemd", root_type="ext4", marks=(), said=())


@pytest.mark.parametrize(
    "facts",
    [
        JOB,
        replace(JOB, marks=("/run/.containerenv",)),
        replace(JOB, marks=("KUBERNETES_SERVICE_HOST",)),
        replace(JOB, root_type="fuse.fuse-overlayfs", said=("CI_JOB_IMAGE",)),
        replace(JOB, init="docker-init"),
    ],
)
def test_a_job_of_ci_in_a_container_is_thrown_away(facts: ContainerFacts) -> None:
    verdict = judge(facts)
    assert verdict.thrown_away and set(facts.marks) | set(facts.said) <= set(verdict.witnesses)
    assert require(facts) == verdict


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"own_pids": False}, "those of the machine"),
        ({"init": "systemd"}, "systemd, as on a permanent machine"),
        ({"root_type": "ext4"}, "of the type ext4"),
        ({"root_type": ""}, "of the type unknown"),
        ({"marks": ()}, "no sign of a container runtime"),
        ({"said": ()}, "no variable of a CI says"),
        ({"is_root": False}, "not root"),
    ],
)
def test_one_witness_that_is_missing_is_enough_to_refuse(change: Mapping[str, Any], words: str) -> None:
    verdict = judge(replace(JOB, **change))
    assert len(verdict.missing) == 1 and words in verdict.missing[0]
    with pytest.raises(MachineError) as caught:
        require(replace(JOB, **change))
    assert words in caught.value.what and "--build-engine auto" in str(caught.value.hint)


@pytest.mark.parametrize(
    "change",
    [
        # A disk image that once was a container's; a shell in which somebody exported CI's variables; the machine of a
        # cluster whose variables a login took over; a system that was started from a live medium.
        {"marks": ("/.dockerenv",)},
        {"said": ("CI_JOB_IMAGE", "CI_DISPOSABLE_ENVIRONMENT")},
        {"marks": ("KUBERNETES_SERVICE_HOST",), "said": ("CI_JOB_IMAGE",)},
        {"root_type": "overlay", "said": ("CI_JOB_IMAGE",), "marks": ("/.dockerenv",)},
        {"own_pids": True, "init": "bash"},
    ],
)
def test_no_sign_of_a_machine_makes_it_a_container(change: Mapping[str, Any]) -> None:
    assert not judge(replace(LAPTOP, **change)).thrown_away


def test_only_who_is_in_a_container_is_shown_how_to_say_it_by_hand() -> None:
    assert "docker run --rm" in judge(replace(JOB, said=())).hint
    assert "docker run --rm" not in judge(LAPTOP).hint


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, ()),
        ({"CI_JOB_IMAGE": "x", "CI_DISPOSABLE_ENVIRONMENT": "true"}, ()),
        ({"CI": "false", "CI_JOB_IMAGE": "x"}, ()),
        ({"CI": "true"}, ()),
        ({"CI": "true", "CI_JOB_IMAGE": "", "CI_DISPOSABLE_ENVIRONMENT": "false"}, ()),
        ({"CI": "true", "CI_JOB_IMAGE": "debian:12"}, ("CI_JOB_IMAGE",)),
        ({"CI": "1", "CI_DISPOSABLE_ENVIRONMENT": "true"}, ("CI_DISPOSABLE_ENVIRONMENT",)),
    ],
)
def test_what_ci_says(environ: Mapping[str, str], said: tuple[str, ...]) -> None:
    assert statements(environ) == said


MOUNTS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:5 / /proc rw,nosuid shared:3 - proc proc rw
611 529 0:52 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/x,upperdir=/y
612 611 0:53 / /dev rw - tmpfs tmpfs rw
"""


def test_the_type_of_the_root_is_that_of_the_mount_on_top() -> None:
    assert root_type(MOUNTS) == "overlay"
    assert root_type(MOUNTS.partition("30 27")[0]) == "ext4"
    assert root_type("") == root_type("nonsense\n1 2 3\n") == ""
