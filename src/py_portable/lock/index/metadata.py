"""The metadata of wheels that an index offers: from the store, else from the file beside the wheel (PEP 658), else
from the wheel itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

from py_portable.base.servers import Failed, TimeLimits
from py_portable.lock.index import ask, files
from py_portable.lock.index.offers import LockedFile
from py_portable.lock.index.texts import MAX_TEXT_BYTES, metadata_of
from py_portable.store import Store


def of_wheels(
    store: Store, wheels: Iterable[LockedFile], *, environ: Mapping[str, str], **target: str
) -> dict[str, str]:
    """sha256 of each wheel -> the text of its METADATA. `target` is python, max_glibc and arch.

    Wheels without such a file are fetched into the store, where a build needs them anyway.
    """
    wheels = list(wheels)
    addresses = files.addresses(store)
    access = ask.access(environ) if any(files.placed(store, wheel) is None for wheel in wheels) else None

    def look(wheel: LockedFile) -> str | None:
        if place := files.placed(store, wheel):
            return metadata_of(place)
        url = addresses.get(wheel.sha256, "")
        if url.startswith("file:"):
            return metadata_of(Path(unquote(urlsplit(url).path)))
        return _beside(url, access, store) if url and access else None

    with ThreadPoolExecutor(files.PARALLEL_FETCHES) as pool:
        found = dict(zip((wheel.sha256 for wheel in wheels), pool.map(look, wheels), strict=True))
    rest = [wheel for wheel in wheels if found[wheel.sha256] is None]
    if rest:
        with store.scratch("metadata") as folder:
            files.gather(store, rest, folder / "wheels", environ=environ, **target)
            found |= {wheel.sha256: metadata_of(folder / "wheels" / wheel.file) for wheel in rest}
    return {sha256: text for sha256, text in found.items() if text is not None}


def _beside(url: str, access: ask.Access, store: Store) -> str | None:
    """None if the index has no such file: not every index offers it."""
    parts = urlsplit(url)
    source = files.source_of(
        parts._replace(path=f"{parts.path}.metadata", query="", fragment="").geturl(), access
    )
    with store.scratch("metadata") as folder:
        try:
            source.download(folder / "METADATA", "", MAX_TEXT_BYTES, TimeLimits(total=60))
            text = (folder / "METADATA").read_text("utf-8", "replace")
        except (Failed, OSError):
            return None
    return text if text.startswith("Metadata-Version:") else None
