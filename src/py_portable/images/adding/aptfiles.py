"""The machine's apt configuration as files for an apt that runs inside an image, where the machine's paths are not.

They lie in a folder that is bound in while packages are installed; nothing of them stays in the image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from py_portable.images.debian import apt
from py_portable.images.debian.releases import Release

KIT = "/kit"
"""Where the folder is shown inside."""
_FILE_SETTING = re.compile(r"::(?:CAInfo|SslCert|SslKey|IssuerCert|CRLFile)$", re.IGNORECASE)
# A program of the machine, which the image does not have.
_UNUSABLE = re.compile(r"::(?:Proxy-?Auto-?Detect|CAPath)$", re.IGNORECASE)
_KEY_SUFFIX = re.compile(r"\.(?:asc|gpg|pgp)$")
_REMOTE = re.compile(r"^(?:https?|ftp)://", re.IGNORECASE)


@dataclass
class _Files:
    """Copies of the machine's files, by their path inside the folder."""

    found: dict[str, bytes] = field(default_factory=dict)

    def take(self, path: Path) -> str | None:
        """The path inside, None for a file that is not there or closed to the caller."""
        try:
            data = path.read_bytes()
        except OSError:
            return None
        suffix = _KEY_SUFFIX.search(path.name)
        name = f"files/{len(self.found)}{suffix[0] if suffix else ''}"
        self.found[name] = data
        return f"{KIT}/{name}"


def files(setup: apt.AptSetup, release: Release | None, ca_bundle: str | None) -> Mapping[str, bytes]:
    """`apt.conf` for APT_CONFIG, what it names, and `sources.list` where this machine's mirrors serve `release`.

    Paths are relative to KIT; some hold logins.
    """
    copies = _Files()
    settings: list[tuple[str, str]] = []
    for name, value in setup.settings:
        if _UNUSABLE.search(name) or (ca_bundle is not None and name.lower() == "acquire::https::cainfo"):
            continue
        inside = copies.take(Path(value)) if _FILE_SETTING.search(name) else value
        if inside is not None:
            settings.append((name, inside))
    if ca_bundle is not None:
        settings.append(("Acquire::https::CAInfo", f"{KIT}/ca.crt"))
    lines: tuple[str, ...] = ()
    if release is not None and served(setup):
        settings += _logins(setup, copies)
        if not release.valid_until:
            settings.append(("Acquire::Check-Valid-Until", "false"))
        keyrings = [Path(found)] if (found := copies.take(apt.DEBIAN_KEYRING)) else []
        inside_setup = dataclasses.replace(
            setup, archive=_moved(setup.archive, copies), security=_moved(setup.security, copies)
        )
        lines = apt.source_lines(inside_setup, release.suite, keyrings=keyrings)
    made = dict(copies.found)
    made["apt.conf"] = "".join(f'{name} "{value}";\n' for name, value in settings).encode()
    if lines:
        made["sources.list"] = ("\n".join(lines) + "\n").encode()
    return made


def served(setup: apt.AptSetup) -> bool:
    """Whether the machine names mirrors that can be reached from inside an image: not those in its own folders."""
    return setup.archive is not None and all(
        _REMOTE.match(mirror.uri) for mirror in (setup.archive, setup.security) if mirror
    )


def _moved(mirror: apt.Mirror | None, copies: _Files) -> apt.Mirror | None:
    """The mirror with its keys where they are inside."""
    if mirror is None or not mirror.signed_by:
        return mirror
    words = [word for word in re.split(r"[,\s]+", mirror.signed_by) if word.startswith("/")]
    inside = [path for word in words if (path := copies.take(Path(word)))]
    return dataclasses.replace(mirror, signed_by=",".join(inside) or None)


def _logins(setup: apt.AptSetup, copies: _Files) -> list[tuple[str, str]]:
    """The settings for one file that holds what the machine's login files hold."""
    texts = []
    for _, value in setup.netrc:
        place = Path(value)
        with contextlib.suppress(OSError):
            parts = sorted(place.glob("*.conf")) if place.is_dir() else [place]
            texts += [part.read_bytes() for part in parts]
    if not texts:
        return []
    copies.found["auth.conf"] = b"\n".join(texts)
    return [("Dir::Etc::netrc", f"{KIT}/auth.conf"), ("Dir::Etc::netrcparts", "/dev/null")]
