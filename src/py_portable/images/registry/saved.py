"""Archives of images (docker save, OCI), read by ourselves: hostile ones too, and without any tool.

A docker archive holds a manifest.json that names a config and layers; an OCI archive or folder an index.json and
blobs by digest. `docker save` of today writes both into one.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from py_portable.base.regular import open_regular, sha256_of
from py_portable.images.failures import ImageUnavailable
from py_portable.images.layers.stack import Layer
from py_portable.images.registry import image_manifest
from py_portable.images.registry.image_manifest import MAX_PULL, ImagePlatform, digest_of
from py_portable.images.registry.pull import Content
from py_portable.images.registry.reference import is_digest

MAX_MEMBERS = 20_000
_CHUNK = 1 << 20
_LARGEST_READ = 16 << 20
_REF_NAME = "org.opencontainers.image.ref.name"
_TAR = "application/vnd.oci.image.layer.v1.tar"
_MAGIC = {b"\x1f\x8b": f"{_TAR}+gzip", b"\x28\xb5\x2f\xfd": f"{_TAR}+zstd"}


@dataclass(frozen=True)
class Saved:
    """`identity`: the digest of the manifest (OCI) or of the config (docker)."""

    identity: str
    content: Content


class _Bounded:
    """A file that gives no more than it is sane to ask for: tarfile reads headers of any size into memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)


def read(
    path: Path, ref: str | None, room: Path, platform: ImagePlatform, name: str, *, docker: bool = False
) -> Saved:
    """Take the image `ref` (the only one, where None) out of the archive or folder `path` into files in `room`.

    Where an archive is of both kinds, `docker` says that it is read as a docker archive. Raises
    ImageUnavailable; OSError where a disk is full.
    """
    files = _folder(path, name) if path.is_dir() else _extract(path, room, name)

    def small(member: str) -> bytes:
        if member not in files:
            raise _broken(name, f"it has no {member[:200]!r}")
        return image_manifest.read_bounded(files[member], name)

    if "index.json" in files and not (docker and "manifest.json" in files):
        return _oci(files, small("index.json"), ref, platform, name)
    if "manifest.json" in files:
        return _docker(files, small("manifest.json"), ref, platform, name)
    raise _broken(name, "it holds neither index.json nor manifest.json, so it is not an archive of an image")


def _oci(files: dict[str, Path], index: bytes, ref: str | None, platform: ImagePlatform, name: str) -> Saved:
    def blob(digest: str, size: int | None = None) -> Path:
        member = f"blobs/sha256/{digest.removeprefix('sha256:')}"
        if member not in files:
            raise _broken(name, f"it has no blob {digest}")
        found = files[member]
        if f"sha256:{sha256_of(found)}" != digest:
            raise ImageUnavailable(f"{name}: wrong digest: the blob {digest} has other contents")
        if size is not None and found.stat().st_size != size:
            raise _broken(name, f"the blob {digest} has another size than its manifest says")
        return found

    data = index
    digest = _chosen(data, ref, platform, name)
    data = image_manifest.read_bounded(blob(digest), name)
    if image_manifest.is_index(data, name):
        digest = image_manifest.choose(data, platform, name).digest
        data = image_manifest.read_bounded(blob(digest), name)
    told = image_manifest.manifest(data, name)
    config = image_manifest.config(
        image_manifest.read_bounded(blob(told.config.digest), name), platform, name
    )
    layers = tuple(Layer(blob(b.digest, b.size), b.digest, b.media_type) for b in told.layers)
    return Saved(digest, Content(config, layers))


def _chosen(index: bytes, ref: str | None, platform: ImagePlatform, name: str) -> str:
    """The digest of the entry of index.json that is meant."""
    if not image_manifest.is_index(index, name):
        raise _broken(name, "its index.json is not an index")
    entries = [e for e in json.loads(index).get("manifests", []) if isinstance(e, dict)]
    names = [str((e.get("annotations") or {}).get(_REF_NAME, "")) for e in entries if _is_noted(e)]
    if ref is not None:
        entries = [e for e in entries if _is_noted(e) and (e.get("annotations") or {}).get(_REF_NAME) == ref]
        if len(entries) != 1:
            raise _no_such(name, ref, names)
    if len(entries) == 1 and isinstance(entries[0].get("digest"), str) and is_digest(entries[0]["digest"]):
        return str(entries[0]["digest"])
    if len(entries) > 1 and all(isinstance(entry.get("platform"), dict) for entry in entries):
        return image_manifest.choose(index, platform, name).digest
    raise _several(name, names)


def _is_noted(entry: dict[str, Any]) -> bool:
    return isinstance(entry.get("annotations") or {}, dict)


