"""What bubblewrap and chroot share: a throw-away root in a mount namespace that dies with the command.

The image is the lower layer of an overlay whose upper layer is a tmpfs, also for a read-only root: mount
points that the image lacks are made in the upper layer, and nothing can ever write to the image.
"""

from __future__ import annotations

import itertools
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from py_portable.base.process import require, run
from py_portable.engines import beside, ids, written
from py_portable.engines.engine import Bind, Job, Node
from py_portable.engines.own_ids import Choice
from py_portable.errors import MachineError

MERGED = "/sys/merged"
EMPTY = "/sys/empty"
"""An empty folder, which hides others."""
COVERED = (
    *(("ro", name) for name in ("sys", "sysrq-trigger", "irq", "bus", "fs")),
    *(
        ("no", name)
        for name in ("kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug")
    ),
    *(("no", name) for name in ("scsi", "acpi", "asound", "mtrr", "kpagecgroup", "kpagecount", "kpageflags")),
)
"""What nothing inside may write ("ro") or read ("no") below /proc, as container engines have it: root of a sandbox
without ids of its own is root to the kernel. There is no /sys inside at all."""
_SHOWN = "/sys/binds"
PROOF_BYTES = 2 << 30
"""The most that one cell may write, outside of a sized /tmp."""
BUILD_SIZE = "50%"
"""The same for a build, of the machine's memory; one whose layer is kept may write as much as a cell."""
_MAX_LINKS = 40
_LIST_SECONDS = 120.0
_LIST_BYTES = 256 << 20
_SCRIPTS = Path(__file__).parent.parent / "resources" / "engines"


def script(name: str) -> Path:
    """A shell script of the engines."""
    return _SCRIPTS / name


def tool(name: str) -> str:
    """The path of a system program. Raises MachineError."""
    found = shutil.which(name)
    if not found:
        raise MachineError(f"{name} is not installed", hint="apt-get install util-linux")
    return found


def version(program: str) -> str:
    """The last word of what `program --version` prints."""
    words = run([program, "--version"], timeout=20).stdout.text.split()
    return words[-1] if words else "unknown"


class LinkLoop(MachineError):
    """The image leads a place that a job needs round in a circle: no job starts in it, and no other is touched."""


class Overlap(LinkLoop):
    """The image's links lead two places that a job needs to one: what is shown at the one would hide the other."""


def inside(root: Path, target: str, home: str | None = None, layers: Sequence[Path] = ()) -> str:
    """`target` with the symbolic links of the image and of the layers over it resolved as if `root` were the root: no
    path leaves it. Raises LinkLoop.

    What stage.sh makes in the upper layer (/tmp, /proc, /dev and the `home` folder) is not a link there.
    """
    made: set[tuple[str, ...]] = {("proc",), ("dev",), ("tmp",)}
    if home:
        steps = PurePosixPath(home).parts[1:]
        made |= {steps[: i + 1] for i in range(len(steps))}
    parts = _steps(target)
    done: list[str] = []
    links = 0
    while parts:
        part = parts.pop()
        if part == "..":
            done = done[:-1]
            continue
        if (*done, part) in made:
            done.append(part)
            continue
        link = _link(root, layers, (*done, part))
        if link is None:
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise LinkLoop(f"too many levels of symbolic links at {target} in the image", where=str(root))
        if link.startswith("/"):
            done = []
        parts += _steps(link)
    return "/" + "/".join(done)


