"""Why a bootstrap or a package manager failed, in the user's words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from py_portable.base.redact import hide
from py_portable.errors import MachineError, PortableError, StepError


class ImageUnavailable(PortableError):
    """The image is not available now or on this machine: cells that need it are UNPROVEN, with `reason`."""

    @property
    def reason(self) -> str:
        """One line, as it stands behind UNPROVEN."""
        return self.what.splitlines()[0]


class NotServed(ImageUnavailable):
    """The mirror answers, and does not have the release or its packages: another archive may have them."""


class SourceUnusable(MachineError):
    """The source of images cannot give the image: it cannot work on this machine, or nothing serves the release any
    more. Another one that claims the name is asked."""


@dataclass(frozen=True)
class KnownFailure:
    error: type[PortableError]
    what: str
    hint: str


@dataclass(frozen=True)
class _Pattern:
    expression: re.Pattern[str]
    error: type[PortableError]
    what: str
    hint: str


def _pattern(expression: str, error: type[PortableError], what: str, hint: str) -> _Pattern:
    return _Pattern(re.compile(expression, re.MULTILINE | re.IGNORECASE), error, what, hint)


# The first that matches wins: causes stand before what follows from them.
_PATTERNS = (
    _pattern(
        r"^.*no space left on device.*$|^.*disk quota exceeded.*$",
        MachineError,
        "the disk is full",
        "free some space (a root takes about 150 MB, twice that while it is made), or set TMPDIR and"
        " PY_PORTABLE_STORE to a larger disk; while packages are added to an image, they are kept in "
        "memory, at most half of the machine's memory",
    ),
    _pattern(
        r"^.*(?:newuidmap|newgidmap|/etc/sub[ug]id).*$",
        MachineError,
        "no range of user ids can be mapped",
        "install uidmap and give yourself a range: usermod --add-subuids 100000-165535"
        " --add-subgids 100000-165535 USER",
    ),
    _pattern(
        r"^.*(?:unshare\(\) failed|cannot mount|no permission to mount|mount: .*permission denied).*$",
        MachineError,
        "this machine does not let a bootstrap make namespaces or mounts",
        "if this is a container, start it with more rights, or bootstrap on the host: run py-portable doctor",
    ),
    _pattern(
        r"^.*(?:NO_PUBKEY|couldn't be verified because the public key|keyring .*(?:not|missing)).*$",
        MachineError,
        "the suite's signature cannot be checked with the keys of this machine",
        "install the distribution's keyring (package debian-archive-keyring), or a newer version of it",
    ),
    # dnf, microdnf and yum; zypper; apk.
    _pattern(
        r"^.*(?:GPG check FAILED|Public key for .* is not installed|package .* is not signed|key import failed"
        r"|Signature verification failed|signed with an unknown key|UNTRUSTED signature|BAD signature).*$",
        MachineError,
        "a signature cannot be checked with the keys in the image",
        "use a newer image, which has the present keys of its repositories",
    ),
    _pattern(
        r"^.*Release file .*(?:is expired|not valid yet).*$",
        ImageUnavailable,
        "the suite's Release file is expired, or this machine's clock is wrong",
        "an old suite that is no longer refreshed needs valid-until = false in resources/debian.toml, or"
        ' Acquire::Check-Valid-Until "false" in the machine\'s apt configuration; otherwise correct the clock',
    ),
    _pattern(
        r"^.*(?:certificate verif\w+ failed|certificate is NOT trusted|unknown issuer|certificate chain"
        r"|SSL certificate problem|Curl error \((?:60|77)\)|certificate not trusted).*$",
        MachineError,
        "the mirror's TLS certificate is not trusted here",
        "give apt the authority's certificate: Acquire::https::CAInfo in /etc/apt/apt.conf.d/; or name a bundle"
        " that has it in SSL_CERT_FILE",
    ),
    _pattern(
        r"^.*(?:temporary failure resolving|could not resolve|could not connect|unable to connect"
        r"|network is unreachable|connection (?:timed out|failed|refused)|failed to fetch .* (?:5\d\d|407|403) "
        r"|Curl error \((?:5|6|7|28|35|52|55|56)\)|Status code: (?:5\d\d|407|403) |Error code: HTTP response: 5"
        r"|Timeout exceeded when accessing|Connection failed|temporary error \(try again later\)|DNS:? .*error"
        r"|network error \(check Internet|network connection aborted|operation timed out).*$",
        ImageUnavailable,
        "the mirror cannot be reached",
        "check the network and the proxy that apt is told to use (apt-config dump | grep -i proxy), or that the"
        " variables http_proxy and https_proxy name",
    ),
    _pattern(
        r"^.*failed to fetch \S*/pool/\S* .*404 .*$",
        NotServed,
        "the mirror does not have the packages that its index lists",
        "use a newer release, or a mirror that has them",
    ),
    _pattern(
        r"^.*(?:does not have a Release file|failed to fetch .* 404 |Failed to download metadata for repo"
        r"|Cannot (?:download|prepare|find a valid baseurl|retrieve) .*(?:repomd|mirrorlist|repo:|metadata)"
        r"|Valid metadata not found|APKINDEX.*(?:No such file|not found)).*$",
        NotServed,
        "the mirror does not have this suite",
        "old suites move to the archive of old releases: use a newer image, or a mirror that has it",
    ),
    _pattern(
        r"^.*is not signed\.$",
        MachineError,
        "the suite's signature cannot be checked with the keys of this machine",
        "install the distribution's keyring (package debian-archive-keyring), or a newer version of it",
    ),
)
_NO_PACKAGE = re.compile(
    r"^(?:E: (?:Unable to locate package|Couldn't find any package by (?:glob|regex)) '?([^'\s]+)'?"
    r"|E: Package '(\S+)' has no installation candidate"
    r"|.*(?:No match for argument|Unable to find a match): (\S+)"
    r"|.*No package (?:matches )?'?([^'\s]+?)'? ?(?:available)?\.?"
    r"|.*No provider of '([^']+)' found\.?|.*Package '([^']+)' not found\.?"
    r"|\s+(\S+) \(no such package\):)\s*$",
    re.MULTILINE,
)
_UNMET = re.compile(
    r"^.*(?:unmet dependencies|nothing provides|conflicting requests|unable to select packages).*$",
    re.MULTILINE | re.IGNORECASE,
)


def explain(
    log: str,
    *,
    suite: str,
    known_packages: Callable[[], Iterable[str]] = tuple,
    doing: str | None = None,
    names_first: bool = True,
) -> KnownFailure:
    """The cause of a failed bootstrap, from the log's text; `known_packages` is asked for near names.

    `doing`: what failed, as a sentence begins with it. `names_first` is False where a package manager may say that
    it knows no package because it reached no mirror.
    """
    missing = _no_package(log, suite, known_packages)
    if missing and names_first:
        return missing
    doing, failed = (doing, doing) if doing else (f"bootstrap of {suite}", f"the bootstrap of {suite}")
    for pattern in _PATTERNS:
        found = pattern.expression.search(log)
        if found:
            line = hide(found[0].strip())[:300]
            return KnownFailure(pattern.error, f"{doing}: {pattern.what}: {line}", pattern.hint)
    if missing:
        return missing
    if _UNMET.search(log):
        return KnownFailure(
            StepError, f"{doing}: the packages cannot be installed together", "see the lines above"
        )
    return KnownFailure(StepError, f"{failed} failed", "the complete output is in the log")


def _no_package(log: str, suite: str, known_packages: Callable[[], Iterable[str]]) -> KnownFailure | None:
    found = _NO_PACKAGE.search(log)
    if not found:
        return None
    name = next(word for word in found.groups() if word)
    near = difflib.get_close_matches(name, list(known_packages()), n=3, cutoff=0.75)
    also = f"did you mean {' or '.join(near)}?" if near else "see the packages of the baseline in the config"
    return KnownFailure(StepError, f"{suite} has no package {name}", also)
