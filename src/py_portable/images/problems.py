"""Why a bootstrap failed, in the user's words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from py_portable.errors import MachineError, PortableError, StepError
from py_portable.redact import hide


class ImageUnavailable(PortableError):
    """The image cannot be had now or on this machine: cells that need it are UNPROVEN, with `reason`."""

    @property
    def reason(self) -> str:
        """One line, as it stands behind UNPROVEN."""
        return self.what.splitlines()[0]


class SourceUnusable(MachineError):
    """The source of images cannot work on this machine at all: another one that claims the name is asked."""


@dataclass(frozen=True)
class Problem:
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
        " PY_PORTABLE_STORE to a larger disk",
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
        "inside a container, start it with more rights, or bootstrap on the host: run py-portable doctor",
    ),
    _pattern(
        r"^.*(?:NO_PUBKEY|couldn't be verified because the public key|keyring .*(?:not|missing)).*$",
        MachineError,
        "the suite's signature cannot be checked with the keys of this machine",
        "install the distribution's keyring (package debian-archive-keyring), or a newer version of it",
    ),
    _pattern(
        r"^.*Release file .*(?:is expired|not valid yet).*$",
        ImageUnavailable,
        "the suite's Release file is expired, or this machine's clock is wrong",
        "an old suite that is no longer refreshed needs valid-until = false in resources/debian.toml, or"
        ' Acquire::Check-Valid-Until "false" in the machine\'s apt configuration; else set the clock',
    ),
    _pattern(
        r"^.*(?:certificate verif\w+ failed|certificate is NOT trusted|unknown issuer|certificate chain).*$",
        MachineError,
        "the mirror's TLS certificate is not trusted here",
        "give apt the authority's certificate: Acquire::https::CAInfo in /etc/apt/apt.conf.d/",
    ),
    _pattern(
        r"^.*(?:temporary failure resolving|could not resolve|could not connect|unable to connect"
        r"|network is unreachable|connection (?:timed out|failed|refused)|failed to fetch .* (?:5\d\d|407|403) ).*$",
        ImageUnavailable,
        "the mirror cannot be reached",
        "check the network and the proxy that apt is told to use (apt-config dump | grep -i proxy)",
    ),
    _pattern(
        r"^.*(?:does not have a Release file|failed to fetch .* 404 ).*$",
        ImageUnavailable,
        "the machine's mirror does not carry this suite",
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
    r"^E: (?:Unable to locate package|Couldn't find any package by (?:glob|regex)) '?([^'\s]+)'?",
    re.MULTILINE,
)
_NO_CANDIDATE = re.compile(r"^E: (?:Package '(\S+)' has no installation candidate)", re.MULTILINE)
_UNMET = re.compile(r"^.*unmet dependencies.*$", re.MULTILINE)


def explain(log: str, *, suite: str, known_packages: Callable[[], Iterable[str]] = tuple) -> Problem:
    """The cause of a failed bootstrap, from the log's text; `known_packages` is asked for near names."""
    missing = _NO_PACKAGE.search(log) or _NO_CANDIDATE.search(log)
    if missing:
        near = difflib.get_close_matches(missing[1], list(known_packages()), n=3, cutoff=0.75)
        also = (
            f"did you mean {' or '.join(near)}?" if near else "see the packages of the baseline in the config"
        )
        return Problem(StepError, f"{suite} has no package {missing[1]}", also)
    for pattern in _PATTERNS:
        found = pattern.expression.search(log)
        if found:
            line = hide(found[0].strip())[:300]
            return Problem(pattern.error, f"bootstrap of {suite}: {pattern.what}: {line}", pattern.hint)
    if _UNMET.search(log):
        return Problem(
            StepError, f"bootstrap of {suite}: packages do not fit together", "see the lines above"
        )
    return Problem(StepError, f"the bootstrap of {suite} failed", "the log has all of it")
