"""Why an engine does not start on this machine, and the one line that corrects it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from py_portable.engines import ids

_UNCONFINED = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined"
_APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"
APPARMOR_RULE = (
    "AppArmor forbids user namespaces to ordinary users "
    "(kernel.apparmor_restrict_unprivileged_userns=1, as on Ubuntu 23.10 and later)"
)
APPARMOR_CURE = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
_NATIVE = "use --engine native with one job an image"


@dataclass(frozen=True)
class Facts:
    """What decides it. A sysctl that this kernel does not have is None."""

    root: bool
    admin: bool
    """Whether CAP_SYS_ADMIN is held."""
    userns_clone: int | None
    max_userns: int | None
    apparmor_userns: int | None
    tools: tuple[str, ...]
    """Programs that are missing."""
    container: bool
    kernel: tuple[int, int]
    ids: ids.Ids

    @classmethod
    def gather(cls) -> Facts:
        """Look at this machine."""
        release = os.uname().release.split(".")
        numbers = [int("".join(c for c in part if c.isdigit()) or "0") for part in (*release, "0")[:2]]
        return cls(
            root=os.geteuid() == 0,
            admin=ids.has_capability(ids.CAP_SYS_ADMIN),
            userns_clone=_sysctl("kernel/unprivileged_userns_clone"),
            max_userns=_sysctl("user/max_user_namespaces"),
            apparmor_userns=_sysctl(_APPARMOR),
            tools=tuple(name for name in ("setpriv", "unshare", "mount") if shutil.which(name) is None),
            container=any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")),
            kernel=(numbers[0], numbers[1]),
            ids=ids.detect(),
        )


def apparmor_forbids() -> bool:
    """Whether the rule is in force. Kernels without AppArmor do not have the setting."""
    return _sysctl(_APPARMOR) == 1


def _sysctl(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", name).read_text())
    except (OSError, ValueError):
        return None


def cure(facts: Facts, said: str) -> tuple[str, str]:
    """The cause and the cure, the likeliest first; `said` is what the attempt printed on stderr."""
    if facts.tools:
        return f"{' and '.join(facts.tools)} not found", "apt-get install util-linux mount"
    if facts.root and not facts.admin:
        return (
            "root without CAP_SYS_ADMIN, as inside an unprivileged container",
            f"start the container with: {_UNCONFINED} --cap-add SYS_ADMIN, or {_NATIVE}",
        )
    if not facts.root:
        if facts.userns_clone == 0:
            return "user namespaces are switched off", "sudo sysctl -w kernel.unprivileged_userns_clone=1"
        if facts.max_userns == 0:
            return "no user namespace is allowed", "sudo sysctl -w user.max_user_namespaces=15000"
        refused = "permission denied" in said.lower() or "not permitted" in said.lower()
        # newuidmap may map a range all the same; what is in the namespace then has no rights there.
        if facts.apparmor_userns == 1 and (facts.ids.kind == "none" or refused):
            return APPARMOR_RULE, APPARMOR_CURE
        if facts.ids.kind == "none" and facts.container:
            return (
                "user namespaces are forbidden here, as inside an unprivileged container",
                f"start the container with: {_UNCONFINED}, or {_NATIVE}",
            )
        if facts.kernel < (5, 11):
            return (
                f"Linux {facts.kernel[0]}.{facts.kernel[1]} has no overlay mounts for ordinary users",
                "run as root, or use Linux 5.11 or newer",
            )
        if facts.ids.cure and (facts.ids.kind == "none" or "setuid" in said or "setgroups" in said):
            return facts.ids.reason, facts.ids.cure
    if "proc" in said and "mount" in said.lower():
        return (
            "/proc cannot be mounted, as inside a container that hides parts of it",
            "start the container with: --security-opt systempaths=unconfined",
        )
    if "overlay" in said:
        return "an overlay cannot be mounted", "sudo modprobe overlay"
    last = said.strip().splitlines()[-1] if said.strip() else "no message was printed"
    return f"the canary did not start: {last}", "py-portable doctor"
