"""What of this machine's own set-up a stock machine is given: how to reach the network, by a list. Nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from py_portable.images.debian import apt
from py_portable.images.debian.releases import releases

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_BUNDLES = (
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
)
_AS_THEY_ARE = (
    "PIP_DEFAULT_TIMEOUT", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_TRUSTED_HOST",
    "UV_DEFAULT_INDEX", "UV_INDEX_URL",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip
FILES = ("/etc/pip.conf", "/etc/resolv.conf")
SUITE = "trixie"


def environment() -> Mapping[str, str]:
    """Variables that a machine on such a network has set for everybody."""
    told = {name: BUNDLE for name in _BUNDLES if os.environ.get(name)}
    return told | {name: os.environ[name] for name in _AS_THEY_ARE if os.environ.get(name)}


def files() -> Iterator[tuple[str, bytes]]:
    """Paths inside and what is in them."""
    for name in FILES:
        if Path(name).is_file():
            yield name, Path(name).read_bytes()
    bundle = Path(os.environ.get("SSL_CERT_FILE") or BUNDLE)
    if bundle.is_file():
        yield BUNDLE, bundle.read_bytes()
    setup = apt.read(release.suite for release in releases().values())
    lines = apt.source_lines(setup, SUITE, keyrings=(apt.DEBIAN_KEYRING,))
    yield "/etc/apt/sources.list", ("\n".join(lines) + "\n").encode()
    settings = "".join(f'{name} "{value}";\n' for name, value in setup.settings)
    yield "/etc/apt/apt.conf.d/99network", settings.encode()
    for number, (name, path) in enumerate(setup.netrc):
        if name == "Dir::Etc::netrc":
            yield f"/etc/apt/auth.conf.d/{number}.conf", Path(path).read_bytes()
