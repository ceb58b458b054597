"""What a way to get images from a registry is, and how its failures are told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from py_portable.base.process import Outcome
from py_portable.base.redact import hide
from py_portable.errors import MachineError, PortableError
from py_portable.images.failures import ImageUnavailable
from py_portable.images.layers.stack import Layer
from py_portable.images.registry.image_manifest import ImageConfig, ImagePlatform
from py_portable.images.registry.reference import Reference

INSPECT_SECONDS = 60.0
"""For one question to a registry."""
COPY_SECONDS = 3600.0
"""For all layers of an image."""
IDLE_SECONDS = 60.0
"""How long nothing may arrive of a layer."""


@dataclass(frozen=True)
class Content:
    """An image on the disk, not yet unpacked."""

    config: ImageConfig
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Pull:
    """What is asked of a registry."""

    name: str
    """What the user calls it. Messages begin with it and name no other: they stand in the evidence, and a mirror
    may not."""
    reference: Reference
    """What is asked for instead: aliases and mirrors are applied."""
    platform: ImagePlatform


class Puller(Protocol):
    """A way to get at registries."""

    name: str

    def digest(self, wanted: Pull) -> str:
        """What the reference's tag stands for now: of an index or of a manifest."""
        ...

    def fetch(self, wanted: Pull, digest: str, room: Path, log: Path) -> Content:
        """The image of that digest, for the wanted platform, as files in the empty folder `room`."""
        ...


@dataclass(frozen=True)
class _Cause:
    expression: re.Pattern[str]
    error: type[PortableError]
    what: str
    hint: str


def _cause(expression: str, error: type[PortableError], what: str, hint: str) -> _Cause:
    return _Cause(re.compile(expression, re.IGNORECASE), error, what, hint)


# The first that matches wins. {host} is the registry that was asked, with its port.
_CAUSES = (
    _cause(
        r"no space left on device|disk quota exceeded",
        MachineError,
        "the disk is full",
        "free some space (an image takes its layers' size and its unpacked size while it is made), or set"
        " PY_PORTABLE_STORE to a folder on a larger disk",
    ),
    _cause(
        r"x509: certificate signed by unknown authority|x509: .*not trusted|unable to get local issuer",
        MachineError,
        "the registry's TLS certificate is by an authority that is not trusted here",
        "give its certificate: /etc/docker/certs.d/{host}/ca.crt, or in the file that SSL_CERT_FILE names",
    ),
    _cause(
        r"x509: ",
        ImageUnavailable,
        "the registry's TLS certificate is not valid (its date, its names, or this machine's clock)",
        "the line above says what is wrong with it; tell the operator of {host}",
    ),
    _cause(
        r"server gave HTTP response to HTTPS client",
        MachineError,
        "the registry has no TLS",
        "allow that for this one: in /etc/containers/registries.conf.d/NAME.conf write\n"
        '[[registry]]\nlocation = "{host}"\ninsecure = true',
    ),
    _cause(
        r"policy\.json|rejected by policy|signature was required",
        MachineError,
        "this machine's policy for images (containers-policy.json) does not allow it",
        "look at /etc/containers/policy.json and ~/.config/containers/policy.json",
    ),
    _cause(
        r"cannot connect to the docker daemon|is the docker daemon running|permission denied .*docker\.sock",
        MachineError,
        "the docker daemon cannot be reached",
        "start it, add this user to the group docker, or install skopeo, which needs no daemon",
    ),
    _cause(
        r"too ?many ?requests|status.{0,200}\b429\b",
        ImageUnavailable,
        "the registry refuses more requests for now (rate limit)",
        "wait, or log in with: docker login {host}   (or: skopeo login {host})",
    ),
    _cause(
        r"unauthorized|authentication required|invalid username/password|(?<!permission )\bdenied\b"
        r"|no basic auth credentials|status.{0,200}\b40[13]\b",
        ImageUnavailable,
        "the registry refuses it: you are not logged in, or the login may not read it, or there is no such repository",
        "log in with: docker login {host}   (or: skopeo login {host})",
    ),
    _cause(
        r"no matching manifest for|no image found in (?:manifest list|image index)",
        ImageUnavailable,
        "no image for this machine's architecture",
        "use an image that is made for this machine",
    ),
    _cause(
        r"name unknown|repository name not known|repository .*not found",
        ImageUnavailable,
        "the registry has no such repository",
        "check the name; if a locked image was deleted, lock another one: py-portable lock --update NAME",
    ),
    _cause(
        r"manifest unknown|no such manifest|manifest .*not found|status.{0,200}\b404\b",
        ImageUnavailable,
        "the registry has no such tag or digest",
        "check the name; if a locked image was deleted, lock another one: py-portable lock --update NAME",
    ),
    _cause(
        r"no such host|server misbehaving|temporary failure in name resolution|name or service not known",
        ImageUnavailable,
        "unknown host",
        "check the name of the registry, the network, and PY_PORTABLE_MIRRORS if only your own registry "
        "can be reached",
    ),
    _cause(
        r"connection refused",
        ImageUnavailable,
        "the registry refuses connections",
        "check that {host} runs, and its port",
    ),
    _cause(
        r"digests? (?:did|does) not match|(?:filesystem layer|content) verification failed|digest mismatch"
        r"|unexpected (?:commit )?digest",
        ImageUnavailable,
        "wrong digest: a layer is not what the manifest says",
        "the registry, or a proxy or mirror in front of it, sends different bytes: tell its operator",
    ),
    _cause(
        r"unexpected EOF|short read|unexpected end of|happened during read",
        ImageUnavailable,
        "a layer is incomplete: the registry ended the transfer too early",
        "run the same command again; if it happens again, tell the operator of {host}",
    ),
    _cause(
        r"i/o timeout|timeout awaiting|context deadline exceeded|tls handshake timeout|connection timed out"
        r"|network is unreachable|no route to host|proxyconnect|connection reset by peer",
        ImageUnavailable,
        "the registry cannot be reached",
        "check the network and its proxy (HTTPS_PROXY)",
    ),
    _cause(
        r"status.{0,200}\b5[0-9][0-9]\b",
        ImageUnavailable,
        "the registry reports an internal error",
        "run the same command again later",
    ),
)
_FATAL = re.compile(r'level=(?:fatal|error) msg="((?:[^"\\]|\\.)*)"')


