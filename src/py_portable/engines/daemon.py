"""What docker and podman have in common: what the other side is, its images, and what earlier runs left there."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable.base import process
from py_portable.base.process import Outcome
from py_portable.base.redact import hide
from py_portable.engines import beside, ids, owner
from py_portable.engines.engine import LIMITS
from py_portable.errors import MachineError

REPOSITORY = "localhost/py-portable-root"
"""With its host: podman looks for a short name wherever its configuration says."""
ROOT_LABEL = "py-portable.root"
KEPT_PREFIX = "py-portable-kept-"
OLDEST: Mapping[str, tuple[int, int]] = {"docker": (20, 10), "podman": (4, 0)}
"""docker: the first with `run --pull`. podman: the first of the series that was tried (4.3)."""
_INFO_SECONDS = 30.0
_IMPORT_SECONDS = 1800.0
_CURE_INSTALL = {"docker": "apt-get install docker.io", "podman": "apt-get install podman"}


@dataclass(frozen=True)
class Daemon:
    """What answers. `rootless`: root inside is an ordinary user of its host. `limits`: of LIMITS, what it can set."""

    program: str
    version: str
    rootless: bool
    limits: tuple[str, ...] = ()


def find(program: str) -> Daemon:
    """Ask it what it is, once a process. Raises MachineError where it is missing, silent or too old."""
    return _find(program, selected())


def selected() -> tuple[str, ...]:
    """What decides which daemon a command line reaches."""
    return tuple(os.environ.get(name, "") for name in _SELECTORS)


_SELECTORS = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINER_HOST", "PATH")


@functools.lru_cache
def _find(program: str, _selected: tuple[str, ...]) -> Daemon:
    if not shutil.which(program):
        raise MachineError(f"{program} is not installed", hint=_CURE_INSTALL[program])
    outcome = process.run([program, "info", "--format", "{{json .}}"], timeout=_INFO_SECONDS)
    told = _object(outcome.stdout.text)
    version = _version(program, told)
    if not version and program == "docker" and _version("podman", told):
        raise MachineError(
            "the program docker is podman under another name", hint="use it as --engine podman"
        )
    if not version:
        cause, cure = why_silent(program, outcome)
        raise MachineError(f"{program}: {cause}", hint=cure, tail=hide(outcome.stderr.text))
    check_version(program, version)
    return Daemon(program, version, _rootless(told), limits(told))


def check_version(program: str, version: str) -> None:
    """Raises MachineError for a version that is too old."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST[program]:
        wanted = ".".join(map(str, OLDEST[program]))
        raise MachineError(
            f"{program} {version} was found, but {wanted} or newer is required",
            hint=f"install a newer {program}, or use another engine: py-portable doctor",
        )


