"""Whether the root file system of this process is a container that is thrown away after its job.

Builds of the engine `native` change that root, so it must be nobody's machine. No single sign is believed: files such
as /.dockerenv are copied along with disks, and variables are exported by hand. Three witnesses have to agree: the
kernel, the container's runtime, and the CI that started the job.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable.errors import MachineError

_FIRST_PIDS = 0xEFFFFFFC
"""The inode of the machine's own namespace of processes: PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h."""
_LAYERED = ("overlay", "fuse.fuse-overlayfs", "fuse-overlayfs", "aufs")
"""What container runtimes mount as a root that is thrown away: a writable layer above an image."""
_INITS = ("systemd", "init", "upstart", "openrc-init", "runit", "runit-init", "s6-svscan", "launchd")
_RUNTIMES = ("docker", "kubepods", "containerd", "libpod", "crio", "buildkit", "garden")
_CURE = (
    "build in a job of CI whose `image:` is the baseline, or use an engine: --build-engine auto (py-portable doctor "
    "says what an engine needs)"
)
_BY_HAND = (
    "in a container that you throw away yourself (docker run --rm), say so with: "
    "CI=true CI_DISPOSABLE_ENVIRONMENT=true py-portable build --build-engine native"
)


@dataclass(frozen=True)
class ContainerFacts:
    """What was observed. `init`: the name of process 1. `root_type`: of the file system that / is on, "" where that
    could not be read. `marks`: what container runtimes leave. `said`: what CI says of the job."""

    own_pids: bool
    init: str
    root_type: str
    marks: tuple[str, ...]
    said: tuple[str, ...]
    is_root: bool = True

    @classmethod
    def gather(cls, environ: Mapping[str, str] | None = None) -> ContainerFacts:
        """Look at this process."""
        environ = os.environ if environ is None else environ
        return cls(
            own_pids=_inode("/proc/self/ns/pid") not in (None, _FIRST_PIDS),
            init=_text("/proc/1/comm").strip(),
            root_type=root_type(_text("/proc/self/mountinfo")),
            marks=_marks(environ),
            said=statements(environ),
            is_root=os.geteuid() == 0,
        )


@dataclass(frozen=True)
class ThrowawayVerdict:
    """`witnesses`: what says that it is thrown away. `missing`: what does not, one sentence each; empty where it is."""

    witnesses: tuple[str, ...]
    missing: tuple[str, ...]
    hint: str = _CURE

    @property
    def thrown_away(self) -> bool:
        return not self.missing


def judge(facts: ContainerFacts) -> ThrowawayVerdict:
    """Whether all three witnesses say so. Pure."""
    witnesses, missing = [], []
    if not facts.own_pids:
        missing.append("its processes are those of the machine, not those of a container")
    elif facts.init in _INITS:
        missing.append(f"its first process is {facts.init}, as on a permanent machine")
    else:
        witnesses.append("processes of its own")
    if facts.root_type in _LAYERED:
        witnesses.append(f"a root of the type {facts.root_type}")
    else:
        missing.append(
            f"its root is of the type {facts.root_type or 'unknown'}, and not a layer above an image (overlay)"
        )
    if facts.marks:
        witnesses += facts.marks
    else:
        missing.append(
            "there is no sign of a container runtime (/.dockerenv, /run/.containerenv, Kubernetes)"
        )
    in_container = not missing
    if facts.said:
        witnesses += facts.said
    else:
        missing.append(
            "no variable of a CI says that the job's environment is thrown away (CI=true, and with "
            "it CI_DISPOSABLE_ENVIRONMENT=true "
            "or CI_JOB_IMAGE)"
        )
    if not facts.is_root:
        missing.append("its user is not root, and only root can make folders such as /opt/python")
    only_unsaid = in_container and not facts.said and facts.is_root
    return ThrowawayVerdict(
        tuple(witnesses), tuple(missing), f"{_CURE}\n{_BY_HAND}" if only_unsaid else _CURE
    )


def require(facts: ContainerFacts | None = None) -> ThrowawayVerdict:
    """The verdict. Raises MachineError, which names every witness that is missing."""
    verdict = judge(facts or ContainerFacts.gather())
    if not verdict.thrown_away:
        raise MachineError(
            "the build engine native changes the root file system that it runs in, and this does not "
            "look like a container that is thrown away: " + "; ".join(verdict.missing),
            hint=verdict.hint,
        )
    return verdict


def root_type(mountinfo: str) -> str:
    """The type of the file system that is mounted on /, the last one where there are several; "" where none is.

    See proc_pid_mountinfo(5): after the field "-" come type and source.
    """
    found = ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        words = before.split()
        if len(words) > 4 and words[4] == "/" and after:
            found = after.split()[0]
    return found


def statements(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What CI says of the job that means that its environment ends with it."""
    if environ.get("CI", "").lower() not in ("true", "1"):
        return ()
    said = []
    # GitLab's runner sets it with all executors but shell and ssh (docs.gitlab.com: predefined CI/CD variables).
    if environ.get("CI_DISPOSABLE_ENVIRONMENT", "").lower() == "true":
        said.append("CI_DISPOSABLE_ENVIRONMENT")
    if environ.get("CI_JOB_IMAGE"):
        said.append("CI_JOB_IMAGE")
    return tuple(said)


def _marks(environ: Mapping[str, str]) -> tuple[str, ...]:
    found = [name for name in ("/.dockerenv", "/run/.containerenv") if os.path.lexists(name)]
    if environ.get("KUBERNETES_SERVICE_HOST"):
        found.append("KUBERNETES_SERVICE_HOST")
    groups = _text("/proc/1/cgroup")
    found += [f"a control group of {name}" for name in _RUNTIMES if name in groups]
    return tuple(found)


def _inode(path: str) -> int | None:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return None


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""
