"""What registries and archives say about an image: indexes, manifests and configs, read with every bound checked.

Pure. Sources: the OCI image specification 1.1, Docker's image manifest version 2 schema 2. Everything here may be
hostile; a digest says only that it is what was asked for.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py_portable.base.regular import TooLargeError, read_regular
from py_portable.images.failures import ImageUnavailable
from py_portable.images.registry.reference import is_digest

MAX_MANIFEST = 4 << 20
"""Bytes of a manifest, an index or a config: what registries accept."""
MAX_LAYERS = 256
MAX_PULL = 64 << 30
"""Bytes of all blobs of an image together."""
_MAX_ENV = 512
_MAX_ENV_BYTES = 128 << 10
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "i686": "386",
    "i386": "386",
    "armv7l": "arm",
    "armv6l": "arm",
    "loongarch64": "loong64",
}
# The variants that run on a machine, best first. An entry that names none runs on the oldest.
_VARIANTS = {"armv7l": ("v7", "v6", "v5", ""), "armv6l": ("v6", "v5", ""), "aarch64": ("v8", "")}
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ImagePlatform:
    """What the specification calls the architecture of a machine; Linux, always."""

    architecture: str
    variants: tuple[str, ...] = ("",)

    def fits(self, architecture: str, variant: str) -> bool:
        return architecture == self.architecture and (variant in self.variants or self.variants == ("",))


def here(machine: str | None = None) -> ImagePlatform:
    """The platform of this machine (`machine`: another one, as `uname -m` says it)."""
    machine = machine or platform.machine()
    return ImagePlatform(_ARCHITECTURES.get(machine, machine), _VARIANTS.get(machine, ("",)))


@dataclass(frozen=True)
class Descriptor:
    digest: str
    size: int
    media_type: str


@dataclass(frozen=True)
class Manifest:
    """An image for one platform: its config, and its layers from the lowest to the highest."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return self.config.size + sum(layer.size for layer in self.layers)


@dataclass(frozen=True)
class ImageConfig:
    """What an image's config says as far as it matters here."""

    architecture: str
    variant: str
    env: Mapping[str, str] = field(default_factory=dict)
    diff_ids: tuple[str, ...] = ()
    """Digests of the layers as they are when unpacked."""


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def checked(data: bytes, digest: str, name: str) -> bytes:
    """`data`, where that is what the digest stands for. Raises ImageUnavailable."""
    if digest_of(data) != digest:
        raise ImageUnavailable(
            f"{name}: wrong digest: received {digest_of(data)}, expected {digest}",
            hint="the registry, or a proxy or mirror in front of it, sends different bytes: tell its operator",
        )
    return data


def is_index(data: bytes, name: str) -> bool:
    """Whether a raw manifest is a list of images for several platforms. Raises ImageUnavailable."""
    told = _object(data, name)
    kind = told.get("mediaType")
    return kind in _INDEXES if isinstance(kind, str) else isinstance(told.get("manifests"), list)


def choose(data: bytes, wanted: ImagePlatform, name: str) -> Descriptor:
    """The entry of an index that this machine can run. Raises ImageUnavailable, which says what there is."""
    entries = _object(data, name).get("manifests")
    if not isinstance(entries, list) or len(entries) > 4096:
        raise _broken(name, "its index lists no manifests")
    there: list[str] = []
    found: list[tuple[int, Descriptor]] = []
    for entry in entries:
        told = entry.get("platform") if isinstance(entry, dict) else None
        if not isinstance(told, dict):
            continue
        system, architecture, variant = (_word(told.get(key)) for key in ("os", "architecture", "variant"))
        # What builders attest about an image stands in its index as unknown/unknown.
        if system == "unknown":
            continue
        there.append("/".join(word for word in (system, architecture, variant) if word))
        if system == "linux" and wanted.fits(architecture, variant):
            rank = wanted.variants.index(variant) if variant in wanted.variants else len(wanted.variants)
            found.append((rank, _blob(entry, name)))
    if not found:
        raise _no_platform(name, wanted, there)
    return min(found, key=lambda pair: pair[0])[1]