def _object(text: str) -> Mapping[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _version(program: str, told: Mapping[str, Any]) -> str:
    if program == "podman":
        return str(_part(told, "version").get("Version") or "")
    return str(told.get("ServerVersion") or "")


def _rootless(told: Mapping[str, Any]) -> bool:
    options = told.get("SecurityOptions")
    if isinstance(options, list):
        return any(str(option).startswith(("name=rootless", "name=userns")) for option in options)
    return bool(_part(_part(told, "host"), "security").get("rootless"))


def limits(told: Mapping[str, Any]) -> tuple[str, ...]:
    """What of LIMITS the `info` of a daemon says that it can set: docker by a word each, podman by controllers."""
    controllers = _part(told, "host").get("cgroupControllers")
    words = {"memory": "MemoryLimit", "processes": "PidsLimit"}
    if isinstance(controllers, list):
        return tuple(
            name for name in LIMITS if {"memory": "memory", "processes": "pids"}[name] in controllers
        )
    return tuple(name for name in LIMITS if told.get(words[name]) is True)


def _part(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    return found if isinstance(found, dict) else {}


def why_silent(program: str, outcome: Outcome) -> tuple[str, str]:
    """Why `info` told no version, and what corrects it."""
    said = outcome.stderr.text + outcome.stdout.text
    if outcome.timed_out:
        return f"did not answer within {_INFO_SECONDS:.0f} s", f"look at: {program} info"
    if program == "docker" and "permission denied" in said.lower():
        return (
            "this user may not use its socket",
            f"sudo usermod --append --groups docker {os.environ.get('USER') or '$USER'}, then log in again",
        )
    if any(words in said.lower() for words in ("cannot connect", "connection refused", "no such host")):
        variable, unit = _REACHED_BY[program]
        where = os.environ.get(variable)
        return (
            "the daemon does not answer" + (f" at {hide(where)}" if where else ""),
            f"check {variable}, or look at: {program} info" if where else f"sudo systemctl start {unit}",
        )
    # With --format docker tells its errors as part of what it tells.
    errors = _object(outcome.stdout.text).get("ServerErrors")
    if isinstance(errors, list) and errors:
        said = "\n".join(map(str, errors))
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (hide(lines[-1]) if lines else "said nothing"), f"look at: {program} info"


_REACHED_BY = {"docker": ("DOCKER_HOST", "docker"), "podman": ("CONTAINER_HOST", "podman.socket")}


_importing = threading.Lock()


@dataclass(frozen=True)
class Home:
    """A user's own folder that is added to what the daemon gets: podman has no tmpfs for one."""

    path: str
    uid: int


def image_of(root: Path, home: Home | None = None, changes: tuple[str, ...] = ()) -> str:
    """The tag under which the daemon has this root file system. Only a stat: a stored root never changes."""
    try:
        seen = root.stat()
        state = f"{seen.st_dev} {seen.st_ino} {seen.st_ctime_ns}"
    except OSError:
        state = "missing"
    told = [f"{root.resolve()} {state}", repr(home), *changes]
    return f"{REPOSITORY}:{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]}"


def bring(program: str, root: Path, home: Home | None = None, changes: tuple[str, ...] = ()) -> str:
    """Bring a root file system into the daemon, once; its tag. `changes`: Dockerfile lines such as `ENV A=b`.

    Raises MachineError.
    """
    tag = image_of(root, home, changes)
    with _importing:
        if not has(program, tag):
            _import(program, root, tag, home, changes)
    return tag


def has(program: str, tag: str) -> bool:
    """Whether the daemon has the image; asked once, since nothing removes one while a run needs it."""
    key = (program, *selected(), tag)
    if key not in _known and process.run([program, "image", "inspect", tag], timeout=60).ok:
        _known.add(key)
    return key in _known


_known: set[tuple[str, ...]] = set()


def _pack(root: Path, archive: Path, program: str) -> None:
    what, hint = f"packing a root file system for {program}", "check that TMPDIR has room for it"
    if not ids.available():
        try:
            beside.pack(root, archive)
        except OSError as problem:
            raise MachineError(f"{what}: {problem}", hint=hint) from problem
        return
    words = ("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--one-file-system")
    process.check(
        [*ids.prefix(), *words, "-cf", archive, "-C", root, "."],
        what=what,
        error=MachineError,
        timeout=_IMPORT_SECONDS,
        hint=hint,
    )


def _import(program: str, root: Path, tag: str, home: Home | None, changes: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory(prefix="py-portable-import-") as folder:
        archive = Path(folder) / "root.tar"
        # By a file, not a pipe: of a pipe's two sides only one would be heard failing.
        _pack(root, archive, program)
        if home:
            with tarfile.open(archive, "a") as tar:
                entry = tarfile.TarInfo(f".{home.path}")
                entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o700, home.uid, home.uid
                tar.addfile(entry)
        lines = (f"LABEL {ROOT_LABEL}=1", *changes)
        process.check(
            [program, "import", *(word for line in lines for word in ("--change", line)), archive, tag],
            what=f"{program} import",
            error=MachineError,
            timeout=_IMPORT_SECONDS,
            hint=f"check that {program}'s own disk has room: {program} system df",
        )


def sweep(program: str) -> tuple[str, ...]:
    """Remove the containers of runs that were killed; their names. What was kept for a person stays."""
    listing = process.run(
        [
            *(program, "ps", "--all", "--filter", f"label={owner.LABEL}"),
            *("--format", f'{{{{.Names}}}} {{{{.Label "{owner.LABEL}"}}}}'),
        ],
        timeout=60,
    )
    dead = []
    for line in listing.stdout.text.splitlines():
        name, _, label = line.partition(" ")
        if name and not name.startswith(KEPT_PREFIX) and owner.is_dead(label.strip()):
            dead.append(name)
    if dead:
        remove(program, *dead)
    return tuple(dead)


def remove(program: str, *names: str) -> None:
    """Remove containers with their volumes, running or not; those that are gone already are no trouble."""
    process.run([program, "rm", "--force", "--volumes", *names], timeout=120)


def answering() -> Iterator[str]:
    """The programs whose daemon answers, docker first; each is asked when it is its turn."""
    for program in OLDEST:
        with contextlib.suppress(MachineError):
            find(program)
            yield program


def forget_images(program: str, keep_days: float) -> None:
    """Remove the root file systems that were brought into the daemon more than so many days ago."""
    process.run(
        [
            *(program, "image", "prune", "--all", "--force"),
            *("--filter", f"label={ROOT_LABEL}", "--filter", f"until={round(keep_days * 86400)}s"),
        ],
        timeout=300,
    )
