"""The container engine that cibuildwheel uses: which one, its settings, and the containers that must be removed."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping

from py_portable.base import process
from py_portable.engines import daemon, owner
from py_portable.engines.daemon import Daemon
from py_portable.errors import MachineError, StepError
from py_portable.images import Image

NAMES = ("docker", "podman")
RUN_LABEL = "py-portable.cibuildwheel"
_SECONDS = 60.0
_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "SSH_AUTH_SOCK")
_FAMILIES = ("DOCKER_", "CONTAINER", "PODMAN_", "XDG_")


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that say how an engine is reached. cibuildwheel gets no other variable of the environment."""
    return {n: v for n, v in environ.items() if n in _ENVIRONMENT or n.startswith(_FAMILIES)}


def find(prefer: str | None = None) -> Daemon:
    """The first engine that answers. Raises MachineError with the reason of each."""
    reasons = []
    for name in sorted(NAMES, key=lambda one: one != prefer):
        try:
            return daemon.find(name)
        except MachineError as problem:
            reasons.append(problem.what if problem.what.startswith(name) else f"{name}: {problem.what}")
    raise MachineError(
        "cibuildwheel needs docker or podman, and neither works here",
        tail="\n".join(reasons),
        hint="start one of them (DOCKER_HOST names a daemon elsewhere), or build the wheels on another "
        "machine and use them: wheels: {use: DIR}",
    )


def tag_of(found: Daemon, image: Image) -> str:
    """The image's tag in the daemon, to which it is copied if necessary, with the variables that the image sets."""
    changes = tuple(f"ENV {name}={_quoted(value)}" for name, value in sorted(image.env.items()))
    return daemon.bring(found.program, image.root, changes=changes)


def _quoted(value: str) -> str:
    """A value for ENV in a Dockerfile, where a dollar sign would begin the name of a variable."""
    if "\n" in value or "\r" in value:
        raise StepError("a variable that the image sets has several lines, which an import cannot take")
    told = value
    for letter in ("\\", '"', "$"):
        told = told.replace(letter, f"\\{letter}")
    return f'"{told}"'


@contextlib.contextmanager
def swept(program: str, run: str) -> Iterator[tuple[str, ...]]:
    """Labels for containers, which are always removed at the end; containers of killed runs are removed, too."""
    daemon.sweep(program)

    def sweep() -> None:
        words = [program, "ps", "--all", "--quiet", "--filter", f"label={RUN_LABEL}={run}"]
        left = process.run(words, timeout=_SECONDS).stdout.text.split()
        if left:
            daemon.remove(program, *left)

    with process.at_end(sweep):
        try:
            yield (f"--label={RUN_LABEL}={run}", f"--label={owner.LABEL}={owner.mine()}")
        finally:
            sweep()


def engine_option(name: str, create: tuple[str, ...]) -> str:
    """The value of CIBW_CONTAINER_ENGINE: the name, arguments of `create`, and nothing of the host mounted."""
    return f"{name}; create_args: {' '.join(map(shlex.quote, create))}; disable_host_mount: true"
