"""Whether the container that a job runs in is the image that a config and its lock name. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace

from py_portable.config.glibc import canonical_image, known_glibc
from py_portable.errors import ConfigError, MachineError
from py_portable.images.adding.additions import Installed
from py_portable.images.image import Found
from py_portable.images.registry.aliases import expand
from py_portable.images.registry.reference import Reference, is_archive, parse

_SYSTEMS = {
    "debian": "debian",
    "ubuntu": "ubuntu",
    "fedora": "fedora",
    "almalinux": "almalinux",
    "rockylinux": "rocky",
    "centos": "centos",
    "alpine": "alpine",
    "leap": "opensuse-leap",
}
"""The last word of an image's name, and the ID of its os-release(5)."""
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_DOCKER_HUB = (None, "docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Seen:
    """What was observed. `job_image`: what CI says that the job runs in; None where it says nothing. `system`: ID and
    VERSION_ID of os-release(5), such as "debian:12". `packages`: all that its package manager lists."""

    job_image: str | None
    system: str
    glibc: str | None
    machine: str
    packages: tuple[Installed, ...]


def match(wanted: str, seen: Seen, locked_digest: str | None = None, locked: str | None = None) -> Found:
    """What is known of the container as the image `wanted`. `locked_digest`: what the lock says its name stands for.
    `locked`: the identity that the lock has of a container of this image, which another one only drifts from.

    Raises MachineError where it is another image.
    """
    checked: list[str] = []
    unknown: dict[str, str] = {}
    wrong: list[str] = []
    digest = _names(wanted, seen.job_image, locked_digest, checked, unknown, wrong)
    if system := system_of(wanted):
        if _same_version(system, seen.system):
            checked.append("os-release")
        else:
            wrong.append(f"the container is {seen.system}, but {wanted} is {system}")
    else:
        unknown["os-release"] = f"the name {wanted} does not say which system it is"
    if expected := known_glibc(canonical_image(wanted)):
        if expected == seen.glibc:
            checked.append("glibc")
        else:
            wrong.append(f"its glibc is {seen.glibc or 'not there'}, and {wanted} has {expected}")
    else:
        unknown["glibc"] = f"the name {wanted} does not say which glibc it has"
    if wrong:
        raise MachineError(
            f"this job does not run in the baseline's image {wanted}: {'; '.join(wrong)}",
            hint=f"use that image for the job: {{name: {job_image(wanted, locked_digest)!r}}}; each "
            "baseline needs its own job",
        )
    told = [seen.system, seen.glibc, seen.machine, sorted(list(one) for one in seen.packages), digest]
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    identity = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    if locked == identity:
        checked.append("packages")
    elif locked:
        unknown["packages"] = (
            f"they are not those of {locked[:19]}…, which is locked: the image has changed since"
        )
    else:
        unknown["packages"] = "the lock has no entry for a container of this image yet"
    return Found(identity, tuple(checked), unknown)


def system_of(name: str) -> str | None:
    """`debian:12` for debian:bookworm-slim; None for a name that says nothing of its system."""
    try:
        reference = parse(_plain(name))
    except ConfigError:
        return None
    system = _SYSTEMS.get(reference.repository.rpartition("/")[2])
    tag = canonical_image(f"debian:{(reference.tag or '').removesuffix('-slim')}").partition(":")[2]
    number = _NUMBER.match(tag if system == "debian" else reference.tag or "")
    return f"{system}:{number[0]}" if system and number else None


def _same_version(wanted: str, here: str) -> bool:
    """Names may say less than os-release does, as almalinux:8 does of 8.10, or more, as debian:12.5 does of 12."""
    return wanted == here or here.startswith(f"{wanted}.") or wanted.startswith(f"{here}.")


def _names(
    wanted: str,
    job: str | None,
    locked: str | None,
    checked: list[str],
    unknown: dict[str, str],
    wrong: list[str],
) -> str | None:
    """Compare name and digest; the digest of the job's image where it is known."""
    if not job:
        unknown["name"] = "CI does not say which image the job runs in (CI_JOB_IMAGE)"
        unknown["digest"] = unknown["name"]
        return None
    try:
        if is_archive(wanted):
            raise ConfigError(f"{wanted} is a file")
        asked, runs = expand(parse(_plain(wanted))), expand(parse(_plain(job)))
    except (ConfigError, MachineError) as problem:
        unknown["name"] = f"the job's image {job} cannot be compared with {wanted}: {problem.what}"
        unknown["digest"] = unknown["name"]
        return None
    digest = locked or asked.digest
    same_digest = bool(digest and digest == runs.digest)
    if digest and runs.digest and not same_digest:
        wrong.append(f"the job's image is {runs.digest}, locked is {digest}")
    elif same_digest:
        checked.append("digest")
    elif digest:
        unknown["digest"] = f"the job's image is named by a tag, and the lock says {digest}"
    else:
        unknown["digest"] = "the lock names no digest of this image"
    if _key(asked, runs) == _key(runs, asked):
        checked.append("name")
    elif same_digest or _copy(asked, runs):
        unknown["name"] = f"the job's image is {job}, which is assumed to be a copy of {wanted}"
    else:
        wrong.append(f"the job's image is {job}")
    return runs.digest


def _key(reference: Reference, other: Reference) -> tuple[str | None, str, str]:
    registry = None if reference.registry in _DOCKER_HUB else reference.registry
    repository = reference.repository.removeprefix("library/") if registry is None else reference.repository
    return registry, repository, _tag(reference, other)


def _copy(one: Reference, other: Reference) -> bool:
    """Whether it may be the same image in another registry, such as a company's or GitLab's dependency proxy."""
    last = [reference.repository.rpartition("/")[2] for reference in (one, other)]
    return last[0] == last[1] and _tag(one, other) == _tag(other, one)


def _tag(reference: Reference, other: Reference) -> str:
    """Where one is named by its digest alone, tags say nothing."""
    if (reference.digest and not reference.tag) or (other.digest and not other.tag):
        return ""
    name = f"{reference.repository.rpartition('/')[2]}:{reference.tag or 'latest'}"
    return canonical_image(name.removesuffix("-slim"))


def _plain(name: str) -> str:
    """GitLab's runner names images as they were given, blanks and all."""
    return name.strip()


def job_image(wanted: str, digest: str | None = None) -> str:
    """The image as a runner pulls it for a job: `digest` is what its name stands for, where that is known."""
    try:
        reference = expand(parse(wanted))
    except (ConfigError, MachineError):
        return wanted
    if reference.registry in _DOCKER_HUB:
        # As people write it, and as mirrors of runners know it.
        reference = replace(
            reference, registry=None, repository=reference.repository.removeprefix("library/")
        )
    return str(replace(reference, tag=None, digest=digest)) if digest else str(reference)
