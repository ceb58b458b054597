"""How this machine reaches the network: what of it travels into an image while that is made, and never stays."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from py_portable.base.redact import hide
from py_portable.images.debian.apt import AptSetup

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Where programs look for the bundle that they check servers with."""
_SYSTEM_CA = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
)
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's proxy variables, in whichever case they are written; values may hold logins."""
    return {name: value for name, value in environ.items() if name.lower() in _PROXY_VARIABLES}


def ca_bundle(setup: AptSetup, environ: Mapping[str, str]) -> str | None:
    """The text of the bundle that this machine checks servers with: apt's own, a variable's, the system's."""
    named = (Path(environ[name]) for name in CA_VARIABLES if environ.get(name))
    for path in (setup.ca_bundle, *named, *_SYSTEM_CA):
        if path is not None and path.is_file():
            return path.read_text("utf-8", "replace")
    return None


def secrets(environ: Mapping[str, str], setup: AptSetup) -> tuple[str, ...]:
    """What must not be seen of the proxies: their whole values, and the server's name with its port."""
    values = [value for name, value in proxies(environ).items() if name.lower() != "no_proxy"]
    values += [value for name, value in setup.settings if "proxy" in name.lower() and "://" in value]
    found: set[str] = set()
    for value in values:
        found.add(value)
        with contextlib.suppress(ValueError):
            found.add(urlsplit(value if "://" in value else f"//{value}").netloc.rpartition("@")[2])
    return tuple(sorted((word for word in found if len(word) > 3), key=lambda word: (-len(word), word)))


def cleaned(text: str, hidden: tuple[str, ...] = ()) -> str:
    """`text` without logins and without the words `hidden`."""
    for word in hidden:
        text = text.replace(word, "***")
    return hide(text)


def scrub(log: Path | None, hidden: tuple[str, ...] = ()) -> None:
    """The same for a log: apt writes a mirror's address as it was given it, login and all."""
    with contextlib.suppress(FileNotFoundError):
        if log is not None:
            text = log.read_text("utf-8", "surrogateescape")
            if (clean := cleaned(text, hidden)) != text:
                log.write_text(clean, "utf-8", "surrogateescape")
