"""Debian root file systems by mmdebstrap, through this machine's own apt configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable.base import process
from py_portable.base.redact import hide
from py_portable.engines import own_ids
from py_portable.errors import MachineError, PortableError, StepError
from py_portable.images import failures
from py_portable.images.debian import apt, network
from py_portable.images.debian.recipe import (
    BootstrapSpec,
    Mode,
    Package,
    glibc_of,
    identity,
    parse_packages,
    recipe,
)

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
    without_own_ids: str = ""
    """Why it was made without ids of its own; empty: with them."""


def tool_version() -> str:
    """`mmdebstrap 1.3.5`. Raises MachineError where it is not installed."""
    if not shutil.which("mmdebstrap"):
        raise failures.SourceUnusable(
            "mmdebstrap is not installed: Debian images cannot be bootstrapped",
            hint="run: py-portable doctor --fix   (or: apt-get install mmdebstrap)",
        )
    shown = process.check(
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
    helpers: Callable[[], Path | None] = lambda: None,
) -> Bootstrapped:
    """Make the root file system `into/root`; `into` must exist.

    `prefix` maps a full range of ids for an ordinary user (`unshare --user --map-root-user …`), and is empty
    for root, who gives mmdebstrap and the scripts of packages ids of their own by the compiled helpers, where that
    is available. Raises ImageUnavailable, MachineError or StepError, which name the cause and the cure.
    """
    environ = dict(os.environ) if environ is None else environ
    tool = tool_version()
    mode: Mode = "root" if os.geteuid() == 0 else "unshare"
    if setup.archive is None and not apt.DEBIAN_KEYRING.is_file():
        raise failures.SourceUnusable(
            "this machine has no keys with which to check Debian's packages",
            hint="run: py-portable doctor --fix   (or: apt-get install debian-archive-keyring)",
        )
    own = own_ids.of_program(helpers() if mode == "root" else None)
    with _place(prefix) as place:
        made = recipe(spec, _reachable(setup, place, own), mode=mode, place=place)
        _write(made.files, place, own)
        try:
            outcome = process.run(
                [*_guard(mode, own, place), *made.argv],
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
                f"the bootstrap of {spec.suite} did not report the list of packages: {problem}", log=log
            ) from problem
        root = into / "root"
        root.mkdir()
        # The root of a mapped range may make no devices, so the archive holds none; engines bring their own. It has no
        # folder for them either, or an empty one (mmdebstrap 1.4 and later).
        archive = shlex.quote(str(place / "root.tar"))
        unpack = f"tar -xpf {archive} --numeric-owner && rm -rf dev && mkdir -m 0755 dev"
        process.check(
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
        root, identity(spec, packages, arch, tool), glibc, packages, arch, tool, outcome.seconds, own.reason
    )


def _guard(mode: Mode, own: own_ids.Choice, place: Path) -> tuple[str, ...]:
    if own.first is None:
        return _GUARD[mode]
    dies, rest = _GUARD[mode][: len(_DIES_WITH_US)], _GUARD[mode][len(_DIES_WITH_US) :]
    return (*dies, *own.start("-", str(place)), *rest)


def _reachable(setup: apt.AptSetup, place: Path, own: own_ids.Choice) -> apt.AptSetup:
    """The machine's configuration, with copies of the files that root without the machine's rights cannot read."""
    if own.first is None:
        return setup
    os.chown(place, own.first, own.first)

    def copied(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        return tuple((name, _copied(value, place, own.first)) for name, value in pairs)

    return dataclasses.replace(setup, settings=copied(setup.settings), netrc=copied(setup.netrc))


def _copied(value: str, place: Path, owner: int | None) -> str:
    """The path of a copy, where it is the path of something that is closed to others; else what it was."""
    source = Path(value)
    if owner is None or not source.is_absolute() or not source.exists() or _open_to_all(source):
        return value
    copy = Path(tempfile.mkdtemp(prefix="closed-", dir=place)) / source.name
    if source.is_dir():
        shutil.copytree(source, copy)
    else:
        shutil.copyfile(source, copy)
    for path in (copy.parent, copy, *copy.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, owner, owner)
    return str(copy)


def _open_to_all(source: Path) -> bool:
    found = [source, *(source.rglob("*") if source.is_dir() else ())]
    return all(path.stat().st_mode & 0o004 for path in found) and all(
        path.stat().st_mode & 0o001 for path in source.parents
    )


def _write(files: Mapping[str, str], place: Path, own: own_ids.Choice) -> None:
    for name, text in files.items():
        # Hooks are read by the mapped root, which is a stranger to the caller's files; the rest mmdebstrap
        # reads as the caller, and it may hold logins.
        mode = 0o644 if name.endswith(".sh") else 0o600
        with open(os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as stream:  # noqa: PTH123
            os.fchmod(stream.fileno(), mode)
            if own.first is not None:
                os.fchown(stream.fileno(), own.first, own.first)
            stream.write(text)


def _environment(environ: Mapping[str, str], spec: BootstrapSpec, place: Path) -> dict[str, str]:
    """What package scripts may see of the caller's environment: how to reach the network."""
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
    if os.geteuid() != 0:
        # For root they are in a process namespace, which ends with its caller.
        _end_processes(parent)
    ours = {os.geteuid()} | ({own_ids.first_free()} if os.geteuid() == 0 else set())
    for left in parent.glob(f"{_PLACE}*"):
        # A killed run leaves its half-made root behind.
        with contextlib.suppress(OSError, ValueError):
            if left.lstat().st_uid in ours and _is_left(left.name):
                _remove(left, prefix)
    place = Path(tempfile.mkdtemp(prefix=f"{_PLACE}{os.getpid()}-", dir=parent))
    try:
        place.chmod(0o711)
        yield place
    finally:
        _remove(place, prefix)


def _is_left(name: str) -> bool:
    """Whether the process that made the place of this name has ended. Raises ValueError for the name of no place."""
    owner = int(name.removeprefix(_PLACE).partition("-")[0])
    return not Path(f"/proc/{owner}").exists()


def _end_processes(parent: Path) -> None:
    """End what mmdebstrap still runs in the place of a killed caller. It has mapped ids, so it got no signal when it
    lost its parent; the owner of its namespace may send it one."""
    for process_folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            place = Path(str((process_folder / "cwd").readlink()).removesuffix(" (deleted)"))
            if place.parent == parent and place.name.startswith(_PLACE) and _is_left(place.name):
                os.kill(int(process_folder.name), signal.SIGKILL)


def _remove(folder: Path, prefix: tuple[str, ...]) -> None:
    process.run([*prefix, "rm", "-rf", "--one-file-system", "--", str(folder)], timeout=300)


def _failure(spec: BootstrapSpec, outcome: process.Outcome) -> PortableError:
    text = process.last_lines(outcome.log, 1 << 18) if outcome.log else outcome.stderr.text
    if outcome.timed_out:
        return StepError(
            f"the bootstrap of {spec.suite} did not end within {spec.timeout:.0f} s",
            tail=hide(text),
            log=outcome.log,
            hint="check the mirror's speed",
        )
    problem = failures.explain(text, suite=spec.suite, known_packages=_host_packages)
    return problem.error(problem.what, tail=hide(text), log=outcome.log, hint=problem.hint)


def _host_packages() -> list[str]:
    return process.run(["apt-cache", "pkgnames"], timeout=20, capture_bytes=8 << 20).stdout.text.split()
