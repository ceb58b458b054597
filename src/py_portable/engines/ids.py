"""Which user ids a sandbox of this caller can have: the real ones, a mapped range, or a single one."""

from __future__ import annotations

import functools
import os
import pwd
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from py_portable.base.process import run
from py_portable.errors import PortableError

FULL_RANGE = 65536
CAP_SYS_ADMIN = 21
RANGE_FLAGS = ("--user", "--map-root-user", "--map-users=auto", "--map-groups=auto")
SINGLE_FLAGS = ("--user", "--map-root-user")

Kind = Literal["real", "range", "single", "none"]


@dataclass(frozen=True)
class Ids:
    """`kind`: real ids of root, a mapped range, only one id, or no new namespace at all.

    `reason` says why it is not a full range, `cure` what corrects that (both empty where it is one).
    """

    kind: Kind
    reason: str = ""
    cure: str = ""

    @property
    def flags(self) -> tuple[str, ...]:
        """What `unshare` has to be told for these ids."""
        return {"range": RANGE_FLAGS, "single": SINGLE_FLAGS}.get(self.kind, ())


def subid_ranges(text: str, user: str, uid: int) -> int:
    """How many ids /etc/subuid or /etc/subgid (their `text`) give in the longest range of this user."""
    counts = [0]
    for line in text.splitlines():
        name, _, rest = line.strip().partition(":")
        if name in (user, str(uid)) and (found := re.fullmatch(r"\d+:(\d+)", rest)):
            counts.append(int(found[1]))
    return max(counts)


def free_range(*texts: str) -> int:
    """The first id above every range in these files, from which a new range can begin."""
    found = re.findall(r"^[^:\n]*:(\d+):(\d+)\s*$", "\n".join(texts), re.MULTILINE)
    return max([100000, *(int(first) + int(count) for first, count in found)])


def has_capability(number: int) -> bool:
    """Whether this process holds the capability in effect."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def mapped(text: str) -> int:
    """How many ids a /proc/PID/uid_map maps."""
    return sum(int(line.split()[2]) for line in text.splitlines() if len(line.split()) == 3)


@functools.cache
def detect() -> Ids:
    """What this process can have, found out by trying (once a process)."""
    if os.geteuid() == 0 and has_capability(CAP_SYS_ADMIN):
        return Ids("real")
    if shutil.which("unshare") is None:
        return Ids("none", "unshare is not installed", "apt-get install util-linux")
    # Where the kernel refuses, unshare of util-linux 2.41 leaves the child behind that was to map ids, and that takes a
    # second each time; without ids to map it has none.
    if _try(("--user",)) is None:
        return Ids("none", *_why_no_range())
    if (_try(RANGE_FLAGS) or 0) >= FULL_RANGE - 1:
        return Ids("range")
    single = _try(SINGLE_FLAGS) == 1
    reason, cure = _why_no_range()
    return Ids("single" if single else "none", reason, cure)


def _try(flags: tuple[str, ...]) -> int | None:
    """How many ids a namespace made so has; None where none can be made."""
    try:
        outcome = run(["unshare", *flags, "--", "cat", "/proc/self/uid_map"], timeout=20)
    except PortableError:
        return None
    return mapped(outcome.stdout.text) if outcome.ok else None


def _why_no_range() -> tuple[str, str]:
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    if shutil.which("newuidmap") is None or shutil.which("newgidmap") is None:
        return "newuidmap is not installed", "apt-get install uidmap"
    texts = {name: text_of(name) for name in ("/etc/subuid", "/etc/subgid")}
    for name, text in texts.items():
        if subid_ranges(text, user, uid) < FULL_RANGE:
            first = free_range(*texts.values())
            span = f"{first}-{first + FULL_RANGE - 1}"
            return (
                f"{name} gives {user} no range of {FULL_RANGE} ids",
                f"sudo usermod --add-subuids {span} --add-subgids {span} {user}",
            )
    if "--map-users" not in run(["unshare", "--help"], timeout=20).stdout.text:
        return "unshare cannot map a range", "install util-linux 2.38 or newer (Debian 12, Ubuntu 24.04)"
    return (
        "a range of user ids cannot be mapped",
        f"look at what this prints: unshare {' '.join(RANGE_FLAGS)} id",
    )


def text_of(name: str) -> str:
    """A file of the machine's; empty where it cannot be read."""
    try:
        return Path(name).read_text(errors="replace")
    except OSError:
        return ""


def available() -> bool:
    """Whether a full range of ids is available (really, as root, or mapped)."""
    return detect().kind in ("real", "range")


def prefix() -> tuple[str, ...]:
    """The words before a command that is to see the ids a sandbox sees: `unshare …` for a mapped range, else ()."""
    return ("unshare", *RANGE_FLAGS, "--") if detect().kind == "range" else ()
