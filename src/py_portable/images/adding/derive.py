"""Packages, and a script, on top of an image that was not bootstrapped: installed by the image's own manager."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from py_portable.engines import beside
from py_portable.errors import MachineError, PortableError
from py_portable.images.adding import additions, running
from py_portable.images.adding.additions import Additions
from py_portable.images.adding.running import Missing, Work, folder, look, no_tar, read_text
from py_portable.images.adding.unpacking import unpack
from py_portable.images.debian import apt, network
from py_portable.images.debian.recipe import TIMEOUT_SECONDS
from py_portable.images.debian.releases import releases
from py_portable.images.entries import Entries, drift
from py_portable.images.image import Image, Request
from py_portable.images.packages import optional_packages
from py_portable.store import DamagedError, Store


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
            f"packages can be added to {base.name} only with an engine, and none was chosen",
            hint="run: py-portable doctor",
        )
    asked = Additions(base.identity, request.packages, request.needs, request.before, request.if_there)
    entries = Entries(store, "derived")
    entry = (
        None
        if request.locked_identity == base.identity
        else entries.known({**asked.told(), **beside.mark()}, request)
    )
    if entry is None:
        if base.key and store.get(base.key) is None:
            raise DamagedError(f"{base.name} was damaged in the store", where=str(store.root))
        manager = additions.find_manager(base.root)
        work = Work(
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
            missing = look(work, store)
            if not (missing.packages or missing.if_there or request.before):
                return dataclasses.replace(
                    base, drifted_from=base.drifted_from or drift(base.identity, request)
                )
            if missing.tar and "tar" not in missing.packages and not request.before:
                raise no_tar(base.name)
            entry = entries.get(
                {**asked.told(), **beside.mark()},
                request,
                lambda place: _make(work, missing, place),
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


def _make(work: Work, missing: Missing, place: Path) -> Mapping[str, object]:
    """What the store's entry is made of: `place/out/root`, and what is known about it."""
    out, log = folder(place / "changed"), place / "log"
    packages = missing.packages
    optional = optional_packages(work.manager, work.asked.needs) if packages else ()
    words = ("add", work.manager, *packages, "--", *optional, "--", *missing.if_there)
    job = running.job(work, place, words, out, network_too=True)
    hidden = network.secrets(work.environ, work.setup)
    started = time.time()
    try:
        outcome = work.engine.run(job, timeout=work.timeout, log=log)
    finally:
        network.scrub(log, hidden)
    if not outcome.ok:
        raise running.failure(work, outcome, out, hidden)
    installed = additions.parse_installed(read_text(out / "packages"))
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
