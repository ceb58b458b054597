"""Packages, and a script, on top of an image that was not bootstrapped: installed by the image's own manager."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from py_portable import command, resources
from py_portable.command import Outcome
from py_portable.engines import beside
from py_portable.engines.base import Bind, Engine, Job
from py_portable.errors import MachineError, PortableError, StepError
from py_portable.images import network, problems
from py_portable.images.adding import additions, aptfiles
from py_portable.images.adding.additions import SCRIPT, Additions, Manager
from py_portable.images.adding.unpacking import unpack
from py_portable.images.debian import apt
from py_portable.images.debian.recipe import EPOCH, TIMEOUT_SECONDS
from py_portable.images.debian.releases import Release, releases
from py_portable.images.entries import Entries, drift
from py_portable.images.model import Image, Request
from py_portable.images.packages import optional_packages, programs, provided, system_packages
from py_portable.store import Store

OUT = "/out"
_LIST_BYTES = 8 << 20


@dataclass(frozen=True)
class _Work:
    """What an addition is made of."""

    base: Image
    engine: Engine
    manager: Manager
    asked: Additions
    prefix: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    setup: apt.AptSetup
    timeout: float


@dataclass(frozen=True)
class _Missing:
    packages: tuple[str, ...]
    tar: bool
    """Whether the image lacks the program that packs it."""


def derive(
    base: Image,
    request: Request,
    store: Store,
    prefix: tuple[str, ...],
    *,
    environ: Mapping[str, str] | None = None,
    setup: Callable[[], apt.AptSetup] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Image:
    """`base` with the packages, needs and `before` of the request; `base` itself where it lacks nothing.

    What is made lies in the store; its identity is over the base's and all that is installed then. `prefix` maps
    a full range of ids for an ordinary user. Raises ConfigError, ImageUnavailable, MachineError or StepError.
    """
    if request.plain:
        return base
    if request.engine is None:
        raise MachineError(
            f"packages can be added to {base.name} by an engine only, and none was chosen",
            hint="run: py-portable doctor",
        )
    asked = Additions(base.identity, request.packages, request.needs, request.before)
    entries = Entries(store, "derived")
    entry = (
        None
        if request.locked_identity == base.identity
        else entries.known({**asked.told(), **beside.mark()}, request)
    )
    if entry is None:
        manager = additions.find_manager(base.root)
        work = _Work(
            base,
            request.engine,
            manager,
            asked,
            prefix,
            dict(os.environ) if environ is None else environ,
            (setup or _machine)() if manager == "apt" else apt.AptSetup(),
            timeout,
        )
        try:
            missing = _look(work, store)
            if not missing.packages and not request.before:
                return dataclasses.replace(
                    base, drifted_from=base.drifted_from or drift(base.identity, request)
                )
            if missing.tar and "tar" not in missing.packages and not request.before:
                raise _no_tar(base.name)
            entry = entries.get(
                {**asked.told(), **beside.mark()},
                request,
                lambda place: _make(work, missing.packages, place),
                prefix=prefix,
            )
        except PortableError:
            # Before a package is blamed, the image that it was to be added to is looked at.
            store.require(base.key)
            raise
    identity = str(entry.meta["identity"])
    digests = {(name, version): digest for name, version, digest in base.packages}
    return dataclasses.replace(
        base,
        root=entry.path / "root",
        identity=identity,
        glibc=entry.meta["glibc"] or base.glibc,
        packages=tuple(
            (str(name), str(version), digests.get((name, version)) or "")
            for name, version, _ in entry.meta["packages"]
        ),
        drifted_from=drift(identity, request),
        key=entry.key,
        log=entry.log,
    )


def _machine() -> apt.AptSetup:
    try:
        return apt.read(release.suite for release in releases().values())
    except MachineError:
        return apt.AptSetup()


def _release(root: Path) -> Release | None:
    """The Debian release that the image is, where it is one that the kit knows."""
    told = additions.os_release(root)
    return releases().get(told.get("VERSION_ID", "")) if told.get("ID") == "debian" else None


def _look(work: _Work, store: Store) -> _Missing:
    """What is not there yet, found out offline."""
    if work.manager == "none" and (work.asked.packages or work.asked.needs):
        raise StepError(
            f"{work.base.name} has no package manager that is known here (apt-get, dnf, microdnf, yum, zypper, apk)",
            hint="install what is missing in `before`, or use an image that has it",
        )
    own = set(work.asked.packages)
    names = system_packages(work.manager, work.asked.needs, own)
    with store.scratch("look", prefix=work.prefix) as place:
        out = _folder(place / "out")
        job = _job(
            work, place, ("look", work.manager, *programs(), "tar", "--", *names), out, network_too=False
        )
        outcome = work.engine.run(job, timeout=120)
        command.require(
            outcome,
            what=f"looking at what {work.base.name} has",
            hint="packages can be added to images that have /bin/sh and can be started here",
        )
        there = set(_words(out / "programs"))
        lacking = _words(out / "missing")
    packages = tuple(name for name in lacking if name in own or not provided(name, there))
    return _Missing(packages, "tar" not in there)


def _make(work: _Work, packages: tuple[str, ...], place: Path) -> Mapping[str, object]:
    """What the store's entry is made of: `place/out/root`, and what is known about it."""
    out, log = _folder(place / "changed"), place / "log"
    optional = optional_packages(work.manager, work.asked.needs) if packages else ()
    job = _job(work, place, ("add", work.manager, *packages, "--", *optional), out, network_too=True)
    hidden = network.secrets(work.environ, work.setup)
    started = time.time()
    try:
        outcome = work.engine.run(job, timeout=work.timeout, log=log)
    finally:
        network.scrub(log, hidden)
    if not outcome.ok:
        raise _failure(work, outcome, out, hidden)
    installed = additions.parse_installed(_text(out / "packages"))
    unpack(
        base=work.base.root,
        changed=out / "root.tar",
        place=place,
        started=int(started),
        prefix=work.prefix,
        timeout=work.timeout,
    )
    return {
        "identity": work.asked.identity(installed),
        "glibc": additions.glibc_of(installed),
        "base": work.base.identity,
        "engine": work.engine.name,
        "seconds": round(time.time() - started, 1),
        "packages": [list(package) for package in installed],
    }


