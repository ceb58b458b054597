"""The container of this process as a baseline: what it is, and what is added to it, where it stays.

For builds of the engine `native`: there is one root, so one baseline, and what is installed is there for all that
follows. A note in the root says which baseline it has become.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

from py_portable.engines.engine import Engine
from py_portable.errors import MachineError
from py_portable.images import libc
from py_portable.images.adding import additions, running
from py_portable.images.adding.additions import Additions, Installed
from py_portable.images.adding.running import Work, folder, look, read_text
from py_portable.images.debian import apt, network
from py_portable.images.debian.recipe import TIMEOUT_SECONDS
from py_portable.images.host import NOTE
from py_portable.images.image import Found, Image, Request
from py_portable.images.matching import Seen, match
from py_portable.images.packages import optional_packages
from py_portable.store import Store

ROOT = Path("/")
_KEPT = ("PATH", "LD_LIBRARY_PATH", "PKG_CONFIG_PATH", "DEVTOOLSET_ROOTPATH")
_KEPT_ALL = "AUDITWHEEL_"
"""What images set for building. The rest of a job's environment is CI's and the caller's, and no step sees it."""
_MOST = 8 << 20


def baseline(
    request: Request, store: Store, engine: Engine, *, environ: Mapping[str, str] | None = None
) -> Image:
    """This container as the image of the request, with what it asks for installed.

    Raises MachineError where it is another image, is no container that is thrown away, or is another baseline already;
    StepError where a package or `before` fails.
    """
    environ = os.environ if environ is None else environ
    here = _Here(request, store, engine, environ)
    if (noted := _noted(request)) is not None:
        return here.image(*noted)
    seen = here.seen()
    found = match(request.name, seen, request.locked_origin, request.locked_container)
    asked = Additions(found.identity, request.packages, request.needs, request.before)
    installed = here.add(asked, seen.packages)
    _note(request, found, asked.identity(installed), installed)
    return here.image(found, asked.identity(installed), installed)


class _Here:
    def __init__(self, request: Request, store: Store, engine: Engine, environ: Mapping[str, str]) -> None:
        self.request, self.store, self.engine, self.environ = request, store, engine, environ
        self.manager = additions.find_manager(ROOT)
        self.env = {
            name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_ALL)
        }

    def seen(self) -> Seen:
        told = additions.os_release(ROOT)
        return Seen(
            self.environ.get("CI_JOB_IMAGE") or None,
            f"{told.get('ID', 'unknown')}:{told.get('VERSION_ID', 'unknown')}",
            libc.glibc(ROOT),
            platform.machine(),
            self._run(Additions("", (), ()), (), network_too=False),
        )

    def add(self, asked: Additions, before: tuple[Installed, ...]) -> tuple[Installed, ...]:
        """Install what is missing; all that is installed then."""
        packages = look(self._work(asked), self.store).packages
        if not packages and not asked.before:
            return before
        return self._run(asked, packages, network_too=True)

    def image(self, found: Found, identity: str, installed: tuple[Installed, ...]) -> Image:
        release = running.release_of(ROOT)
        return Image(
            self.request.name,
            ROOT,
            identity,
            "container",
            additions.glibc_of(installed) or libc.glibc(ROOT),
            release.suite if release else None,
            packages=tuple((name, version, "") for name, version, _ in installed),
            env=self.env,
            found=found,
        )

    def _work(self, asked: Additions) -> Work:
        bare = Image(self.request.name, ROOT, "", "container", None, None, env=self.env)
        return Work(
            bare,
            self.engine,
            self.manager,
            asked,
            (),
            self.environ,
            apt.AptSetup(),
            TIMEOUT_SECONDS,
            in_container=True,
        )

    def _run(
        self, asked: Additions, packages: tuple[str, ...], *, network_too: bool
    ) -> tuple[Installed, ...]:
        work = self._work(asked)
        optional = optional_packages(self.manager, asked.needs) if packages else ()
        with self.store.scratch("container") as place:
            out, log = folder(place / "changed"), place / "log"
            words = ("stay", self.manager, *packages, "--", *optional)
            job = running.job(work, place, words, out, network_too=network_too)
            hidden = network.secrets(self.environ, work.setup)
            try:
                outcome = self.engine.run(job, timeout=work.timeout, log=log)
            finally:
                network.scrub(log, hidden)
            if not outcome.ok:
                problem = running.failure(work, outcome, out, hidden)
                # It goes with the folder; the end of it stands in the message.
                problem.log = None
                raise problem
            return additions.parse_installed(read_text(out / "packages"))


def _note(request: Request, found: Found, identity: str, installed: tuple[Installed, ...]) -> None:
    told = {
        "asked": _asked(request),
        "found": [found.identity, list(found.checked), dict(found.unknown)],
        "identity": identity,
        "installed": [list(one) for one in installed],
        "when": int(time.time()),
    }
    NOTE.write_text(json.dumps(told))


def _noted(request: Request) -> tuple[Found, str, tuple[Installed, ...]] | None:
    """What this container has become already. Raises MachineError where that is another baseline."""
    text = additions.read_bounded(NOTE, _MOST)
    if not text:
        return None
    told = json.loads(text)
    if told["asked"] != _asked(request):
        raise MachineError(
            f"this container is the baseline {told['asked'][0]} with its packages already, but "
            f"{request.name} needs other packages",
            hint="one container can be only one baseline: build each one in its own job (build --baseline NAME)",
        )
    identity, checked, unknown = told["found"]
    installed = tuple((name, version, arch) for name, version, arch in told["installed"])
    return Found(identity, tuple(checked), unknown), told["identity"], installed


def _asked(request: Request) -> list[object]:
    return [
        request.name,
        sorted(request.packages),
        sorted(request.needs),
        request.before,
        request.locked_origin,
    ]
