"""The system calls that Python has no names for: namespaces, and what a job may no longer do. Started outside only."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterable, Sequence

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID = 0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000
MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 1, 22, 24, 47
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS = {
    "x86_64": {
        "acct": 163, "add_key": 248, "bpf": 321, "clone": 56, "clone3": 435, "delete_module": 176, "fsopen": 430,
        "init_module": 175, "io_uring_setup": 425, "kexec_load": 246, "keyctl": 250, "mount": 165,
        "move_mount": 429, "open_by_handle_at": 304, "open_tree": 428, "perf_event_open": 298, "pivot_root": 155,
        "reboot": 169, "request_key": 249, "setns": 308, "swapon": 167, "umount2": 166, "unshare": 272,
        "userfaultfd": 323,
    },
    "aarch64": {
        "acct": 89, "add_key": 217, "bpf": 280, "clone": 220, "clone3": 435, "delete_module": 106, "fsopen": 430,
        "init_module": 105, "io_uring_setup": 425, "kexec_load": 104, "keyctl": 219, "mount": 40,
        "move_mount": 429, "open_by_handle_at": 265, "open_tree": 428, "perf_event_open": 241, "pivot_root": 41,
        "reboot": 142, "request_key": 218, "setns": 268, "swapon": 224, "umount2": 39, "unshare": 97,
        "userfaultfd": 282,
    },
}  # fmt: skip
_CONTAINER_CAPS = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
"""Docker's default: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw,
sys_chroot, mknod, audit_write, setfcap (moby, oci/caps/defaults.go)."""
_EVERY_NAMESPACE = 0x7E020000 | 0x80
_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *words: int | bytes) -> None:
    """Call a function of the C library. Raises OSError where it does not give 0."""
    if getattr(_libc, name)(*words) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def pivot_root(new: str) -> None:
    """`new` becomes the root, and what was the root is gone from this mount namespace."""
    old = os.open("/", os.O_DIRECTORY)
    os.chdir(new)
    number = _NUMBERS[platform.machine()]["pivot_root"]
    call("syscall", number, b".", b".")
    os.fchdir(old)
    call("umount2", b".", MNT_DETACH)
    os.close(old)
    os.chdir("/")


def die_with_parent() -> None:
    call("prctl", _PR_SET_PDEATHSIG, 9, 0, 0, 0)


def refuse(what: Iterable[str]) -> None:
    """Install the filters, as root, without no_new_privs: sudo still works under them."""
    names = set(what)
    if "user-namespaces" in names:
        _install(_filter((), NEWUSER))
    if "container" in names:
        denied = set(_NUMBERS["x86_64"]) - {"clone", "clone3", "unshare"}
        _install(_filter(sorted(denied), _EVERY_NAMESPACE))
        keep_capabilities(_CONTAINER_CAPS)


def _filter(denied: Sequence[str], namespaces: int) -> list[tuple[int, int, int, int]]:
    """Classic BPF: calls by name get EPERM, and so does clone or unshare with one of these flags; clone3, whose flags
    no filter can see, is not there, so that the C library goes back to clone."""
    numbers = _NUMBERS[platform.machine()]
    load, equal, any_bit, back = 0x20, 0x15, 0x45, 0x06
    # Another architecture's calls are not filtered: no program of one is on these machines.
    words = [(load, 0, 0, 4), (equal, 1, 0, _ARCH[platform.machine()]), (back, 0, 0, _ALLOW), (load, 0, 0, 0)]
    words += [(equal, 0, 1, numbers["clone3"]), (back, 0, 0, _ERRNO | _ENOSYS)]
    for name in denied:
        words += [(equal, 0, 1, numbers[name]), (back, 0, 0, _ERRNO | _EPERM)]
    words += [(equal, 1, 0, numbers["clone"]), (equal, 0, 3, numbers["unshare"]), (load, 0, 0, 16)]
    words += [(any_bit, 0, 1, namespaces), (back, 0, 0, _ERRNO | _EPERM), (back, 0, 0, _ALLOW)]
    return words


def _install(words: Sequence[tuple[int, int, int, int]]) -> None:
    code = b"".join(struct.pack("=HBBI", *word) for word in words)
    kept = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(words), ctypes.addressof(kept))
    call("prctl", _PR_SET_SECCOMP, 2, program, 0, 0)


def keep_capabilities(kept: Iterable[int]) -> None:
    """Of root: all others are gone for good."""
    mask = sum(1 << number for number in kept)
    last = int(open("/proc/sys/kernel/cap_last_cap").read())  # noqa: PTH123, SIM115
    for number in range(last + 1):
        if not mask >> number & 1:
            call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", 0x20080522, 0)
    call("capset", header, struct.pack("=6I", low, low, 0, high, high, 0))
