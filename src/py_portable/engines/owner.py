"""Who made a container: a label that tells a later run whether its owner still lives."""

from __future__ import annotations

import os
from pathlib import Path

LABEL = "py-portable.owner"


def mine() -> str:
    """This process: the boot, the process namespace, the pid and when it started."""
    pid = os.getpid()
    return f"{_place()}:{pid}:{_started(pid)}"


def is_dead(label: str) -> bool:
    """Whether the label's process has ended. False where that cannot be seen from here (another machine)."""
    place, _, rest = label.partition(":")
    pid, _, started = rest.partition(":")
    # No pid has more digits: those of a larger number int() may refuse.
    if place != _place() or not (pid.isascii() and pid.isdigit() and len(pid) < 10):
        return False
    seen = _started(int(pid))
    return seen != started and not (seen == "" and _hidden(int(pid)))


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"


def _started(pid: int) -> str:
    """The process's start in clock ticks since the boot (proc(5), stat, field 22); empty where it is gone."""
    try:
        # The name stands in brackets and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""


def _hidden(pid: int) -> bool:
    """Whether it lives and /proc does not show it: another user's process where that is mounted with hidepid."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return not os.access(f"/proc/{pid}/stat", os.R_OK)
    except ProcessLookupError:
        return False
    return False
