"""Files from the network, by digest: several places are tried, and nothing unverified gets its name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

from py_portable import resources
from py_portable.base import process
from py_portable.base.download import Failed, Limits, Url
from py_portable.base.redact import hide
from py_portable.errors import StepError

APT_HELPER = Path("/usr/lib/apt/apt-helper")
_PAUSE_SECONDS = 1.0


class FetchError(StepError):
    """No source gave the file that was asked for."""


class Source(Protocol):
    """A place that a file may come from."""

    @property
    def name(self) -> str:
        """How messages call it; without logins."""
        ...

    def download(self, target: Path, sha256: str, max_bytes: int, limits: Limits) -> None:
        """Write the file to `target`, which does not exist. Verifying is the caller's work. Raises Failed."""
        ...


@dataclass(frozen=True)
class DebianPool:
    """A file of the Debian archive, through the mirror and the proxies that this machine's apt uses."""

    path: str
    """Below the mirror's root: `pool/main/p/…`."""
    mirror: str | None = field(default=None, repr=False)
    """None: the one that apt is configured with."""

    @property
    def name(self) -> str:
        return f"the machine's Debian mirror, {self.path}"

    def download(self, target: Path, sha256: str, max_bytes: int, limits: Limits) -> None:
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


@dataclass(frozen=True)
class Pin:
    """One file of `resources/sources.toml`: its version, digest, size limit, and where it can be had."""

    version: str
    sha256: str
    max_bytes: int
    sources: tuple[Source, ...]
    file_name: str


def fetch(
    sources: Sequence[Source], sha256: str, into: Path, *, max_bytes: int, limits: Limits | None = None
) -> Path:
    """Make `into` the file with this sha256 (hex), from the first source that gives it; returns `into`.

    A file that is there and right is left alone. The file is on the disk before it gets its name. Raises
    FetchError, which lists every source and why it failed.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"not a sha256: {sha256}")
    if into.is_file() and _digest(into) == sha256:
        return into
    into.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    with tempfile.TemporaryDirectory(prefix=f".{into.name}.", dir=into.parent) as folder:
        for number, source in enumerate(sources):
            fresh = Path(folder) / str(number)
            try:
                _download(source, fresh, sha256, max_bytes, limits or Limits())
                _verify(fresh, sha256, max_bytes)
            except Failed as problem:
                reasons.append(f"{source.name}: {problem}")
                continue
            fresh.chmod(0o644)
            _settle(fresh, into)
            return into
    raise FetchError(
        f"{into.name} could not be fetched (sha256 {sha256[:12]}…)",
        tail="\n".join(reasons) or "no source is known for it",
        hint="check the network and the proxy, or put the file there by hand; its digest is checked all the same",
    )


def _download(source: Source, target: Path, sha256: str, max_bytes: int, limits: Limits) -> None:
    try:
        source.download(target, sha256, max_bytes, limits)
    except Failed as problem:
        if not problem.passing:
            raise
        target.unlink(missing_ok=True)
        time.sleep(_PAUSE_SECONDS)
        source.download(target, sha256, max_bytes, limits)


@cache
def pins() -> Mapping[str, Mapping[str, Pin]]:
    """Pinned source files: kind (`cpython`) -> series (`3.13`) -> pin."""
    table = tomllib.loads(resources.path("sources.toml").read_text())
    return {kind: {name: _pin(entry) for name, entry in entries.items()} for kind, entries in table.items()}


def _pin(entry: Mapping[str, object]) -> Pin:
    url, pool = str(entry["url"]), str(entry["debian-pool"])
    size = entry["max-bytes"]
    assert isinstance(size, int)
    return Pin(
        version=str(entry["version"]),
        sha256=str(entry["sha256"]),
        max_bytes=size,
        sources=(Url(url), DebianPool(pool)),
        file_name=url.rpartition("/")[2],
    )


def _apt_reason(outcome: process.Outcome, seconds: float) -> str:
    if outcome.timed_out:
        return f"not done within {seconds:.0f} s"
    lines = [line for line in outcome.stderr.text.splitlines() if line.startswith("E:")]
    return hide(" ".join(" ".join(lines).split())[:400]) or f"apt-helper ended with {outcome.status}"


def _debian_mirror() -> str | None:
    from py_portable.images import releases
    from py_portable.images.debian import apt

    if not shutil.which("apt-config"):
        return None
    archive = apt.read(release.suite for release in releases().values()).archive
    return archive.uri if archive else None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(path: Path, sha256: str, max_bytes: int) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise Failed("it gave no file") from None
    if size > max_bytes:
        raise Failed(f"it has {size} bytes, more than the {max_bytes} that are allowed")
    found = _digest(path)
    if found != sha256:
        raise Failed(f"it is another file: sha256 {found[:12]}…, {size} bytes")


def _settle(fresh: Path, into: Path) -> None:
    with fresh.open("rb") as stream:
        os.fsync(stream.fileno())
    fresh.replace(into)
    handle = os.open(into.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


__all__ = ["DebianPool", "FetchError", "Limits", "Pin", "Source", "Url", "fetch", "pins"]
