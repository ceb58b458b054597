"""Images from files: what `docker save` and `skopeo copy` write, and OCI layouts in a folder."""

from __future__ import annotations

from pathlib import Path

from py_portable.images import root
from py_portable.images.adding.derive import derive
from py_portable.images.failures import ImageUnavailable
from py_portable.images.image import Image, Request
from py_portable.images.names import Names
from py_portable.images.registry import saved
from py_portable.images.registry.image_manifest import here
from py_portable.images.registry.pull import Content
from py_portable.images.registry.reference import ImageArchive, is_archive, parse_archive
from py_portable.store import Entry, Store


class ArchiveSource:
    """`docker-archive:PATH[:ref]`, `oci-archive:PATH[:ref]` and `oci:FOLDER[:ref]`.

    A relative path begins at the folder that the program was started in.
    """

    name = "archive"

    def claims(self, name: str) -> bool:
        return is_archive(name)

    def get(self, request: Request, store: Store, prefix: tuple[str, ...]) -> Image:
        """Raises ImageUnavailable (no such file, broken, hostile), MachineError, ConfigError (no such form)."""
        base = root.image(request, _entry(request, store, prefix), "archive", origin=None)
        return derive(base, request, store, prefix)


def _entry(request: Request, store: Store, prefix: tuple[str, ...]) -> Entry:
    archive = parse_archive(request.name)
    platform = here()
    names = Names(store.cache("images"))
    held = request.locked_identity if request.plain and not request.fresh else None
    if held and (entry := root.held(store, held, platform, request)):
        return entry
    state = _state(archive, request.name)
    known = names.get(f"{state} {platform.architecture}") if state else None
    if known and (entry := root.held(store, f"sha256:{known}", platform, request)):
        return entry
    with store.scratch("archive") as room:
        found = saved.read(
            archive.path, archive.ref, room, platform, request.name, docker=archive.kind == "docker-archive"
        )

        def fetch(_: Path, log: Path) -> Content:
            log.write_text(f"read from an archive: {found.identity}\n")
            return found.content

        entry = root.keep(store, prefix, request.name, found.identity, platform, fetch)
    if state:
        names.set(f"{state} {platform.architecture}", found.identity.removeprefix("sha256:"))
    return entry


def _state(archive: ImageArchive, name: str) -> str | None:
    """What tells an archive from what it was before, as far as that can be seen without reading it.

    None for a folder, whose time says nothing of what is in it. Raises ImageUnavailable.
    """
    try:
        seen = archive.path.stat()
    except (OSError, ValueError) as problem:
        raise ImageUnavailable(
            f"{name}: {getattr(problem, 'strerror', None) or 'cannot be looked at'}",
            hint="the path of an archive is absolute, or starts at the folder in which py-portable is started",
        ) from None
    if archive.path.is_dir():
        return None
    told = (
        archive.path.absolute(),
        archive.ref,
        seen.st_size,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
        seen.st_ino,
    )
    return " ".join(["archive", archive.kind, *map(str, told)])
