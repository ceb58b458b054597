"""bubblewrap: the embedded default. No daemon, about 0.02 s a start, full isolation as root and as others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from py_portable.base.process import Outcome, run
from py_portable.engines import builds, diagnose, ids, own_ids, stage
from py_portable.engines.engine import (
    BUILD_CAPS,
    PROOF_CAPS,
    SHM_BYTES,
    Ended,
    EngineInfo,
    Job,
    Node,
    isolation,
)
from py_portable.engines.guard import kept, piped, supervised
from py_portable.engines.trial import trial
from py_portable.errors import MachineError

NAME = "bubblewrap"
_CURE_INSTALL = "apt-get install bubblewrap"


@dataclass(frozen=True)
class Bubblewrap:
    """`helpers`: a folder with the compiled cell-run and canary; without it a probe compiles them."""

    helpers: Path | None = None
    name: str = NAME

    def probe(self) -> EngineInfo:
        """Start the canary. Raises MachineError, whose hint is the cure."""
        program = _program()
        lacks = trial(self, self.helpers)
        return EngineInfo(self.name, stage.version(program), isolation(lacks), lacks)

    def argv(self, job: Job) -> tuple[str, ...]:
        """The command line by hand; it shows the job's environment."""
        helpers = builds.helpers(job, self.helpers)
        return _argv(supervised(job, helpers), helpers, _setenv(job.env))

    def run(
        self,
        job: Job,
        *,
        timeout: float,
        log: Path | None = None,
        capture_bytes: int = 65536,
    ) -> Ended:
        """Run the job. Its environment travels through an fd, out of sight of logs and of `ps`."""
        helpers = builds.helpers(job, self.helpers)

        def call(job: Job, timeout: float, fds: tuple[int, ...]) -> Outcome:
            stage.resolved(job)
            builds.hold(self, job, helpers)
            with os.fdopen(os.memfd_create("environment", os.MFD_CLOEXEC), "wb") as words:
                words.write(b"".join(os.fsencode(word) + b"\0" for word in _setenv(job.env)))
                words.flush()
                words.seek(0)
                return run(
                    _argv(job, helpers, ("--args", str(words.fileno()))),
                    env=stage.environment(),
                    timeout=timeout,
                    log=log,
                    pass_fds=(*fds, words.fileno()),
                    capture_bytes=capture_bytes,
                    lines=job.lines,
                )

        ended = piped(call, job, helpers, timeout, own_ids=bool(ids.detect().flags))
        return kept(ended, job, helpers, log)

    def listing(self, root: Path, layers: tuple[Path, ...]) -> Mapping[str, Node]:
        return stage.listing(root, layers)

    def forget(self, layer: Path) -> None:
        """All of it is in its folder."""


def _program() -> str:
    found = shutil.which("bwrap")
    if not found:
        # With the rule in force installing it would not be enough.
        more, cure = (
            (f", and {diagnose.APPARMOR_RULE}", f"\n{diagnose.APPARMOR_CURE}") if _forbidden() else ("", "")
        )
        raise MachineError(f"bubblewrap is not installed{more}", hint=f"{_CURE_INSTALL}{cure}")
    return found


def _forbidden() -> bool:
    return os.geteuid() != 0 and diagnose.apparmor_forbids() and ids.detect().kind == "none"


def _setenv(env: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(word for name, value in env.items() for word in ("--setenv", name, value))


def _argv(job: Job, helpers: Path, env_words: tuple[str, ...]) -> tuple[str, ...]:
    who = ids.detect()
    own = own_ids.choose(job, NAME, helpers)
    return (
        *stage.words(job, who, own),
        *(own.start("-", "/") if own.first is not None else ()),
        _program(),
        *_namespaces(job, who),
        *_privileges(job, who),
        *_mounts(job, own),
        *("--chdir", job.cwd, "--clearenv", *env_words, "--"),
        *job.argv,
    )


def _namespaces(job: Job, who: ids.Ids) -> tuple[str, ...]:
    # No process of bubblewrap's own is left inside: it is under no filter, and root could make it do its bidding.
    words = ["--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if not job.network:
        words.append("--unshare-net")
    if who.kind == "single" and job.profile == "proof":
        words += ["--unshare-user", "--uid", str(job.uid), "--gid", str(job.uid)]
    return (*words, "--hostname", job.hostname, "--die-with-parent", "--new-session")


def _privileges(job: Job, who: ids.Ids) -> tuple[str, ...]:
    if who.kind == "single" and job.profile == "proof":
        return ("--cap-drop", "ALL")
    kept = PROOF_CAPS if job.profile == "proof" else BUILD_CAPS
    return ("--cap-drop", "ALL", *(word for cap in kept for word in ("--cap-add", f"CAP_{cap}")))


def _covers() -> tuple[str, ...]:
    """bubblewrap's own covering passes over what access(2) calls closed: /proc/sys, to root as well."""
    words: list[str] = []
    for how, name in stage.COVERED:
        place = Path("/proc", name)
        if place.exists():
            hidden = stage.EMPTY if place.is_dir() else "/dev/null"
            words += ["--ro-bind", str(place) if how == "ro" else hidden, str(place)]
    return tuple(words)


def _mounts(job: Job, own: own_ids.Choice) -> tuple[str, ...]:
    words = ["--bind", stage.MERGED, "/", "--proc", "/proc", *_covers(), "--dev", "/dev"]
    words += ["--perms", "1777", "--size", str(SHM_BYTES), "--tmpfs", "/dev/shm"]
    tmp = stage.fresh_tmp(job)
    if tmp is not None:
        words += ["--perms", "1777", *(("--size", tmp) if tmp else ()), "--tmpfs", "/tmp"]
    for bind in stage.binds(job, own):
        parent = str(PurePosixPath(bind.target).parent)
        if parent != "/":
            # Made by --bind itself it would be closed to everybody but root.
            words += ["--dir", parent]
        words += ["--bind" if bind.writable else "--ro-bind", str(bind.source), bind.target]
    if job.root_access == "read-only":
        words += ["--remount-ro", "/"]
    return tuple(words)