def _job(work: _Work, place: Path, words: tuple[str, ...], out: Path, *, network_too: bool) -> Job:
    """The script in the image; `place/kit` is made with what it reads, as far as it may use the network."""
    kit = _folder(place / "kit")
    script = PurePosixPath(SCRIPT).name
    (kit / script).write_bytes(resources.path(SCRIPT).read_bytes())
    env = {
        "PATH": network.PATH,
        "LC_ALL": "C.UTF-8",
        **work.base.env,
        "HOME": "/root",
        "TZ": "UTC",
        "DEBIAN_FRONTEND": "noninteractive",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": str(EPOCH),
    }
    if network_too:
        env |= network.proxies(work.environ)
        bundle = network.ca_bundle(work.setup, work.environ)
        files: dict[str, bytes] = {}
        if bundle is not None:
            files["ca.crt"] = bundle.encode()
            env |= dict.fromkeys(network.CA_VARIABLES, f"{aptfiles.KIT}/ca.crt")
        if work.manager == "apt":
            files |= aptfiles.files(work.setup, _release(work.base.root), bundle)
            env["APT_CONFIG"] = f"{aptfiles.KIT}/apt.conf"
        if work.asked.before:
            files["before"] = work.asked.before.encode()
        for name, data in files.items():
            _folder((kit / name).parent)
            # Ids inside are others than the caller's: apt's own user reads keys.
            (kit / name).write_bytes(data)
            (kit / name).chmod(0o644)
    return Job(
        profile="build",
        root=work.base.root,
        argv=("/bin/sh", f"{aptfiles.KIT}/{script}", *words),
        env=env,
        binds=(Bind(kit, aptfiles.KIT), Bind(out, OUT, writable=True)),
        root_access="throw-away",
        network=network_too,
        hostname="build",
    )


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.chmod(0o755)
    return path


def _failure(work: _Work, outcome: Outcome, out: Path, hidden: tuple[str, ...]) -> PortableError:
    name = work.base.name
    text = command.last_lines(outcome.log, 1 << 18) if outcome.log else outcome.stderr.text
    text = network.cleaned(text, hidden)
    phase = _text(out / "phase").strip()
    if outcome.timed_out:
        return StepError(
            f"adding packages to {name} did not end within {work.timeout:.0f} s",
            tail=text,
            log=outcome.log,
            hint="check the mirror's speed, or what `before` waits for",
        )
    if phase == "before":
        return StepError(
            f"`before` failed on {name} with exit status {outcome.status}",
            tail=text,
            log=outcome.log,
            hint="the log has all of it; the script runs under /bin/sh -e, as root, with the network",
        )
    if "py-portable: the image has no tar" in text:
        return _no_tar(name)
    problem = problems.explain(
        text,
        suite=name,
        known_packages=lambda: _words(out / "names"),
        doing=f"adding packages to {name}",
        names_first=False,
    )
    return problem.error(problem.what, tail=text, log=outcome.log, hint=problem.hint)


def _no_tar(name: str) -> StepError:
    return StepError(
        f"{name} has no tar, which packs it when packages are added",
        hint="add tar to the `packages` of the baseline",
    )


def _text(path: Path) -> str:
    return additions.read_bounded(path, _LIST_BYTES).decode("utf-8", "replace")


def _words(path: Path) -> list[str]:
    return _text(path).split()
