"""Files of Debian's archive, through the mirror and the proxies that this machine's apt uses."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from py_portable.base import process
from py_portable.base.fetch import Failed, TimeLimits, Url
from py_portable.base.redact import hide
from py_portable.images.debian import apt
from py_portable.images.debian.releases import releases

APT_HELPER = Path("/usr/lib/apt/apt-helper")


@dataclass(frozen=True)
class DebianPool:
    """A file of the archive."""

    path: str
    """Below the mirror's root: `pool/main/p/…`."""
    mirror: str | None = field(default=None, repr=False)
    """None: the one that apt is configured with."""

    @property
    def name(self) -> str:
        return f"the machine's Debian mirror, {self.path}"

    def download(self, target: Path, sha256: str, max_bytes: int, limits: TimeLimits) -> None:
        uri = self.mirror or _debian_mirror()
        if uri is None:
            raise Failed("no Debian mirror in the machine's apt configuration")
        address = f"{uri.rstrip('/')}/{self.path}"
        if not APT_HELPER.is_file():
            Url(address).download(target, sha256, max_bytes, limits)
            return
        # prlimit stops a server that sends more than it should; the rest of the limits are apt's own.
        words = ["prlimit", f"--fsize={max_bytes}", str(APT_HELPER)]
        for name in ("http", "https"):
            words += ["-o", f"Acquire::{name}::Timeout={max(1, round(limits.idle))}"]
        words += ["-o", "Acquire::Retries=0", "-o", "APT::Sandbox::User=root"]
        words += ["download-file", address, str(target), f"SHA256:{sha256}"]
        outcome = process.run(words, timeout=limits.total)
        if not outcome.ok:
            raise Failed(_apt_reason(outcome, limits.total))


def _apt_reason(outcome: process.Outcome, seconds: float) -> str:
    if outcome.timed_out:
        return f"not finished within {seconds:.0f} s"
    lines = [line for line in outcome.stderr.text.splitlines() if line.startswith("E:")]
    return hide(" ".join(" ".join(lines).split())[:400]) or f"apt-helper ended with {outcome.status}"


def _debian_mirror() -> str | None:
    if not shutil.which("apt-config"):
        return None
    archive = apt.read(release.suite for release in releases().values()).archive
    return archive.uri if archive else None