def failure(wanted: Pull, outcome: Outcome, *, limit: float) -> PortableError:
    """The error for a command that asked a registry and failed. `limit` is the time limit it had, in seconds."""
    host = wanted.reference.registry or ""
    text = _said(hide(outcome.stderr.text.strip() or outcome.stdout.text.strip()))
    if outcome.stopped or outcome.timed_out:
        why = outcome.stopped or f"the registry did not answer within {limit:.0f} s"
        found = _match(text, wanted)
        # What it said before it began to try again.
        if found is None or outcome.stopped:
            return ImageUnavailable(
                f"{wanted.name}: {why}",
                tail=text,
                hint=f"check the network, and whether {host or 'the registry'} answers at all",
            )
        why = found.what
    else:
        found = _match(text, wanted)
    if found is None:
        # The tool's own words name the registry that was asked, so they stand in the tail.
        how = f"exit status {outcome.status}"
        return ImageUnavailable(
            f"{wanted.name}: {outcome.argv[0]} could not fetch it ({how})",
            tail=text,
            hint="the lines above say why",
        )
    asked = _asked(wanted)
    hint = found.hint.replace("{host}", host).replace(
        "   (or: skopeo login )", "   (or: skopeo login docker.io)"
    )
    return found.error(f"{wanted.name}: {found.what}", tail=text, hint=f"{hint}{asked}")


def _match(text: str, wanted: Pull) -> _Cause | None:
    # A repository may be called what a cause is called.
    reference = wanted.reference
    for word in (str(reference), f"manifest {reference.tag} in", reference.name):
        text = text.replace(word, " ")
    return next((cause for cause in _CAUSES if cause.expression.search(text)), None)


def _said(text: str) -> str:
    """The tool's last word, without skopeo's form around it."""
    fatal = _FATAL.findall(text)
    return fatal[-1].replace('\\"', '"').removeprefix("Error parsing image name ") if fatal else text


def _asked(wanted: Pull) -> str:
    name = wanted.reference.name
    return "" if wanted.name.startswith(name) else f"\nrequested: {name}"


def growth(room: Path, most: int, idle: float = IDLE_SECONDS) -> Callable[[], str | None]:
    """What `command.run` can watch a transfer by: the folder has to grow, and to at most `most` bytes."""
    state = {"size": -1, "since": time.monotonic()}

    def look() -> str | None:
        now, size = time.monotonic(), folder_size(room)
        if size > most:
            return f"the registry sends more than the {most} bytes that the image's manifest says"
        if size != state["size"]:
            state.update(size=size, since=now)
        elif now - state["since"] > idle:
            return f"the registry stopped sending: nothing was received for {idle:.0f} s"
        return None

    return look


def folder_size(folder: Path) -> int:
    """Bytes of the files in a folder (not below it)."""
    total = 0
    for path in folder.iterdir():
        try:
            total += path.lstat().st_size
        except OSError:
            continue
    return total
