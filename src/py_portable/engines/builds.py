"""What a build must not be able to do, held before the first one on an engine is started.

The promises are held against what the canary of builds observed, by the very call that starts a build. One that is not
kept stops every build there, except those that the engine is excused from by name; the evidence says which and why.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from errno import EACCES, ENOSYS, EPERM
from pathlib import Path
from typing import Any

from py_portable.engines import own_ids
from py_portable.engines.engine import BUILD_CAPS, Bind, Engine, Job
from py_portable.engines.guard import HELPERS
from py_portable.engines.own_ids import Choice
from py_portable.engines.promise import Observed, Promise, broken
from py_portable.errors import MachineError

_CAPABILITIES = {
    name: number
    for number, name in enumerate(
        (
            "CHOWN",
            "DAC_OVERRIDE",
            "DAC_READ_SEARCH",
            "FOWNER",
            "FSETID",
            "KILL",
            "SETGID",
            "SETUID",
            "SETPCAP",
        )
    )
} | {"SETFCAP": 31}
"""Numbers of capabilities(7), of those that the engines name."""
_KEPT = sum(1 << _CAPABILITIES[name] for name in BUILD_CAPS)
_CLOSED = (EPERM, EACCES, ENOSYS)
_CANARY_SECONDS = 60.0
_OUT = "/run/py-portable-canary"
_PLACE = "py-portable-build-canary-"
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_SESSION_KEYRING = -3
_HINT = "use another engine, or look at: py-portable doctor"


def _none(tries: Mapping[str, Any]) -> bool:
    """Whether every try failed."""
    return bool(tries) and all(isinstance(errno, int) and errno != 0 for errno in tries.values())


def _refused(seen: Observed, *names: str) -> bool:
    return _none({name: seen["tries"][name] for name in names})


def _denied(seen: Observed, *names: str) -> bool:
    """Refused for want of the right, not for another reason that somebody with the right would be told."""
    return all(seen["tries"][name] in _CLOSED for name in names)


def _root_outside(uid_map: str) -> int | None:
    for line in uid_map.splitlines():
        inside, outside, _ = (int(word) for word in line.split())
        if inside == 0:
            return outside
    return None


_ALWAYS = (
    Promise("own-ids", "its root is not the machine's root", lambda o: _root_outside(o["uid_map"]) != 0),
    Promise(
        "privileges",
        "it has the capabilities of builds and no others",
        lambda o: all(int(o[name], 16) & ~_KEPT == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")),
    ),
    Promise("setuid", "a setuid program gives it nothing", lambda o: o["NoNewPrivs"] == "1"),
    Promise("filter", "its system calls are filtered", lambda o: o["Seccomp"] == "2"),
    Promise("kernel", "it cannot write the kernel's settings", lambda o: _none(o["write"])),
    Promise("kernel", "it cannot read the kernel's memory, keys and timers", lambda o: _none(o["read"])),
    Promise("kernel", "it cannot look at the machine's firmware", lambda o: _none(o["list"])),
    Promise(
        "log",
        "it cannot open the kernel's log",
        lambda o: o["open"]["/proc/kmsg"] != 0 != o["open"]["/dev/kmsg"],
    ),
    Promise(
        "devices", "it sees no disk and no memory as a device", lambda o: o["disks"] == 0 and _none(o["open"])
    ),
    Promise("devices", "it cannot make devices", lambda o: _refused(o, "make_loop", "make_disk", "make_mem")),
    Promise(
        "mounts",
        "it cannot mount, unmount or remount",
        lambda o: _refused(
            o,
            *("mount_tmpfs", "mount_proc", "mount_sysfs", "bind_root", "open_tree", "open_fs"),
            *("umount_proc", "umount_proc_sys", "remount_root", "remount_proc_sys"),
        ),
    ),
    Promise(
        "mounts",
        "it cannot leave its root",
        lambda o: _denied(o, "chroot", "pivot_root") and _refused(o, "setns_of_1", "open_by_handle"),
    ),
    Promise(
        "namespaces",
        "it cannot make namespaces",
        lambda o: _denied(o, "new_users", "clone_users", "new_mounts", "new_net", "new_pids", "new_cgroup"),
    ),
    Promise(
        "modules",
        "it cannot load or unload code of the kernel",
        lambda o: _denied(o, "load_module", "load_module_file", "remove_module", "load_kernel"),
    ),
    Promise("modules", "it cannot change swap or accounting", lambda o: _denied(o, "swap", "account")),
    Promise(
        "calls",
        "bpf, perf events, io_uring and userfaultfd are closed to it",
        lambda o: _denied(o, "bpf", "perf", "page_faults") and _denied(o, "io_uring"),
    ),
    Promise("vsock", "it cannot talk to a hypervisor", lambda o: _refused(o, "vsock")),
    Promise("sockets", "it cannot send raw packets", lambda o: _refused(o, "packets", "raw")),
    Promise("keyrings", "it does not see the caller's keys", lambda o: _refused(o, "callers_keyring")),
    Promise("keyrings", "it cannot use kernel keys", lambda o: _denied(o, "own_keyring", "ask_for_key")),
    Promise("files", "it does not see the caller's other files", lambda o: _refused(o, "hidden")),
    Promise("pids", "it sees no process of the machine", lambda o: 0 < o["processes"] < 10),
    Promise(
        "pids",
        "the processes that hold it are out of its reach",
        lambda o: _refused(o, "trace_1", "trace_supervisor", "memory_of_1", "memory_of_supervisor"),
    ),
)
_OFFLINE = Promise(
    "network",
    "there is no network but loopback",
    lambda o: o["interfaces"] == ["lo"] and _refused(o, "route"),
)


def promises(*, network: bool) -> tuple[Promise, ...]:
    """What holds for a build; `network`: for one that may use it."""
    return _ALWAYS if network else (*_ALWAYS, _OFFLINE)


def excuses(engine: str, own: Choice) -> Mapping[str, str]:
    """The aspects that an engine need not give, and why. Pure."""
    if engine == "native":
        every = {promise.aspect for promise in promises(network=False)}
        return dict.fromkeys(sorted(every), "the engine native is not a sandbox, and you chose it by name")
    if engine in ("docker", "podman"):
        return {"own-ids": "the configuration of the daemon decides which user the root of a container is"}
    return {"own-ids": own.reason} if own.first is None else {}


@dataclass(frozen=True)
class Held:
    """What the canary found of one kind of builds on one engine. `lacks`: broken and excused, by aspect."""

    engine: str
    own_ids: bool
    network: bool
    lacks: Mapping[str, str]

    def told(self) -> dict[str, Any]:
        """For the evidence."""
        lacks = [{"aspect": aspect, "reason": reason} for aspect, reason in sorted(self.lacks.items())]
        told = {"engine": self.engine, "own_ids": self.own_ids, "network": self.network, "lacks": lacks}
        return {**told, "isolation": "partial"} if self.engine == "native" else told


@dataclass(frozen=True)
class BuildPromises:
    lacks: Mapping[str, str]
    broken: tuple[str, ...]


def judge(observed: Observed, engine: str, own: Choice, *, network: bool) -> BuildPromises:
    """What the observation says of the promises. Pure."""
    excused = excuses(engine, own)
    found = broken(promises(network=network), observed)
    return BuildPromises(
        {promise.aspect: excused[promise.aspect] for promise in found if promise.aspect in excused},
        tuple(promise.text for promise in found if promise.aspect not in excused),
    )


_Kind = tuple[str, Path, bool, bool, str | None]
_lock = threading.RLock()
_held: dict[_Kind, Held | MachineError] = {}


def told() -> list[dict[str, Any]]:
    """What was found of all builds of this process so far, for the evidence."""
    # Copied in one go: another thread may start the first build of another kind meanwhile.
    return [held.told() for held in tuple(_held.values()) if isinstance(held, Held)]


def helpers(job: Job, own: Path | None) -> Path:
    """The folder with the compiled helpers, which no job is started without."""
    found = job.helpers or own
    if found is None:
        raise ValueError("a job needs the compiled helpers")
    return found


def hold(engine: Engine, job: Job, own: Path | None) -> None:
    """Let a job pass: every cell, and a build whose kind keeps its promises.

    The canary is started before the first build of each kind, once a process. Raises MachineError.
    """
    folder = helpers(job, own)
    if job.profile == "proof" or job.canary_of:
        return
    with _lock:
        while True:
            choice = own_ids.choose(job, engine.name, folder)
            kind = (engine.name, folder, choice.first is not None, job.network, os.environ.get("DOCKER_HOST"))
            if kind not in _held:
                observed, said = _observe(engine, job, folder)
                if observed is None and choice.first is not None:
                    own_ids.refuse(engine.name, folder, f"a start with separate user ids failed: {said}")
                    continue
                if observed is None:
                    raise MachineError(
                        f"{engine.name}: the canary of builds did not start: {said}", hint=_HINT
                    )
                _held[kind] = _settled(engine.name, choice, job.network, observed)
            found = _held[kind]
            break
    if isinstance(found, MachineError):
        # A new one each time: the store writes into an error which log is its own.
        raise MachineError(found.what, hint=found.hint)


def look(engine: Engine) -> Mapping[str, str]:
    """What is not kept of a build on this engine and why it is excused, by aspect. Raises MachineError."""
    folder = getattr(engine, "helpers", None)
    if folder is None:
        return {}
    root = Path("/") if engine.name == "native" else folder
    hold(engine, Job("build", root, ("true",), helpers=folder), folder)
    found = (held for held in tuple(_held.values()) if isinstance(held, Held) and held.engine == engine.name)
    return {aspect: reason for held in found for aspect, reason in held.lacks.items()}


def _settled(engine: str, own: Choice, network: bool, observed: Observed) -> Held | MachineError:
    verdict = judge(observed, engine, own, network=network)
    if verdict.broken:
        return MachineError(
            f"{engine} does not isolate builds as required, so no build is started. These promises are not kept: "
            + "; ".join(verdict.broken),
            hint=_HINT,
        )
    return Held(engine, own.first is not None, network, verdict.lacks)


def _observe(engine: Engine, job: Job, folder: Path) -> tuple[Observed | None, str]:
    """What the canary printed, started as the job would be; or None and what was said instead."""
    with _place(job, folder) as place:
        (place / "out").mkdir(mode=0o755)
        hidden = place / "hidden"
        hidden.write_text("a file of the caller\n")
        hidden.chmod(0o600)
        outcome = engine.run(
            replace(
                job,
                argv=(f"{HELPERS}/build-canary", _OUT, str(hidden), str(_session_keyring())),
                env={},
                cwd="/",
                binds=(Bind(place / "out", _OUT, writable=True),),
                keep=False,
                layers=(),
                layer=None,
                canary_of=job,
            ),
            timeout=_CANARY_SECONDS,
        )
    lines = outcome.stderr.text.strip().splitlines()
    said = lines[-1] if lines else f"exit status {outcome.status}"
    try:
        observed = json.loads(outcome.stdout.data)
    except (ValueError, RecursionError):
        return None, said
    if not outcome.ok or not isinstance(observed, dict) or observed.get("build_canary") != 1:
        return None, said
    return observed, ""


@contextlib.contextmanager
def _place(job: Job, folder: Path) -> Iterator[Path]:
    """A folder on the file system that the job writes to, where there is one: kinds differ by it."""
    beside = next((bind.source.absolute().parent for bind in job.binds if bind.writable), folder.parent)
    parent = beside if os.access(beside, os.W_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PLACE}*-*"):
        # Of a caller that was killed.
        pid = left.name.removeprefix(_PLACE).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PLACE}{os.getpid()}-", dir=parent) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _session_keyring() -> int:
    """The serial number of the caller's session keyring (keyctl(2)), 0 where there is none or none can be asked for."""
    number = _KEYCTL.get(platform.machine())
    if number is None:
        return 0
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    return max(
        0,
        int(call(ctypes.c_long(number), ctypes.c_long(0), ctypes.c_long(_SESSION_KEYRING), ctypes.c_long(0))),
    )
