"""Debian root file systems by mmdebstrap, through this machine's own apt configuration."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable import command
from py_portable.errors import MachineError, PortableError, StepError
from py_portable.images import network, problems
from py_portable.images.debian import apt
from py_portable.images.debian.recipe import (
    BootstrapSpec,
    Mode,
    Package,
    Recipe,
    glibc_of,
    identity,
    parse_packages,
    recipe,
)
from py_portable.redact import hide

_PLACE = "py-portable-bootstrap-"
# mmdebstrap's mounts would show on the whole machine, and outlive it where it is killed; and it would outlive
# us. An ordinary user's are in a user namespace anyway.
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
_GUARD: Mapping[Mode, tuple[str, ...]] = {
    "root": (
        *_DIES_WITH_US,
        *(
            "unshare",
            "--mount",
            "--propagation=private",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ),
    ),
    "unshare": _DIES_WITH_US,
}


@dataclass(frozen=True)
class Bootstrapped:
    root: Path
    identity: str
    """`sha256:…`, see `identity`."""
    glibc: str
    packages: tuple[Package, ...]
    arch: str
    tool: str
    seconds: float


def tool_version() -> str:
    """`mmdebstrap 1.3.5`. Raises MachineError where it is not installed."""
    if not shutil.which("mmdebstrap"):
        raise problems.SourceUnusable(
            "mmdebstrap is not installed: Debian images cannot be bootstrapped",
            hint="run: py-portable doctor --fix   (or: apt-get install mmdebstrap)",
        )
    shown = command.check(
        ["mmdebstrap", "--version"], what="mmdebstrap --version", error=MachineError, timeout=20
    )
    return " ".join(shown.stdout.text.split())


def bootstrap(
    spec: BootstrapSpec,
    into: Path,
    *,
    setup: apt.AptSetup,
    prefix: tuple[str, ...] = (),
    log: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Bootstrapped:
    """Make the root file system `into/root`; `into` must exist.

    `prefix` maps a full range of ids for an ordinary user (`unshare --user --map-root-user …`), and is empty
    for root. Raises ImageUnavailable, MachineError or StepError, which name the cause and the cure.
    """
    environ = dict(os.environ) if environ is None else environ
    tool = tool_version()
    mode: Mode = "root" if os.geteuid() == 0 else "unshare"
    if setup.archive is None and not apt.DEBIAN_KEYRING.is_file():
        raise problems.SourceUnusable(
            "this machine has no keys to check Debian's packages with",
            hint="run: py-portable doctor --fix   (or: apt-get install debian-archive-keyring)",
        )
    ca_bundle = network.ca_bundle(setup, environ)
    with _place(prefix) as place:
        made = recipe(spec, setup, mode=mode, place=place, ca_bundle=ca_bundle)
        _write(made, place)
        try:
            outcome = command.run(
                [*_GUARD[mode], *made.argv],
                env=_environment(environ, spec, place),
                timeout=spec.timeout,
                log=log,
                cwd=place,
            )
        finally:
            network.scrub(log)
        if not outcome.ok:
            raise _failure(spec, outcome)
        try:
            packages, arch = parse_packages((place / "packages").read_text())
            glibc = glibc_of(packages)
        except (OSError, ValueError) as problem:
            raise StepError(
                f"the bootstrap of {spec.suite} told no package list: {problem}", log=log
            ) from problem
        root = into / "root"
        root.mkdir()
        # The root of a mapped range may make no devices, so the archive holds none; engines bring their own.
        unpack = f"tar -xpf {shlex.quote(str(place / 'root.tar'))} --numeric-owner && mkdir -m 0755 dev"
        command.check(
            [*prefix, "sh", "-c", unpack],
            what=f"unpacking {spec.suite}",
            cwd=root,
            env=_environment(environ, spec, place),
            timeout=spec.timeout,
            log=log,
        )
        for name in (root / "dev", root):
            os.utime(name, (spec.epoch, spec.epoch))
    return Bootstrapped(
        root, identity(spec, packages, arch, tool), glibc, packages, arch, tool, outcome.seconds
    )


def _write(made: Recipe, place: Path) -> None:
    for name, text in made.files.items():
        # Hooks are read by the mapped root, which is a stranger to the caller's files; the rest mmdebstrap
        # reads as the caller, and it may hold logins.
        mode = 0o644 if name.endswith(".sh") else 0o600
        with open(os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as stream:  # noqa: PTH123
            os.fchmod(stream.fileno(), mode)
            stream.write(text)


def _environment(environ: Mapping[str, str], spec: BootstrapSpec, place: Path) -> dict[str, str]:
    """What package scripts and `before` may see of the caller's environment: how to reach the network."""
    return {
        **network.proxies(environ),
        "PATH": network.PATH,
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "DEBIAN_FRONTEND": "noninteractive",
        "SOURCE_DATE_EPOCH": str(spec.epoch),
        "TMPDIR": str(place),
    }


@contextlib.contextmanager
def _place(prefix: tuple[str, ...]) -> Iterator[Path]:
    """A work place that the mapped root and apt's own user can reach: the store is closed to them."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PLACE}*"):
        # A killed run leaves its half-made root behind.
        with contextlib.suppress(OSError, ValueError):
            owner = int(left.name.removeprefix(_PLACE).partition("-")[0])
            if left.lstat().st_uid == os.geteuid() and not Path(f"/proc/{owner}").exists():
                _remove(left, prefix)
    place = Path(tempfile.mkdtemp(prefix=f"{_PLACE}{os.getpid()}-", dir=parent))
    try:
        place.chmod(0o711)
        yield place
    finally:
        _remove(place, prefix)


def _remove(folder: Path, prefix: tuple[str, ...]) -> None:
    command.run([*prefix, "rm", "-rf", "--one-file-system", "--", str(folder)], timeout=300)


def _failure(spec: BootstrapSpec, outcome: command.Outcome) -> PortableError:
    text = command.last_lines(outcome.log, 1 << 18) if outcome.log else outcome.stderr.text
    if outcome.timed_out:
        return StepError(
            f"the bootstrap of {spec.suite} did not end within {spec.timeout:.0f} s",
            tail=hide(text),
            log=outcome.log,
            hint="check the mirror's speed, or what `before` waits for",
        )
    problem = problems.explain(text, suite=spec.suite, known_packages=_host_packages)
    return problem.error(problem.what, tail=hide(text), log=outcome.log, hint=problem.hint)


def _host_packages() -> list[str]:
    return command.run(["apt-cache", "pkgnames"], timeout=20, capture_bytes=8 << 20).stdout.text.split()