def manifest(data: bytes, name: str) -> Manifest:
    """Read the manifest of an image for one platform. Raises ImageUnavailable."""
    told = _object(data, name)
    kind = told.get("mediaType")
    if told.get("schemaVersion") == 1:
        raise ImageUnavailable(
            f"{name}: its manifest has the format of 2014 (schema 1), whose layers cannot be checked",
            hint="use a newer tag, or pull and push it again with a current docker",
        )
    if kind not in (None, *_MANIFESTS):
        raise _broken(name, f"its manifest is of an unknown kind, {_word(kind)!r}")
    layers = told.get("layers")
    if not isinstance(layers, list) or not layers:
        raise _broken(name, "its manifest names no layers")
    if len(layers) > MAX_LAYERS:
        raise _broken(name, f"it has {len(layers)} layers, more than {MAX_LAYERS}")
    found = Manifest(_blob(told.get("config"), name), tuple(_blob(layer, name) for layer in layers))
    if found.config.size > MAX_MANIFEST:
        raise _broken(name, f"its config has {found.config.size} bytes")
    if found.size > MAX_PULL:
        raise _broken(name, f"its layers have {found.size} bytes, more than {MAX_PULL}")
    return found


def config(data: bytes, wanted: ImagePlatform, name: str) -> ImageConfig:
    """Read an image's config. Raises ImageUnavailable, also where it is for another platform."""
    told = _object(data, name)
    system, architecture, variant = (_word(told.get(key)) for key in ("os", "architecture", "variant"))
    if system != "linux" or not wanted.fits(architecture, variant):
        there = "/".join(word for word in (system, architecture, variant) if word)
        raise _no_platform(name, wanted, [there] if there else [])
    inner = told.get("config")
    rootfs = told.get("rootfs")
    env = _environment(inner.get("Env") if isinstance(inner, dict) else None, name)
    ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(ids, list) or not all(isinstance(i, str) and is_digest(i) for i in ids):
        raise _broken(name, "its config names no layers")
    return ImageConfig(architecture, variant, env, tuple(ids))


def read_bounded(path: Path, name: str) -> bytes:
    """The contents of a small file. Raises ImageUnavailable where it is larger than a manifest may be."""
    try:
        return read_regular(path, MAX_MANIFEST)
    except TooLargeError:
        raise _broken(name, f"{path.name} has more than {MAX_MANIFEST} bytes") from None


def read_list(data: bytes, name: str) -> list[Any]:
    """A JSON list. Raises ImageUnavailable."""
    told = _load(data, name)
    if not isinstance(told, list):
        raise _broken(name, "a list was expected in its manifest.json")
    return told


def _environment(told: Any, name: str) -> dict[str, str]:
    if told is None:
        return {}
    if not isinstance(told, list) or len(told) > _MAX_ENV or not all(isinstance(word, str) for word in told):
        raise _broken(name, "its environment is not a list of at most 512 entries")
    if sum(map(len, told)) > _MAX_ENV_BYTES:
        raise _broken(name, f"its environment has more than {_MAX_ENV_BYTES} bytes")
    found = {}
    for word in told:
        key, equals, value = word.partition("=")
        if not equals or not _ENV_NAME.fullmatch(key) or "\0" in value:
            raise _broken(name, f"its environment has the entry {word[:80]!r}")
        found[key] = value
    return found


def _blob(told: Any, name: str) -> Descriptor:
    if not isinstance(told, dict):
        raise _broken(name, "its manifest has an empty entry")
    digest, size, kind = told.get("digest"), told.get("size"), told.get("mediaType")
    if not isinstance(digest, str) or not is_digest(digest):
        raise _broken(name, f"its manifest has the digest {_word(digest)!r}")
    if type(size) is not int or size < 0:
        raise _broken(name, f"its manifest gives {digest} no size")
    return Descriptor(digest, size, _word(kind))


def _object(data: bytes, name: str) -> dict[str, Any]:
    told = _load(data, name)
    if not isinstance(told, dict):
        raise _broken(name, "its manifest or config is not a JSON object")
    return told


def _load(data: bytes, name: str) -> Any:
    if len(data) > MAX_MANIFEST:
        raise _broken(name, f"its manifest or config has more than {MAX_MANIFEST} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise _broken(name, "its manifest or config is not JSON") from None


def _word(told: Any) -> str:
    """A short word of somebody else's, fit to be shown."""
    text = told[:120] if isinstance(told, str) else ""
    return text if text.isprintable() else repr(text)


def _broken(name: str, what: str) -> ImageUnavailable:
    return ImageUnavailable(f"{name}: {what}", hint="the image is broken or malicious: use another one")


def _no_platform(name: str, wanted: ImagePlatform, there: list[str]) -> ImageUnavailable:
    shown = ", ".join(dict.fromkeys(there[:20])) or "it names none"
    return ImageUnavailable(
        f"{name}: no image for linux/{wanted.architecture}; there are: {shown}",
        hint="use an image that is made for this machine, or a machine that the image is made for",
    )
