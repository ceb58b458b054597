"""What an engine is asked to run, and what it answers. Docker and podman fit behind the same Protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from py_portable.base.process import Outcome

Profile = Literal["build", "proof"]
RootAccess = Literal["read-only", "throw-away"]

PROOF_CAPS = ("SETUID", "SETGID", "SETPCAP", "KILL")
"""What cell-run needs to become the ordinary user and to end what that user started; it gives them up."""
BUILD_CAPS = (*PROOF_CAPS, "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP")
SHM_BYTES = 64 << 20  # as containers have it
LIMITS = ("memory", "processes")
"""What an engine that isolates fully may still not be able to limit: a machine gives it to few users."""


@dataclass(frozen=True)
class Bind:
    """A file or folder of the host shown inside at `target` (an absolute path inside)."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Job:
    """One command to run inside an unpacked root file system.

    The profile `build` runs as root (full id range where the caller has one), sees no user limits and may use
    the network; `proof` starts with no network, only the capabilities that cell-run needs to drop to `uid`, a
    cleared environment and stdin from /dev/null. The two share nothing.
    """

    profile: Profile
    root: Path
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    binds: tuple[Bind, ...] = ()
    root_access: RootAccess = "read-only"
    network: bool = False
    hostname: str = "cell"
    home: str | None = None
    """proof: a folder to make, owned by `uid`, mode 0700; None: no folder is made."""
    uid: int = 0
    """proof: the uid and gid that the command runs as, and that the home folder belongs to."""
    tmp_bytes: int | None = None
    """Size limit of a fresh tmpfs on /tmp (mode 1777); None: /tmp of the root as it is."""
    helpers: Path | None = None
    """The folder with the compiled cell-run that the command is put under; None: the engine's own."""
    lines: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """What is looked for in stdout and in stderr, however much of them is kept."""
    keep: bool = False
    """Where the command fails, keep what there is to look at (a container)."""
    canary_of: Job | None = None
    """build: it is the canary, which looks whether builds like that one may be started at all."""
    layers: tuple[Path, ...] = ()
    """What earlier jobs of this engine wrote over the same root (their `layer`), the lowest first: it lies between the
    root and what this job writes."""
    layer: Path | None = None
    """build, throw-away: an empty folder that gets all that the command wrote anywhere in its root but for its binds,
    /tmp, /dev and /proc, where it ends with 0. `Engine.forget` it before the folder is removed."""


@dataclass(frozen=True)
class Ended(Outcome):
    """What came of a job. `record`: what cell-run wrote of it, not yet trusted; empty where it wrote nothing."""

    record: bytes = b""
    kept: str | None = None
    """A shell line that looks into what was kept of a failure."""
    limits: tuple[str, ...] = ()
    """proof: what the engine set bounds to for this job alone: "memory", "processes"."""
    out_of_memory: bool = False
    """Whether the kernel ended a process of the job because it went beyond its bound of memory."""


@dataclass(frozen=True)
class Node:
    """What a listing knows of a file. `mode`: the permission bits with setuid, setgid and sticky. `changed`: the second
    of its last change; `size` and `changed` of a folder are 0, since whatever is put into it changes them."""

    kind: Literal["file", "folder", "link", "other"]
    mode: int
    uid: int
    gid: int
    size: int
    changed: int
    link: str = ""


@dataclass(frozen=True)
class EngineInfo:
    """What `probe` saw: recorded in the evidence."""

    name: str
    version: str
    isolation: Literal["full", "partial"]
    lacks: tuple[str, ...] = ()
    """What this engine cannot isolate on this machine, e.g. "network", "pids", "ids", or not limit (LIMITS)."""


def isolation(lacks: Iterable[str]) -> Literal["full", "partial"]:
    """What an engine that lacks this gives."""
    return "partial" if set(lacks) - set(LIMITS) else "full"


class Engine(Protocol):
    @property
    def name(self) -> str: ...

    def probe(self) -> EngineInfo:
        """Start something real. Raises MachineError, whose hint is the cure, where it does not work."""
        ...

    def argv(self, job: Job) -> tuple[str, ...]:
        """The command line that runs the job by hand: pure, printable, what `reproduce:` shows."""
        ...

    def run(
        self,
        job: Job,
        *,
        timeout: float,
        log: Path | None = None,
        capture_bytes: int = 65536,
    ) -> Ended:
        """Run the job under cell-run; at the time limit all it started is ended. Never raises for a failing command.

        Raises MachineError where builds on this engine are not held as is promised (engines/builds.py), and where it
        can keep no layer (`native`). A layer that cannot be kept is a job that was not run: it has no record."""
        ...

    def listing(self, root: Path, layers: tuple[Path, ...]) -> Mapping[str, Node]:
        """All files of a root with these layers over it, by paths without the first slash. Raises MachineError."""
        ...

    def forget(self, layer: Path) -> None:
        """Remove what the engine has of a layer outside of its folder. A layer that it does not have is no trouble."""
        ...
