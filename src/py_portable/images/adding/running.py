"""How an image's own package manager is run in it: what it is given, what it finds, and what its failure means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from py_portable import resources
from py_portable.base import process
from py_portable.base.process import Outcome
from py_portable.engines.engine import Bind, Engine, Job
from py_portable.errors import PortableError, StepError
from py_portable.images import failures
from py_portable.images.adding import additions, aptfiles
from py_portable.images.adding.additions import SCRIPT, Additions, Manager
from py_portable.images.debian import apt, network
from py_portable.images.debian.recipe import EPOCH
from py_portable.images.debian.releases import Release, releases
from py_portable.images.image import Image
from py_portable.images.packages import programs, provided, system_packages
from py_portable.store import Store

OUT = "/out"
_LIST_BYTES = 8 << 20


@dataclass(frozen=True)
class Work:
    """What an addition is made of."""

    base: Image
    engine: Engine
    manager: Manager
    asked: Additions
    prefix: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    setup: apt.AptSetup
    timeout: float
    in_container: bool = False
    """Whether the root is the container that this process is in: its own configuration is the machine's."""


@dataclass(frozen=True)
class Missing:
    packages: tuple[str, ...]
    tar: bool
    """Whether the image lacks the program that packs it."""
    if_there: tuple[str, ...] = ()


def release_of(root: Path) -> Release | None:
    """The Debian release that the image is, where it is one that the kit knows."""
    told = additions.os_release(root)
    return releases().get(told.get("VERSION_ID", "")) if told.get("ID") == "debian" else None


def look(work: Work, store: Store) -> Missing:
    """What is not there yet, found out offline."""
    if work.manager == "none" and (work.asked.packages or work.asked.needs):
        raise StepError(
            f"{work.base.name} has no known package manager (apt-get, dnf, microdnf, yum, zypper, apk)",
            hint="install what is missing in `before`, or use an image that has it",
        )
    own, sought = set(work.asked.packages), set(work.asked.if_there)
    names = system_packages(work.manager, work.asked.needs, own) if work.manager != "none" else ()
    listed = sorted({*names, *sought})
    with store.scratch("look", prefix=work.prefix) as place:
        out = folder(place / "out")
        looked = job(
            work, place, ("look", work.manager, *programs(), "tar", "--", *listed), out, network_too=False
        )
        outcome = work.engine.run(looked, timeout=120)
        process.require(
            outcome,
            what=f"looking at what {work.base.name} has",
            hint="packages can be added to images that have /bin/sh and can be started here",
        )
        there = set(read_words(out / "programs"))
        lacking = read_words(out / "missing")
    asked = (name for name in lacking if name in names)
    packages = tuple(name for name in asked if name in own or not provided(name, there))
    more = tuple(name for name in lacking if name in sought and name not in packages)
    return Missing(packages, "tar" not in there, more if work.manager != "none" else ())


def job(work: Work, place: Path, words: tuple[str, ...], out: Path, *, network_too: bool) -> Job:
    """The script in the image; `place/kit` is made with what it reads, as far as it may use the network."""
    kit = folder(place / "kit")
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
        if work.in_container and not any(work.environ.get(name) for name in network.CA_VARIABLES):
            # What it checks servers with by itself is the same.
            bundle = None
        files: dict[str, bytes] = {}
        if bundle is not None:
            files["ca.crt"] = bundle.encode()
            env |= dict.fromkeys(network.CA_VARIABLES, f"{aptfiles.KIT}/ca.crt")
        if work.manager == "apt":
            files |= aptfiles.files(work.setup, release_of(work.base.root), bundle)
            env["APT_CONFIG"] = f"{aptfiles.KIT}/apt.conf"
        if work.asked.before:
            files["before"] = work.asked.before.encode()
        for name, data in files.items():
            folder((kit / name).parent)
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


def folder(path: Path) -> Path:
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.chmod(0o755)
    return path


def failure(work: Work, outcome: Outcome, out: Path, hidden: tuple[str, ...]) -> PortableError:
    name = work.base.name
    text = process.last_lines(outcome.log, 1 << 18) if outcome.log else outcome.stderr.text
    text = network.cleaned(text, hidden)
    phase = read_text(out / "phase").strip()
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
            hint="the complete output is in the log; the script runs under /bin/sh -e, as root, with the network",
        )
    if "py-portable: the image has no tar" in text:
        return no_tar(name)
    problem = failures.explain(
        text,
        suite=name,
        known_packages=lambda: read_words(out / "names"),
        doing=f"adding packages to {name}",
        names_first=False,
    )
    return problem.error(problem.what, tail=text, log=outcome.log, hint=problem.hint)


def no_tar(name: str) -> StepError:
    return StepError(
        f"{name} has no tar, which packs it when packages are added",
        hint="add tar to the `packages` of the baseline",
    )


def read_text(path: Path) -> str:
    return additions.read_bounded(path, _LIST_BYTES).decode("utf-8", "replace")


def read_words(path: Path) -> list[str]:
    return read_text(path).split()
