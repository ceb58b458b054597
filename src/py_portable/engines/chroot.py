"""chroot: for machines without bubblewrap. The same throw-away root, furnished by a script.

Isolation is `partial`: a cell cannot get out (cell-run takes every capability from it), but a build, which
runs as root, can leave a chroot; and the environment of a build can be seen in the list of processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from py_portable.command import Outcome, run
from py_portable.engines import ids, stage
from py_portable.engines.base import Ended, EngineInfo, Job
from py_portable.engines.guard import piped, supervised
from py_portable.engines.trial import trial


@dataclass(frozen=True)
class Chroot:
    """`helpers`: a folder with the compiled cell-run and canary; without it a probe compiles them."""

    helpers: Path | None = None
    name: str = "chroot"

    def probe(self) -> EngineInfo:
        """Start the canary. Raises MachineError, whose hint is the cure."""
        lacks = trial(self, self.helpers)
        return EngineInfo(self.name, stage.version(stage.tool("unshare")), "partial", lacks)

    def argv(self, job: Job) -> tuple[str, ...]:
        """The command line by hand; it shows the job's environment."""
        return _argv(supervised(job, self.helpers), _assignments(job))

    def run(
        self,
        job: Job,
        *,
        timeout: float,
        log: Path | None = None,
        capture_bytes: int = 65536,
    ) -> Ended:
        """Run the job; its environment is left out of the log."""

        def call(job: Job, timeout: float, fds: tuple[int, ...]) -> Outcome:
            return run(
                _argv(job, _assignments(job)),
                shown=_argv(job, tuple(f"{name}=..." for name in job.env)),
                env=stage.environment(),
                timeout=timeout,
                log=log,
                pass_fds=fds,
                capture_bytes=capture_bytes,
                lines=job.lines,
            )

        return piped(call, job, self.helpers, timeout)


def _assignments(job: Job) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in job.env.items())


def _argv(job: Job, assignments: tuple[str, ...]) -> tuple[str, ...]:
    flags = ["--ipc", "--uts"]
    if not job.network:
        flags.append("--net")
    tmp = stage.fresh_tmp(job)
    unshare = stage.tool("unshare")
    return (
        *stage.words(job, ids.detect(), tuple(flags)),
        *(
            "sh",
            str(stage.script("chroot.sh")),
            str(stage.script("chroot.fstab")),
            job.hostname,
            "host" if job.network else "own",
        ),
        "" if tmp is None else tmp or stage.BUILD_SIZE,
        "ro" if job.root_access == "read-only" else "rw",
        *(
            word
            for bind in stage.binds(job)
            for word in (str(bind.source), bind.target, "rw" if bind.writable else "ro")
        ),
        "--",
        *(stage.tool("env"), "-i", *assignments, unshare, "--root", stage.MERGED, "--wd", job.cwd, "--"),
        *job.argv,
    )
