"""chroot: for machines without bubblewrap. The same throw-away root, furnished by a script.

Nothing inside can get out: the machine's root is left, not only hidden (pivot_root(2)), and cell-run takes every
capability from a cell, and all but those of building from a build. Isolation is `partial` all the same: the
environment of a build can be seen in the list of processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable.base.process import Outcome, run
from py_portable.engines import builds, ids, own_ids, stage
from py_portable.engines.engine import Ended, EngineInfo, Job, Node
from py_portable.engines.guard import kept, piped, supervised
from py_portable.engines.static_helpers import lent
from py_portable.engines.trial import trial
from py_portable.errors import MachineError

NAME = "chroot"


@dataclass(frozen=True)
class Chroot:
    """`helpers`: a folder with the compiled cell-run and canary; without it a probe compiles them."""

    helpers: Path | None = None
    name: str = NAME

    def probe(self) -> EngineInfo:
        """Start the canary. Raises MachineError, whose hint is the cure."""
        lacks = trial(self, self.helpers)
        return EngineInfo(self.name, stage.version(stage.tool("unshare")), "partial", lacks)

    def argv(self, job: Job) -> tuple[str, ...]:
        """The command line by hand; it shows the job's environment."""
        helpers = builds.helpers(job, self.helpers)
        return _argv(supervised(job, helpers), helpers, _assignments(job))

    def run(
        self,
        job: Job,
        *,
        timeout: float,
        log: Path | None = None,
        capture_bytes: int = 65536,
    ) -> Ended:
        """Run the job; its environment is left out of the log."""
        helpers = builds.helpers(job, self.helpers)

        def call(job: Job, timeout: float, fds: tuple[int, ...]) -> Outcome:
            stage.resolved(job)
            builds.hold(self, job, helpers)
            return run(
                _argv(job, helpers, _assignments(job)),
                shown=_argv(job, helpers, tuple(f"{name}=..." for name in job.env)),
                env=stage.environment(),
                timeout=timeout,
                log=log,
                pass_fds=fds,
                capture_bytes=capture_bytes,
                lines=job.lines,
            )

        ended = piped(call, job, helpers, timeout, own_ids=bool(ids.detect().flags))
        return kept(ended, job, helpers, log)

    def listing(self, root: Path, layers: tuple[Path, ...]) -> Mapping[str, Node]:
        return stage.listing(root, layers)

    def forget(self, layer: Path) -> None:
        """All of it is in its folder."""


def _assignments(job: Job) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in job.env.items())


def _argv(job: Job, helpers: Path, assignments: tuple[str, ...]) -> tuple[str, ...]:
    if lent.is_distrusted(helpers):
        raise MachineError(
            "the engine chroot needs helpers that were compiled here: they are started outside of it",
            hint="apt-get install musl-tools, or use --engine bubblewrap",
        )
    own = own_ids.choose(job, NAME, helpers)
    flags = ["--ipc", "--uts"]
    if not job.network:
        flags.append("--net")
    tmp = stage.fresh_tmp(job)
    return (
        *stage.words(job, ids.detect(), own, tuple(flags)),
        *(
            "sh",
            str(stage.script("chroot.sh")),
            str(stage.script("chroot.fstab")),
            job.hostname,
            "host" if job.network else "own",
        ),
        "" if tmp is None else tmp or stage.BUILD_SIZE,
        "ro" if job.root_access == "read-only" else "rw",
        str(own.program),
        *(word for pair in stage.COVERED for word in pair),
        "--",
        *(
            word
            for bind in stage.binds(job, own)
            for word in (str(bind.source), bind.target, "rw" if bind.writable else "ro")
        ),
        "--",
        *(stage.tool("env"), "-i", *assignments, *own.start(stage.MERGED, job.cwd)),
        *job.argv,
    )
