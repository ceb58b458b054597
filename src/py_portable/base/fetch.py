"""Files from the network, by digest: several places are tried, and nothing unverified gets its name."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from py_portable.base.regular import sha256_of
from py_portable.base.servers import Failed, Route, TimeLimits, redact
from py_portable.errors import StepError

_PAUSE_SECONDS = 1.0


class FetchError(StepError):
    """No source gave the file that was asked for."""


class FileSource(Protocol):
    """A place that a file may come from."""

    @property
    def name(self) -> str:
        """How messages call it; without logins."""
        ...

    def download(self, target: Path, sha256: str, max_bytes: int, limits: TimeLimits) -> None:
        """Write the file to `target`, which does not exist. Verifying is the caller's work. Raises Failed."""
        ...


@dataclass(frozen=True)
class Url:
    """An http or https address. Logins in it or in the netrc file are used, and never shown."""

    url: str = field(repr=False)
    route: Route = field(default_factory=Route)

    @property
    def name(self) -> str:
        return redact(self.url)

    def download(self, target: Path, sha256: str, max_bytes: int, limits: TimeLimits) -> None:
        # http and ssl take long to import, and most runs fetch nothing.
        from py_portable.base.download import download

        download(self.url, self.route, target, max_bytes, limits)


def fetch(
    sources: Sequence[FileSource],
    sha256: str,
    into: Path,
    *,
    max_bytes: int,
    limits: TimeLimits | None = None,
) -> Path:
    """Make `into` the file with this sha256 (hex), from the first source that gives it; returns `into`.

    A file that is there and right is left alone. The file is on the disk before it gets its name. Raises
    FetchError, which lists every source and why it failed.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"not a sha256: {sha256}")
    if into.is_file() and sha256_of(into) == sha256:
        return into
    into.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    with tempfile.TemporaryDirectory(prefix=f".{into.name}.", dir=into.parent) as folder:
        for number, source in enumerate(sources):
            fresh = Path(folder) / str(number)
            try:
                _download(source, fresh, sha256, max_bytes, limits or TimeLimits())
                _verify(fresh, sha256, max_bytes)
            except Failed as problem:
                reasons.append(f"{source.name}: {problem}")
                continue
            fresh.chmod(0o644)
            _settle(fresh, into)
            return into
    raise FetchError(
        f"{into.name} could not be fetched (sha256 {sha256[:12]}…)",
        tail="\n".join(reasons) or "no source for it is known",
        hint="check the network and the proxy, or put the file there by hand; its digest is checked in any case",
    )


def _download(source: FileSource, target: Path, sha256: str, max_bytes: int, limits: TimeLimits) -> None:
    try:
        source.download(target, sha256, max_bytes, limits)
    except Failed as problem:
        if not problem.passing:
            raise
        target.unlink(missing_ok=True)
        time.sleep(_PAUSE_SECONDS)
        source.download(target, sha256, max_bytes, limits)


def _verify(path: Path, sha256: str, max_bytes: int) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise Failed("no file was returned") from None
    if size > max_bytes:
        raise Failed(f"it has {size} bytes, more than the {max_bytes} that are allowed")
    found = sha256_of(path)
    if found != sha256:
        raise Failed(f"it is a different file: sha256 {found[:12]}…, {size} bytes")


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


__all__ = ["Failed", "FetchError", "FileSource", "TimeLimits", "Url", "fetch"]
