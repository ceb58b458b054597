"""The conditions a cell is started under, and what each one promises about the surroundings.

A probe changes one thing against `plain`. A new one is a Condition with its own promises and an entry in
CONDITIONS; the canary's observation is compared with the promises, so one that is not kept makes its cells
UNPROVEN instead of wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from errno import EAFNOSUPPORT, ENOENT, ENOSYS, EPERM, EROFS
from types import MappingProxyType
from typing import Any

from py_portable.engines import ids
from py_portable.engines.engine import RootAccess
from py_portable.engines.promise import Observed, Promise, broken
from py_portable.engines.trial import HOME, HOSTNAME, UID

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
READ_ONLY_TMP_BYTES = 64 << 20
OPEN_FILES = 1024
"""As cell-run has it."""
_NO_CAPS = "0" * 16
_STICKY = 0o1777


@dataclass(frozen=True)
class Condition:
    """How a cell is started; `home` is a folder to make, `tmp_bytes` sizes a fresh tmpfs on /tmp.

    `about`: one line for people. `essential`: aspects that make this condition what it is, so that no engine
    is excused for lacking them.
    """

    name: str
    about: str
    promises: tuple[Promise, ...]
    root_access: RootAccess = "throw-away"
    home: str | None = HOME
    tmp_bytes: int | None = None
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"PATH": PATH, "HOME": HOME}))
    uid: int = UID
    essential: frozenset[str] = frozenset()
    account: bool = True
    """Whether /etc/passwd and /etc/group have entries for `uid`, as those of real users; see prove/accounts.py."""

    def violations(self, observed: Observed, lacks: Iterable[str] = ()) -> tuple[str, ...]:
        """The promises that the observation breaks, as text; empty where the condition is in force.

        `lacks` are the aspects that the engine says it cannot isolate here: they are left out, except where
        they are essential.
        """
        excused = frozenset(lacks) - self.essential
        return tuple(
            promise.text for promise in broken(self.promises, observed) if promise.aspect not in excused
        )


def _named(name: object) -> bool:
    return isinstance(name, str) and name not in ("", "root")


def _writable(place: Mapping[str, Any]) -> bool:
    return place["exists"] is True and bool(place["create"] == 0)


def _closed(place: Mapping[str, Any]) -> bool:
    return isinstance(place["create"], int) and place["create"] != 0


def _frozen(place: Mapping[str, Any]) -> bool:
    return bool(place["create"] == (EROFS if place["exists"] else ENOENT))


def _refused(seen: Observed, *names: str) -> bool:
    return all(isinstance(seen["tries"][name], int) and seen["tries"][name] != 0 for name in names)


def _answered(seen: Observed, names: tuple[str, ...], *answers: int) -> bool:
    return all(seen["tries"][name] in answers and seen["tries"][name] is not False for name in names)


_KEYS = ("add_key", "keyctl", "request_key")
_CALLS = ("bpf", "io_uring", "userfaultfd", "perf_event")
_SOCKETS = ("vsock", "crypto_socket")
_NAMESPACES = ("nested_userns", "clone_userns", "clone3_userns")
FILTERED = (*_KEYS, *_CALLS, *_SOCKETS, *_NAMESPACES)
"""The system calls that the canary tries and the filter must refuse."""

_ALWAYS = (
    Promise(
        "ids",
        f"the app runs as uid and gid {UID}, in no other group",
        lambda o: o["uid"] == o["euid"] == o["gid"] == o["egid"] == UID and set(o["groups"]) <= {UID},
    ),
    Promise(
        "ids",
        "the ids of a whole system are mapped",
        lambda o: ids.mapped(o["uid_map"]) >= ids.FULL_RANGE - 1,
    ),
    Promise("ids", "/etc/shadow cannot be read", lambda o: o["shadow_readable"] not in (0, None)),
    Promise(
        "ids",
        "/, /usr and /etc cannot be written by the app",
        lambda o: all(_closed(o[name]) for name in ("root", "usr", "etc")),
    ),
    Promise("ids", "the bounding set is empty", lambda o: o["CapBnd"] == _NO_CAPS),
    Promise(
        "ids",
        "the processes that hold the cell are out of reach",
        lambda o: _refused(o, "ptrace_1", "fds_of_1", "fds_of_parent", "kill_parent"),
    ),
    Promise(
        "privileges",
        "there are no capabilities",
        lambda o: all(o[name] == _NO_CAPS for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")),
    ),
    Promise("privileges", "no new privileges can be obtained", lambda o: o["NoNewPrivs"] == "1"),
    Promise(
        "privileges",
        "mounts, device nodes, another root and uid 0 are refused",
        lambda o: _refused(o, "mount", "mknod", "chroot", "remount_root", "setuid_0"),
    ),
    Promise("seccomp", "a filter of system calls is in force", lambda o: o["Seccomp"] == "2"),
    # Another answer than these is the kernel's own, to a call that it got to see.
    Promise(
        "seccomp",
        "keys can be neither read nor made",
        lambda o: _answered(o, _KEYS, EPERM, ENOSYS),
    ),
    Promise(
        "seccomp",
        "bpf, io_uring, userfaultfd and perf events are refused",
        lambda o: _answered(o, _CALLS, EPERM, ENOSYS),
    ),
    Promise(
        "seccomp",
        "sockets to the machine's host and to its cryptography are refused",
        lambda o: _answered(o, _SOCKETS, EPERM, EAFNOSUPPORT),
    ),
    Promise(
        "seccomp",
        "no user namespace can be made",
        lambda o: _answered(o, _NAMESPACES, EPERM, ENOSYS),
    ),
    Promise(
        "keys", "no key of anybody else is seen", lambda o: o["keys"] in (0, None) and o["keys"] is not False
    ),
    Promise("memory", "the memory of a cell is limited for itself", lambda o: "memory" in o["limits"]),
    Promise(
        "processes",
        "the processes of a cell are counted for themselves",
        lambda o: "processes" in o["limits"],
    ),
    Promise("fds", "only the file descriptors 0, 1 and 2 are open", lambda o: o["fds"] == [0, 1, 2]),
    Promise("fds", "stdin is /dev/null", lambda o: o["stdin_null"] is True),
    Promise("fds", "there is no terminal", lambda o: o["terminal"] is False),
    Promise("umask", "the umask is 022", lambda o: o["umask"] == 0o022),
    Promise("limits", "no core is written", lambda o: o["core_limit"] == 0),
    Promise(
        "limits", f"no more than {OPEN_FILES} files can be open", lambda o: 0 < o["open_files"] <= OPEN_FILES
    ),
    Promise("cwd", "the working folder is /", lambda o: o["cwd"] == "/"),
    Promise("hostname", f"the host name is {HOSTNAME}", lambda o: o["hostname"] == HOSTNAME),
    Promise(
        "network",
        "there is no network but loopback",
        lambda o: o["interfaces"] == ["lo"] and o["route"] not in (0, None),
    ),
    Promise("loopback", "loopback is up", lambda o: o["loopback"] == 0),
    Promise("pids", "no processes of the machine are seen", lambda o: 0 < o["processes"] < 10),
    Promise(
        "devices", "/dev/shm can be written", lambda o: _writable(o["shm"]) and o["shm"]["mode"] == _STICKY
    ),
    Promise(
        "tmp",
        "/tmp has mode 1777 and can be written",
        lambda o: _writable(o["tmp"]) and o["tmp"]["mode"] == _STICKY,
    ),
    Promise("tmp", "programs can be started from /tmp", lambda o: o["tmp"]["noexec"] is False),
    Promise(
        "env",
        "LANG is unset and PATH is a container's",
        lambda o: o["env_LANG"] is None and o["env_PATH"] == PATH,
    ),
    # PWD is set by bubblewrap and by container engines alike.
    Promise(
        "env",
        "the environment is HOME and PATH",
        lambda o: {"HOME", "PATH"} <= set(o["env"]) <= {"HOME", "PATH", "PWD"},
    ),
)
_ACCOUNT = (
    Promise("account", "the app's uid has a name in /etc/passwd", lambda o: _named(o["account"]["name"])),
    Promise("account", "its entry there names HOME", lambda o: o["account"]["home"] == o["env_HOME"]),
    Promise("account", "the app's gid has a name in /etc/group", lambda o: _named(o["account"]["group"])),
)
_NO_ACCOUNT = Promise(
    "no-passwd",
    "/etc/passwd and /etc/group have no entry for the app's uid and gid",
    lambda o: all(o["account"][name] is None for name in ("name", "home", "group")),
)
_ROOT_WRITABLE = Promise("root", "the root is mounted writable", lambda o: o["root"]["read_only"] is False)
_ROOT_FROZEN = (
    Promise("root", "the root is mounted read-only", lambda o: o["root"]["read_only"] is True),
    Promise(
        "root",
        "nothing can be made in /, /usr and /etc",
        lambda o: all(_frozen(o[name]) for name in ("root", "usr", "etc")),
    ),
    Promise(
        "root",
        "a nested user namespace cannot make it writable",
        lambda o: _refused(o, "nested_remount_root"),
    ),
)
_HOME_OWNED = Promise(
    "home",
    f"HOME is {HOME}, mode 0700, the app's own",
    lambda o: o["env_HOME"] == HOME and o["home"]["mode"] == 0o700 and o["home"]["owner"] == o["uid"],
)
_HOME_WRITABLE = Promise("home", "HOME can be written", lambda o: _writable(o["home"]))
_NOWHERE = "/nonexistent"

PLAIN = Condition(
    name="plain",
    about="an ordinary user in a writable throw-away root, as a container gives it, without network",
    promises=(*_ALWAYS, *_ACCOUNT, _ROOT_WRITABLE, _HOME_OWNED, _HOME_WRITABLE),
)
READ_ONLY = Condition(
    name="read-only",
    about="plain, but the root is read-only and only a small /tmp can be written",
    root_access="read-only",
    tmp_bytes=READ_ONLY_TMP_BYTES,
    essential=frozenset({"root", "tmp"}),
    promises=(
        *_ALWAYS,
        *_ACCOUNT,
        *_ROOT_FROZEN,
        _HOME_OWNED,
        Promise("root", "HOME is read-only like the rest", lambda o: o["home"]["create"] == EROFS),
        Promise(
            "tmp",
            f"/tmp is a tmpfs of {READ_ONLY_TMP_BYTES >> 20} MiB",
            lambda o: o["tmp"]["type"] == "tmpfs" and o["tmp"]["bytes"] == READ_ONLY_TMP_BYTES,
        ),
    ),
)
NO_HOME = Condition(
    name="no-home",
    about=f"plain, but HOME is {_NOWHERE}, which does not exist",
    home=None,
    env=MappingProxyType({"PATH": PATH, "HOME": _NOWHERE}),
    essential=frozenset({"no-home"}),
    promises=(
        *_ALWAYS,
        *_ACCOUNT,
        _ROOT_WRITABLE,
        Promise(
            "no-home",
            f"HOME is {_NOWHERE} and does not exist",
            lambda o: o["env_HOME"] == _NOWHERE and o["home"]["exists"] is False,
        ),
    ),
)
NO_PASSWD = Condition(
    name="no-passwd",
    about="plain, but the user has no entry in /etc/passwd and /etc/group, as with docker run --user",
    account=False,
    essential=frozenset({"no-passwd"}),
    promises=(*_ALWAYS, _NO_ACCOUNT, _ROOT_WRITABLE, _HOME_OWNED, _HOME_WRITABLE),
)
CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {condition.name: condition for condition in (PLAIN, READ_ONLY, NO_HOME, NO_PASSWD)}
)
