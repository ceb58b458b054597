"""native, as an engine of builds: steps run in the container that the job is in, whose image is the baseline.

It is no sandbox, and is only taken by its name (`--build-engine native`), in a container that is thrown away. What can
be kept without one is kept: an environment made from nothing, the system call filter, the capabilities of builds, no
process that outlives a step, inputs that are copies, and a root that is after each step what it was before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from py_portable.base.process import Outcome, run
from py_portable.engines import builds, footprint, throwaway
from py_portable.engines.engine import Ended, EngineInfo, Job, Node
from py_portable.engines.footprint import Footprint
from py_portable.engines.guard import HELPERS, piped, supervised
from py_portable.engines.native import ROOT, Native
from py_portable.engines.places import Places
from py_portable.engines.trial import trial
from py_portable.errors import MachineError, StepError
from py_portable.store import default_root

_places = Places()
_spoiled: list[str] = []
"""Why this container is no longer the baseline: no step is started in it any more."""


@dataclass(frozen=True)
class Inside:
    """`helpers`: a folder with the compiled cell-run and canary; without it a probe compiles them."""

    helpers: Path | None = None
    name: str = "native"

    def probe(self) -> EngineInfo:
        """Whether this is a container that is thrown away, and then start the canary. Raises MachineError."""
        _require()
        return EngineInfo(self.name, os.uname().release, "partial", trial(Native(self.helpers), self.helpers))

    def argv(self, job: Job) -> tuple[str, ...]:
        """The command line by hand, in a container that has the job's places."""
        if job.profile == "proof":
            return Native(self.helpers).argv(job)
        helpers = builds.helpers(job, self.helpers)
        return (
            "env",
            "-i",
            "-C",
            job.cwd,
            *_assignments(job.env),
            *_started(supervised(job, helpers), helpers),
        )

    def run(
        self,
        job: Job,
        *,
        timeout: float,
        log: Path | None = None,
        capture_bytes: int = 65536,
    ) -> Ended:
        """Run the job in this root. Raises MachineError where it is none that is thrown away, and StepError where a
        command changed more of it than its own places: no other is started in it then."""
        if job.profile == "proof" or job.canary_of or job.layer or job.layers:
            return Native(self.helpers).run(job, timeout=timeout, log=log, capture_bytes=capture_bytes)
        if job.root.absolute() != ROOT:
            raise MachineError(
                f"the build engine native cannot run a command in {job.root}, only in the container "
                "in which it runs itself",
                hint="start the job in the baseline's image, or take another engine: --build-engine auto",
            )
        _require()
        if _spoiled:
            raise MachineError(
                f"this container cannot be used for further builds: {_spoiled[0]}", hint="start the job again"
            )
        helpers = builds.helpers(job, self.helpers)
        builds.hold(self, job, helpers)

        def call(job: Job, timeout: float, fds: tuple[int, ...]) -> Outcome:
            return run(
                _started(job, helpers),
                shown=job.argv,
                cwd=Path(job.cwd),
                env=job.env,
                timeout=timeout,
                log=log,
                pass_fds=fds,
                capture_bytes=capture_bytes,
                lines=job.lines,
            )

        before = None if job.root_access == "throw-away" else _look(log)
        with _places.laid(job.binds, log.parent if log else None) as moved:
            ended = piped(call, job, helpers, timeout)
        if before is not None:
            _settle(before, moved, log)
        return ended

    def listing(self, root: Path, layers: tuple[Path, ...]) -> Mapping[str, Node]:
        """Raises MachineError."""
        return Native(self.helpers).listing(root, layers)

    def forget(self, layer: Path) -> None:
        """It has none."""


def _look(log: Path | None) -> Footprint:
    own = {default_root(os.environ), Path(sys.prefix), Path(__file__).parents[1]}
    own |= {log.parent} if log else set()
    return Footprint.look([*map(str, own), *_places.spared])


def _settle(before: Footprint, moved: tuple[str, ...], log: Path | None) -> None:
    """Make the root what it was. Raises StepError where that cannot be done."""
    changed = footprint.change(before, _look(log), moved)
    footprint.remove(changed.new)
    if changed.lost:
        # What is inside a folder that was new is among the new ones as well.
        _spoiled.append(f"a build step changed its files: {changed.told}")
        raise StepError(
            f"a build step changed files of the container that are not its own: {changed.told}",
            log=log,
            hint="a step writes to /build, /out and /tmp; changes of the system belong in `packages` or "
            "`before` of the baseline",
        )


@cache
def _require() -> None:
    throwaway.require()


def _assignments(env: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in env.items())


def _started(job: Job, helpers: Path) -> tuple[str, ...]:
    """The helpers are started where they lie: nothing of them is copied into the container."""
    first, *rest = job.argv
    return (
        (first.replace(HELPERS, str(helpers.absolute()), 1), *rest) if first.startswith(HELPERS) else job.argv
    )
