"""native: no sandbox at all, for a job that runs inside the image already (a CI container).

Isolation is `partial` and `lacks` names nearly everything. Only chosen by name, never by `auto`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from py_portable.base.process import Outcome, run
from py_portable.engines import builds
from py_portable.engines.engine import Bind, Ended, EngineInfo, Job, Node
from py_portable.engines.guard import HELPERS, piped, supervised
from py_portable.engines.trial import trial
from py_portable.errors import MachineError

ROOT = Path("/")
_HOMES = "py-portable-home-"
_NO_LAYERS = "the engine native changes the root that it runs in, so nothing is installed there"
_OTHER = "use --engine bubblewrap, docker, podman or chroot"


@dataclass(frozen=True)
class Native:
    """`helpers`: a folder with the compiled cell-run and canary; without it a probe compiles them."""

    helpers: Path | None = None
    name: str = "native"

    def probe(self) -> EngineInfo:
        """Start the canary. Raises MachineError."""
        return EngineInfo(self.name, os.uname().release, "partial", trial(self, self.helpers))

    def argv(self, job: Job) -> tuple[str, ...]:
        """The command line by hand. What a bind would show elsewhere is named where it is."""
        assignments = (f"{name}={value}" for name, value in job.env.items())
        return ("env", "-i", "-C", job.cwd, *assignments, *_at_home(supervised(job, self.helpers)))

    def run(
        self,
        job: Job,
        *,
        timeout: float,
        log: Path | None = None,
        capture_bytes: int = 65536,
    ) -> Ended:
        """Run the job. Raises MachineError for a root other than /, which this engine cannot give, and for layers."""
        if job.layer or job.layers:
            raise MachineError(_NO_LAYERS, hint=_OTHER)
        if job.root.absolute() != ROOT:
            raise MachineError(
                f"the engine native cannot run a command in {job.root}",
                hint="use --engine bubblewrap, or build in this container itself: --build-engine native",
            )
        builds.hold(self, job, self.helpers)

        def call(job: Job, timeout: float, fds: tuple[int, ...]) -> Outcome:
            return run(
                _at_home(job),
                cwd=Path(job.cwd),
                env=job.env,
                timeout=timeout,
                log=log,
                pass_fds=fds,
                capture_bytes=capture_bytes,
                lines=job.lines,
            )

        with ExitStack() as stack:
            job = replace(job, binds=tuple(_within_reach(bind, stack) for bind in job.binds))
            if helpers := job.helpers or self.helpers:
                job = replace(job, helpers=_within_reach(Bind(helpers, HELPERS), stack).source)
            if job.home is not None:
                _sweep()
                prefix = f"{_HOMES}{os.getpid()}-"
                home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
                if os.geteuid() == 0:
                    # In a namespace of few ids that one may not be there: the canary sees who the cell is then.
                    with suppress(OSError):
                        os.chown(home, job.uid, job.uid)
                job = replace(job, env={**job.env, "HOME": str(home)})
            return piped(call, job, self.helpers, timeout)

    def listing(self, root: Path, layers: tuple[Path, ...]) -> Mapping[str, Node]:
        """Raises MachineError."""
        raise MachineError(_NO_LAYERS, hint=_OTHER)

    def forget(self, layer: Path) -> None:
        """It has none."""


def _within_reach(bind: Bind, stack: ExitStack) -> Bind:
    """The bind, or one of a copy where the ordinary user that root becomes cannot get at the original."""
    source = bind.source.absolute()
    if os.geteuid() != 0 or bind.writable or all(p.stat().st_mode & 0o001 for p in source.parents):
        return bind
    _sweep()
    prefix = f"{_HOMES}{os.getpid()}-"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
    folder.chmod(0o755)
    copy = folder / source.name
    if source.is_dir():
        shutil.copytree(source, copy, symlinks=True)
    else:
        shutil.copy2(source, copy)
    return replace(bind, source=copy)


def _sweep() -> None:
    """Remove the homes and copies of callers that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_HOMES}*-*"):
        pid = path.name.removeprefix(_HOMES).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(path, ignore_errors=True)


def _at_home(job: Job) -> tuple[str, ...]:
    return tuple(_source(job, word) for word in job.argv)


def _source(job: Job, word: str) -> str:
    for bind in job.binds:
        if word == bind.target or word.startswith(bind.target.rstrip("/") + "/"):
            return str(bind.source.absolute()) + word[len(bind.target.rstrip("/")) :]
    return word
