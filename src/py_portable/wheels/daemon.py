"""The container engine that cibuildwheel works with: whether one is there, an image in it, and what it left."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable import command
from py_portable.errors import MachineError, StepError
from py_portable.images import Image

NAMES = ("docker", "podman")
OWNER = "py-portable.cibuildwheel.owner"
"""The label that says whose container it is: the pid of the run."""
_SECONDS = 60.0
_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK")
_FAMILIES = ("DOCKER_", "CONTAINER", "PODMAN_", "XDG_")


@dataclass(frozen=True)
class Daemon:
    """A container engine that answered. `env` is what its command line is given, and nothing else of the caller."""

    name: str
    version: str
    env: Mapping[str, str]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What of the caller's environment says how the engine is reached."""
    return {n: v for n, v in environ.items() if n in _ENVIRONMENT or n.startswith(_FAMILIES)}


def find(environ: Mapping[str, str], prefer: str | None = None) -> Daemon:
    """The first engine whose daemon answers. Raises MachineError with the reason of each."""
    env = environment(environ)
    reasons = []
    for name in sorted(NAMES, key=lambda one: one != prefer):
        ask = "{{.Server.Version}}" if name == "docker" else "{{.Client.Version}}"
        try:
            outcome = command.run([name, "version", "--format", ask], env=env, timeout=_SECONDS)
        except MachineError as problem:
            reasons.append(f"{name}: {problem.what}")
            continue
        if outcome.ok:
            return Daemon(name, outcome.stdout.text.strip(), env)
        said = [line for line in outcome.stderr.text.splitlines() if line.strip()]
        reasons.append(f"{name}: {said[-1] if said else f'exit status {outcome.status}'}")
    raise MachineError(
        "cibuildwheel needs docker or podman, and neither works here",
        tail="\n".join(reasons),
        hint="start one of them (DOCKER_HOST names a daemon elsewhere), or build the wheels where one is and "
        "take them: wheels: {use: DIR}",
    )


def daemon_tag(daemon: Daemon, image: Image, work: Path, log: Path, prefix: tuple[str, ...] = ()) -> str:
    """The image in the daemon, under a tag made of its identity; brought there where it is not yet.

    `prefix` is what lets an ordinary user read the files of mapped ids.
    """
    tag = f"localhost/py-portable/baseline:{image.identity.removeprefix('sha256:')[:40]}"
    if command.run([daemon.name, "image", "inspect", tag], env=daemon.env, timeout=_SECONDS).ok:
        return tag
    tar = work / "image.tar"
    command.check(
        [*prefix, "tar", "--numeric-owner", "--one-file-system", "-C", image.root, "-cf", tar, "."],
        what=f"packing {image.name} for {daemon.name}",
        timeout=1800,
        log=log,
    )
    changes = [f"--change=ENV {name}={_quoted(value)}" for name, value in sorted(image.env.items())]
    try:
        command.check(
            [daemon.name, "import", *changes, tar, tag],
            what=f"bringing {image.name} into {daemon.name}",
            env=daemon.env,
            timeout=1800,
            log=log,
        )
    finally:
        tar.unlink()
    return tag


def _quoted(value: str) -> str:
    """As a Dockerfile's ENV takes it, where a dollar would name a variable."""
    if "\n" in value or "\r" in value:
        raise StepError("a variable that the image sets has several lines, which docker import cannot take")
    told = value
    for letter in ("\\", '"', "$"):
        told = told.replace(letter, f"\\{letter}")
    return f'"{told}"'


@contextlib.contextmanager
def swept(daemon: Daemon, run: str) -> Iterator[tuple[str, ...]]:
    """Labels for containers, which are removed at the end however it comes; so are those of runs that died."""
    for owner, container in _owned(daemon):
        if not _alive(owner):
            _remove(daemon, container)
    mine = f"{os.getpid()}:{run}"

    def sweep() -> None:
        for owner, container in _owned(daemon):
            if owner == mine:
                _remove(daemon, container)

    with command.at_end(sweep):
        try:
            yield (f"--label={OWNER}={mine}",)
        finally:
            sweep()


def _owned(daemon: Daemon) -> list[tuple[str, str]]:
    words = [daemon.name, "ps", "--all", "--no-trunc", "--filter", f"label={OWNER}"]
    words += ["--format", f'{{{{.Label "{OWNER}"}}}} {{{{.ID}}}}']
    outcome = command.run(words, env=daemon.env, timeout=_SECONDS)
    pairs = (line.split() for line in outcome.stdout.text.splitlines())
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]


def _remove(daemon: Daemon, container: str) -> None:
    command.run([daemon.name, "rm", "--force", "--volumes", container], env=daemon.env, timeout=_SECONDS)


def _alive(owner: str) -> bool:
    pid = owner.partition(":")[0]
    return pid.isdecimal() and Path("/proc", pid).exists()


def engine_option(name: str, create: tuple[str, ...]) -> str:
    """The value of CIBW_CONTAINER_ENGINE: the name, arguments of `create`, and nothing of the host mounted."""
    return f"{name}; create_args: {' '.join(map(shlex.quote, create))}; disable_host_mount: true"
