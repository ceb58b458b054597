"""docker and podman, through their command lines: the engines of most machines and CI runners.

A root file system is brought into the daemon once; each job is one container, gone when the job ends. Nothing
but words, stdin, stdout and stderr passes between here and there, so a daemon on another machine will do.
"""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from py_portable.base.process import Outcome, run
from py_portable.engines import builds, committed, daemon, owner, transfer
from py_portable.engines.engine import (
    BUILD_CAPS,
    LIMITS,
    PROOF_CAPS,
    SHM_BYTES,
    Bind,
    Ended,
    EngineInfo,
    Job,
    Node,
    isolation,
)
from py_portable.engines.guard import refused, spoken, supervised
from py_portable.engines.limits import MEMORY_BYTES, PROCESSES
from py_portable.engines.stage import PROOF_BYTES, apart
from py_portable.engines.trial import trial
from py_portable.errors import MachineError

RUN_LABEL = "py-portable.run"
_RUN = secrets.token_hex(8)

Way = Literal["shown", "carried"]
"""How files get inside: bound, where the daemon sees the caller's paths, else copied in and out."""


@dataclass(frozen=True)
class Containers:
    """`helpers`: a folder with the compiled cell-run and canary; without it a probe compiles them."""

    name: str
    helpers: Path | None = None

    def probe(self) -> EngineInfo:
        """Start the canary. Raises MachineError, whose hint is the cure."""
        found = daemon.find(self.name)
        daemon.sweep(self.name)
        committed.sweep(self.name)
        lacks = trial(self, self.helpers, diagnose=self._diagnose)
        return EngineInfo(self.name, found.version, isolation(lacks), lacks)

    def _diagnose(self, said: str) -> tuple[str, str]:
        last = said.strip().splitlines()[-1] if said.strip() else "no message was printed"
        if "CAP_SYS_RESOURCE" in said or "setrlimit" in said.lower() or "oom_score_adj" in said:
            return (
                f"it cannot start a container on this machine: {last}",
                "run it on a machine where it can, or use --engine bubblewrap",
            )
        return f"the canary did not start: {last}", f"look at: {self.name} run --rm hello-world"

    def argv(self, job: Job) -> tuple[str, ...]:
        """The command line by hand; it shows the job's environment."""
        kept = supervised(job, self.helpers)
        bounds = _limits(job, LIMITS)
        return (
            self.name,
            "run",
            "--rm",
            *bounds,
            *_words(kept, committed.image_of(job), kept.binds),
        )

    def run(
        self,
        job: Job,
        *,
        timeout: float,
        log: Path | None = None,
        capture_bytes: int = 65536,
    ) -> Ended:
        """Run the job in a container of its own, which is gone afterwards."""
        builds.hold(self, job, builds.helpers(job, self.helpers))
        try:
            found = daemon.find(self.name)
            apart(supervised(job, builds.helpers(job, self.helpers)))
            image = committed.bring(self.name, job)
            carried = self._way(found, job) == "carried"
        except MachineError as problem:
            return refused((self.name, "run"), problem, log)
        name = f"py-portable-{os.getpid()}-{secrets.token_hex(4)}"
        labels = (f"{RUN_LABEL}={_RUN}", f"{owner.LABEL}={owner.mine()}")
        marks = ("--name", name, *(word for label in labels for word in ("--label", label)))

        bounds = _limits(job, found.limits)

        def call(job: Job, timeout: float, stdin: int) -> Outcome:
            with ExitStack() as stack:
                if not job.keep:
                    stack.callback(daemon.remove, self.name, name)
                begin = functools.partial(
                    run, timeout=timeout, log=log, stdin=stdin, capture_bytes=capture_bytes, lines=job.lines
                )
                if carried:
                    return self._carried(job, name, marks, bounds, image, begin)
                gone = not job.keep and not job.layer
                words = (self.name, "run", *(("--rm",) if gone else ()), "--interactive", *marks)
                outcome = begin((*words, *bounds, *_words(job, image, job.binds)))
                if outcome.ok and job.layer:
                    committed.commit(self.name, name, job.layer)
                if outcome.ok and gone:
                    stack.pop_all()  # --rm has done it
                return outcome

        given = () if carried else _given(found, job)
        try:
            ended = spoken(call, job, self.helpers, timeout, *given)
            ended = replace(ended, limits=found.limits if job.profile == "proof" else ())
        except MachineError as problem:
            return refused((self.name, "create"), problem, log)
        return self._settled(ended, job, name)

    def listing(self, root: Path, layers: tuple[Path, ...]) -> Mapping[str, Node]:
        """What the daemon hands out of a container that is never started. Raises MachineError."""
        return committed.listing(self.name, root, layers)

    def forget(self, layer: Path) -> None:
        committed.forget(self.name, layer)

    def _way(self, found: daemon.Daemon, job: Job) -> Way:
        helpers = job.helpers or self.helpers
        assert helpers is not None
        seen = transfer.sees(self.name, daemon.bring(self.name, helpers), helpers)
        # What root of a mapped range writes would be nobody's here.
        foreign = found.rootless and found.program == "docker" and any(bind.writable for bind in job.binds)
        return "shown" if seen and not foreign else "carried"

    def _carried(
        self,
        job: Job,
        name: str,
        marks: tuple[str, ...],
        bounds: tuple[str, ...],
        image: str,
        begin: Callable[[Sequence[str]], Outcome],
    ) -> Outcome:
        """Copy the binds in, start, and copy the writable ones out again."""
        with ExitStack() as stack:
            if any(bind.writable for bind in job.binds):
                # What is written has to be part of the container, which is thrown away afterwards.
                job = replace(job, root_access="throw-away")
            if job.root_access == "read-only":
                # A read-only container takes no copies: they become part of an image of its own.
                filled = transfer.filled_image(
                    self.name, image, name, f"{daemon.REPOSITORY}:{name}", job.binds, marks[2:]
                )
                stack.callback(transfer.remove_image, self.name, filled)
                transfer.create(self.name, name, (*marks, *bounds, *_words(job, filled, ())))
            else:
                transfer.create(self.name, name, (*marks, *bounds, *_words(job, image, ())))
                transfer.copy_in(self.name, name, job.binds)
            outcome = begin((self.name, "start", "--attach", "--interactive", name))
            if outcome.ok and job.layer:
                committed.commit(self.name, name, job.layer)
            for bind in job.binds:
                if bind.writable:
                    transfer.copy_out(self.name, name, bind)
            return outcome

    def _settled(self, ended: Ended, job: Job, name: str) -> Ended:
        """Keep the container of a failure where that was asked for, and remove any other."""
        if not job.keep:
            return ended
        if ended.ok or not ended.record:
            daemon.remove(self.name, name)
            return ended
        kept = f"{daemon.KEPT_PREFIX}{name.removeprefix('py-portable-')}"
        run([self.name, "rename", name, kept], timeout=60)
        look = f"{self.name} commit {kept} {kept} && {self.name} run --rm -it --entrypoint /bin/sh {kept}"
        return replace(ended, kept=look)


