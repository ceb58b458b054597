"""Names of images as registries and archive files know them: parsed, checked, put together again. Pure.

Sources: the grammar of the distribution project's package `reference`, the OCI distribution and image
specifications, containers-transports(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

from py_portable.errors import ConfigError

MAX_NAME = 255
"""Letters of a registry and a repository together."""
MAX_PATH = 1000
_HINT = "a reference is [registry[:port]/]repository[:tag][@sha256:…], such as ubuntu:20.04"

_HOST = re.compile(
    r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
    r"(?:\.(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9]))*"
)
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_KINDS = ("docker-archive", "oci-archive", "oci")


@dataclass(frozen=True)
class Reference:
    """`registry` is None for a short name, which is left to whoever asks for it to complete."""

    repository: str
    registry: str | None = None
    """Host name, with the port where one was given: `localhost:5000`."""
    tag: str | None = None
    digest: str | None = None
    """`sha256:…`; where there is one, the tag says nothing."""

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def pinned(self, digest: str) -> Reference:
        """The same repository by digest, and without a tag: skopeo refuses a name with both."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"


@dataclass(frozen=True)
class ImageArchive:
    """An image in a file, or (kind `oci`) in a folder. `ref` chooses one where there are several."""

    kind: Literal["docker-archive", "oci-archive", "oci"]
    path: Path
    ref: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}{f':{self.ref}' if self.ref else ''}"


def is_digest(text: str) -> bool:
    """Whether the text is `sha256:` and 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def is_archive(text: str) -> bool:
    """Whether the name begins like that of an archive, well-formed or not."""
    # `oci:1.0` may be the tag of a repository called oci; a path of an archive has a slash or a file name's end.
    kind, _, rest = text.partition(":")
    return kind in _KINDS[:2] or (kind == "oci" and "/" in rest)


def parse_archive(text: str) -> ImageArchive:
    """`docker-archive:PATH[:ref]`, `oci-archive:PATH[:ref]`, `oci:FOLDER[:ref]`. Raises ConfigError."""
    kind, _, rest = text.partition(":")
    path, colon, ref = rest.partition(":")

    def refuse(what: str) -> NoReturn:
        raise ConfigError(
            f"{text[:MAX_NAME]!r} is not the name of an archive: {what}",
            hint="write docker-archive:PATH, oci-archive:PATH or oci:FOLDER, and :REF after it to choose an image",
        )

    if not is_archive(text):
        refuse("it does not begin with docker-archive:, oci-archive: or oci:")
    if not path:
        refuse("there is no path")
    if len(path) > MAX_PATH:
        refuse(f"its path has more than {MAX_PATH} letters")
    if not path.isprintable():
        refuse("its path has a control character")
    if colon and not (ref and len(ref) <= 2 * MAX_NAME and ref.isprintable() and " " not in ref):
        refuse("the text after the path is not the name of an image")
    found: Literal["docker-archive", "oci-archive", "oci"] = (
        "docker-archive" if kind == "docker-archive" else "oci-archive" if kind == "oci-archive" else "oci"
    )
    return ImageArchive(found, Path(path), ref or None)


def parse(text: str) -> Reference:
    """`[registry[:port]/]repository[:tag][@sha256:…]`. Raises ConfigError, which says what is wrong with it."""

    def refuse(what: str) -> NoReturn:
        raise ConfigError(f"{text[:MAX_NAME]!r} is not the name of an image: {what}", hint=_HINT)

    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        algorithm = digest.partition(":")[0]
        if re.fullmatch(r"[a-z][a-z0-9+._-]*", algorithm) and ":" in digest and algorithm != "sha256":
            refuse(f"digests must be sha256, not {algorithm}")
        refuse("write after @ sha256: and 64 lower-case hexadecimal digits")
    head, slash, tail = rest.partition("/")
    registry: str | None = None
    # The distribution project's rule: otherwise `library/x` would name a machine.
    if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
        registry, rest = head, tail
        host, colon, port = head.partition(":")
        if not _HOST.fullmatch(host):
            refuse(f"{host!r} is not a host name")
        if colon and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
            refuse(f"{port!r} is not a port")
    repository, colon, tag = rest.partition(":")
    if colon and not _TAG.fullmatch(tag):
        refuse(
            f"{tag[:MAX_NAME]!r} is not a tag: use at most 128 of A-Z a-z 0-9 _ . - and no dot or dash at the beginning"
        )
    if not repository:
        refuse("the repository is missing")
    for part in repository.split("/"):
        if not part:
            refuse("there is nothing between two of its slashes")
        if not _PART.fullmatch(part):
            upper = "; repositories are written in lower case" if part != part.lower() else ""
            refuse(f"{part!r} cannot be part of a repository's name{upper}")
    if not registry and re.fullmatch(r"[0-9a-f]{64}", repository):
        refuse("64 hexadecimal digits name an image on one machine only")
    if len(repository) + (len(registry) + 1 if registry else 0) > MAX_NAME:
        refuse(f"registry and repository have more than {MAX_NAME} letters")
    return Reference(repository, registry, tag or None, digest or None)