def _link(root: Path, layers: Sequence[Path], parts: tuple[str, ...]) -> str | None:
    """Where the link at this place leads; None where there is none, or none that can be looked at."""
    for layer in reversed(layers):
        path = written.root(layer).joinpath(*parts)
        try:
            return str(path.readlink()) if stat.S_ISLNK(path.lstat().st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            # What was installed there may be made to lead anywhere, by who can close a folder to its caller.
            raise LinkLoop(
                f"what was installed at /{'/'.join(parts)} cannot be looked at: {problem.strerror}",
                where=str(root),
            ) from problem
    try:
        return str(root.joinpath(*parts).readlink())
    except OSError:
        return None


def _steps(path: str) -> list[str]:
    """The steps of a path, the first one last."""
    return [step for step in reversed(path.split("/")) if step not in ("", ".")]


def apart(job: Job) -> tuple[str, ...]:
    """The targets of the job's binds as the image's links resolve them. Raises Overlap where two of them then lie in
    one another that do not by their names, LinkLoop for links in a circle."""
    named = [PurePosixPath(bind.target) for bind in job.binds]
    found = [PurePosixPath(inside(job.root, bind.target, job.home, job.layers)) for bind in job.binds]
    for (one, at), (other, there) in itertools.permutations(zip(named, found, strict=True), 2):
        if at.is_relative_to(there) and not one.is_relative_to(other):
            raise Overlap(
                f"the image leads {one} to {at}, which is the place of {other}",
                where=str(job.root),
                hint="it would not be certain that the artifact is what starts there: use another image",
            )
    return tuple(map(str, found))


def binds(job: Job, own: Choice) -> tuple[Bind, ...]:
    """The job's binds with resolved targets, and the host's resolver where the job has the network.

    With ids of its own they come from where stage.sh shows them.
    """
    found = resolved(job)
    if own.first is None:
        return found
    return tuple(replace(bind, source=Path(_SHOWN, str(n))) for n, bind in enumerate(found))


def resolved(job: Job) -> tuple[Bind, ...]:
    """The same, from where the caller has them. Raises LinkLoop."""
    targets = zip(job.binds, apart(job), strict=True)
    found = [Bind(bind.source.absolute(), target, bind.writable) for bind, target in targets]
    resolver = Path("/etc/resolv.conf")
    if job.network and resolver.exists():
        found.append(Bind(resolver.resolve(), inside(job.root, "/etc/resolv.conf", layers=job.layers)))
    return tuple(found)


def words(job: Job, who: ids.Ids, own: Choice, flags: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The words before the command that uses MERGED as its root; `flags`: more namespaces for `unshare`."""
    beside.refuse(job.root)
    shown = enumerate(resolved(job)) if own.first is not None else ()
    layers = [(str(written.root(layer)), f"layer{number}") for number, layer in enumerate(job.layers)]
    owner = 0 if who.kind == "single" else job.uid
    return (
        # Before anything else: a caller that is killed now takes all that follows with it.
        *(tool("setpriv"), "--pdeathsig", "KILL", "--"),
        *(tool("unshare"), *who.flags, "--mount", "--propagation", "private"),
        # A process namespace around all of it: bubblewrap's own child, when bubblewrap is killed at the wrong
        # moment, waits for ever for its parent.
        *("--pid", "--fork", "--kill-child=KILL", *flags, "--"),
        *("sh", str(script("stage.sh"))),
        str(PROOF_BYTES) if job.profile == "proof" or job.layer else BUILD_SIZE,
        # Without it an overlay in a user namespace cannot mark a folder as replaced.
        "userxattr" if who.flags else "",
        str(job.root.absolute()),
        job.home or "",
        str(owner),
        str(own.program),
        *own.told,
        ":".join([*(name for _, name in reversed(layers)), "lower"]),
        str(written.archive(job.layer)) if job.layer else "",
        *(word for source, name in layers for word in ("image", source, name)),
        *(
            word
            for number, bind in shown
            for word in ("rw" if bind.writable else "ro", str(bind.source), f"{_SHOWN}/{number}")
        ),
        "--",
    )


def fresh_tmp(job: Job) -> str | None:
    """The size of the tmpfs that /tmp gets, as tmpfs takes it ("" is the kernel's own default), or None."""
    if job.tmp_bytes is not None:
        return str(job.tmp_bytes)
    if job.profile == "build" and all(bind.target != "/tmp" for bind in job.binds):
        return ""
    return None


def listing(root: Path, layers: tuple[Path, ...]) -> Mapping[str, Node]:
    """`Engine.listing`: what `find` of this machine sees in the root as a job would have it. Raises MachineError."""
    job = Job("build", root, (), root_access="throw-away", layers=layers)
    words_before = words(job, ids.detect(), Choice(Path("none")))
    fields = "".join(f"%{letter}\\0" for letter in "PymUGsTl").replace("%T", "%T@")
    outcome = run(
        [*words_before, tool("find"), MERGED, "-xdev", "-mindepth", "1", "-printf", fields],
        env=environment(),
        timeout=_LIST_SECONDS,
        capture_bytes=_LIST_BYTES,
    )
    require(outcome, what="listing the files of a root", error=MachineError)
    if outcome.stdout.cut:
        raise MachineError(f"the names of its files have more than {_LIST_BYTES >> 20} MiB", where=str(root))
    return written.nodes(outcome.stdout.data)


def environment() -> Mapping[str, str]:
    """For the programs of the host that set a job up; nothing of it reaches the job."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
    }