def docker(helpers: Path | None) -> Containers:
    return Containers("docker", helpers)


def podman(helpers: Path | None) -> Containers:
    return Containers("podman", helpers)


def _given(found: daemon.Daemon, job: Job) -> tuple[str, ...]:
    """cell-run's words that make what a build wrote the caller's: root inside is root outside."""
    uid = os.geteuid()
    if uid == 0 or found.rootless or job.profile == "proof":
        return ()
    targets = [bind.target for bind in job.binds if bind.writable]
    if not targets:
        return ()
    return ("--owner", f"{uid}:{os.getegid()}", *(word for target in targets for word in ("--owned", target)))


def _words(job: Job, image: str, binds: tuple[Bind, ...]) -> tuple[str, ...]:
    """What follows `run` and the container's name. Pure."""
    caps = PROOF_CAPS if job.profile == "proof" else BUILD_CAPS
    program, *arguments = job.argv
    return (
        *("--pull", "never", "--log-driver", "none", "--user", "0:0", "--workdir", job.cwd),
        *("--network", "host" if job.network else "none", "--hostname", job.hostname),
        *("--cap-drop", "ALL", *(word for cap in caps for word in ("--cap-add", cap))),
        *("--security-opt", "no-new-privileges", "--shm-size", str(SHM_BYTES)),
        *(("--read-only",) if job.root_access == "read-only" else ()),
        *_tmpfs(job),
        *(word for bind in binds for word in ("--mount", transfer.mount(bind))),
        *(word for name, value in job.env.items() for word in ("--env", f"{name}={value}")),
        *("--entrypoint", program, image, *arguments),
    )


def _limits(job: Job, able: tuple[str, ...]) -> tuple[str, ...]:
    """A cell's own, as far as the engine can set them: it warns on stderr of what it cannot."""
    if job.profile != "proof":
        return ()
    memory = ("--memory", str(MEMORY_BYTES), "--memory-swap", str(MEMORY_BYTES)) if "memory" in able else ()
    return (*memory, *(("--pids-limit", str(PROCESSES)) if "processes" in able else ()))


def _tmpfs(job: Job) -> tuple[str, ...]:
    if any(bind.target == "/tmp" for bind in job.binds):
        return ()
    most = job.tmp_bytes if job.tmp_bytes is not None else PROOF_BYTES if job.profile == "proof" else None
    size = "" if most is None else f"size={most},"
    return ("--tmpfs", f"/tmp:rw,exec,nosuid,nodev,{size}mode=1777")