def _docker(
    files: dict[str, Path], listed: bytes, ref: str | None, platform: ImagePlatform, name: str
) -> Saved:
    entries = [entry for entry in image_manifest.read_list(listed, name) if isinstance(entry, dict)]
    tags = [tag for entry in entries for tag in _tags(entry)]
    if ref is not None:
        entries = [e for e in entries if any(_full(tag) == _full(ref) for tag in _tags(e))]
        if not entries:
            raise _no_such(name, ref, tags)
    if len(entries) != 1:
        raise _several(name, tags)
    names = entries[0].get("Layers")
    config_name = entries[0].get("Config")
    if (
        not isinstance(names, list)
        or not all(isinstance(n, str) for n in names)
        or not isinstance(config_name, str)
    ):
        raise _broken(name, "its manifest.json names no config or no layers")
    if not names or len(names) > image_manifest.MAX_LAYERS:
        raise _broken(name, f"it has {len(names)} layers, and may have 1 to {image_manifest.MAX_LAYERS}")
    for member in (config_name, *names):
        if member not in files:
            raise _broken(name, f"it has no {member[:200]!r}")
    data = image_manifest.read_bounded(files[config_name], name)
    config = image_manifest.config(data, platform, name)
    if len(config.diff_ids) != len(names):
        raise _broken(name, "its config names another number of layers than its manifest.json")
    layers = []
    for member, diff_id in zip(names, config.diff_ids, strict=True):
        path = files[member]
        kind = _kind(path)
        found = f"sha256:{sha256_of(path)}"
        # The identity of such an image is its config's, and that says what layers are when unpacked.
        if (found if kind == _TAR else _digest_unpacked(path, kind, name)) != diff_id:
            raise ImageUnavailable(
                f"{name}: wrong digest: the layer {member[:120]!r} is not what its config says"
            )
        layers.append(Layer(path, found, kind))
    return Saved(digest_of(data), Content(config, tuple(layers)))


def _tags(entry: dict[str, Any]) -> list[str]:
    told = entry.get("RepoTags")
    return [tag for tag in told if isinstance(tag, str)] if isinstance(told, list) else []


def _full(tag: str) -> str:
    """One way to write a name that skopeo writes in full and docker does not."""
    name = tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"
    return name.removeprefix("docker.io/").removeprefix("library/")


def _extract(path: Path, room: Path, name: str) -> dict[str, Path]:
    """The archive's files by name, each under a name of ours in `room`."""
    found: dict[str, Path] = {}
    links: dict[str, str] = {}
    total = 0
    with _opened(path, name) as archive:
        for count, member in enumerate(archive):
            if count >= MAX_MEMBERS:
                raise _broken(name, f"it has more than {MAX_MEMBERS} files")
            key = posixpath.normpath(member.name)
            if member.issym() or member.islnk():
                base = posixpath.dirname(key) if member.issym() else ""
                links[key] = posixpath.normpath(posixpath.join(base, member.linkname))
            if not member.isreg() or member.issparse():
                continue
            total += member.size
            if total > MAX_PULL:
                raise _broken(name, f"its files have more than {MAX_PULL} bytes")
            source = archive.extractfile(member)
            assert source is not None
            place = room / str(count)
            with place.open("xb") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
            if place.stat().st_size != member.size:
                raise _broken(name, "it ends in the middle of a file")
            found[key] = place
    # `docker save` of some years ago wrote a layer that two images share once, and links to it.
    for key, target_name in links.items():
        if key not in found and target_name in found:
            found[key] = found[target_name]
    return found


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[tarfile.TarFile]:
    try:
        with open_regular(path) as stream, tarfile.open(fileobj=_Bounded(stream), mode="r|*") as archive:  # type: ignore[call-overload]
            yield archive
    except FileNotFoundError:
        raise ImageUnavailable(
            f"{name}: there is no such file",
            hint="the path of an archive is absolute, or starts at the folder in which py-portable is started",
        ) from None
    except (tarfile.TarError, EOFError, OverflowError, ValueError, RecursionError) as problem:
        raise _broken(name, f"it is not a complete tar archive: {str(problem)[:120]}") from problem


def _folder(path: Path, name: str) -> dict[str, Path]:
    """The files of an OCI layout in a folder. What is a link counts as missing."""
    found = {}
    for member in ("index.json", *_blobs(path, name)):
        place = path / member
        if place.is_file() and not place.is_symlink():
            found[member] = place
    return found


def _blobs(path: Path, name: str) -> list[str]:
    folder = path / "blobs" / "sha256"
    if folder.is_symlink() or folder.parent.is_symlink() or not folder.is_dir():
        raise _broken(name, "it has no folder blobs/sha256, so it is not an OCI layout")
    return [f"blobs/sha256/{blob.name}" for blob in folder.iterdir()]


def _kind(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(4)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), _TAR)


def _digest_unpacked(path: Path, kind: str, name: str) -> str:
    if not kind.endswith("+gzip"):
        raise _broken(name, "its layers are packed with zstd, which a docker archive may not hold")
    told, total = hashlib.sha256(), 0
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(_CHUNK):
                told.update(chunk)
                total += len(chunk)
                if total > MAX_PULL:
                    raise _broken(name, f"a layer has more than {MAX_PULL} bytes")
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise _broken(name, f"a layer is not a complete gzip file: {problem}") from None
    return f"sha256:{told.hexdigest()}"


def _no_such(name: str, ref: str, there: list[str]) -> ImageUnavailable:
    shown = ", ".join(filter(None, there[:20])) or "none with a name"
    return ImageUnavailable(
        f"{name}: the archive has no image {ref}; there are: {shown}", hint="write one of them"
    )


def _several(name: str, there: list[str]) -> ImageUnavailable:
    shown = ", ".join(filter(None, there[:20])) or "none with a name"
    return ImageUnavailable(
        f"{name}: the archive does not hold exactly one image: {shown}",
        hint="name the image after the path: PATH:REF",
    )


def _broken(name: str, what: str) -> ImageUnavailable:
    return ImageUnavailable(f"{name}: {what}", hint="make the archive again: docker save, or skopeo copy")
