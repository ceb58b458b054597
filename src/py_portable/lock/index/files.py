"""Locked files of an index, kept in the store by their sha256: fetched once, verified, never resolved again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.utils import canonicalize_name

from py_portable.base import tarball, zips
from py_portable.base.atomic import write_whole
from py_portable.base.fetch import Failed, FileSource, TimeLimits, Url, fetch
from py_portable.base.redact import is_plain
from py_portable.base.regular import sha256_of
from py_portable.errors import StepError
from py_portable.lock.index import ask, git
from py_portable.lock.index.offers import LockedFile, Offer
from py_portable.lock.index.source_archive import pack
from py_portable.lock.index.texts import SDIST_BOUNDS
from py_portable.store import Store, StoreError

MAX_BYTES = 4 << 30
PARALLEL_FETCHES = 8


def gather(
    store: Store,
    files: Sequence[LockedFile],
    into: Path,
    *,
    python: str,
    max_glibc: str,
    arch: str,
    environ: Mapping[str, str],
) -> Path:
    """Put the locked files into the folder `into`, fetching those that the store lacks."""
    into.mkdir(parents=True, exist_ok=True)
    lost = [file for file in files if not _copy(store, file, into)]
    for file in lost:
        _again(store, file, environ)
    missing = [file for file in lost if not _made_here(file)]
    if missing:
        urls = _urls(store, missing, python=python, max_glibc=max_glibc, arch=arch, environ=environ)
        access = ask.access(environ)
        with ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
            list(pool.map(lambda file: _fetch(store, file, source_of(urls[file.sha256], access)), missing))
    for file in lost:
        if not _copy(store, file, into):
            raise StoreError(f"{file.file} was damaged directly after the download", where=str(store.root))
    return into


def _copy(store: Store, file: LockedFile, into: Path) -> bool:
    """Put the stored file into a folder. Returns False if there is none, or if it is not the one that was locked."""
    entry = store.get(_key(file))
    if entry is None:
        return False
    shutil.copyfile(entry.path / file.file, into / file.file)
    if sha256_of(into / file.file) == file.sha256:
        return True
    store.set_aside(entry.key, f"{file.file}: its contents are different")
    (into / file.file).unlink()
    return False


def placed(store: Store, file: LockedFile) -> Path | None:
    """The place of the file in the store. Never write there."""
    entry = store.get(_key(file))
    return entry.path / file.file if entry else None


def keep(store: Store, file: LockedFile, made: Path) -> Path:
    """Put a file that was made or fetched here into the store, under its digest."""

    def build(work: Path) -> Mapping[str, object]:
        shutil.copyfile(made, work / "out" / file.file)
        return {"name": file.name, "version": file.version}

    return store.make(_key(file), build).path / file.file


def _made_here(file: LockedFile) -> bool:
    return file.origin is not None and file.origin.startswith(("git+", "path:"))


def _again(store: Store, file: LockedFile, environ: Mapping[str, str]) -> None:
    """Make the file of a repository's commit once more. Raises StepError if it is a different one now."""
    if not _made_here(file):
        return
    assert file.origin is not None
    if file.origin.startswith("path:"):
        raise StepError(
            f"{file.file}, made of {file.origin.removeprefix('path:')}, is not in the store",
            hint="run: py-portable lock",
        )
    url, _, rest = file.origin.removeprefix("git+").rpartition("@")
    commit, _, subdirectory = rest.partition("#subdirectory=")
    with store.scratch("git") as folder:
        made = of_commit(url, commit, subdirectory, file.name, folder, environ)[1]
        if sha256_of(made) != file.sha256:
            raise StepError(
                f"{file.origin} gives a different archive from the locked one",
                hint=f"find out what changed, then run: py-portable lock --update {file.name}",
            )
        keep(store, file, made)


def of_commit(
    url: str, ref: str | None, subdirectory: str, name: str, folder: Path, environ: Mapping[str, str]
) -> tuple[str, Path]:
    """The commit for which `ref` of a git repository stands, and an archive of its files in the empty `folder`."""
    commit = git.commit_of(url, ref, folder / "repository", environ)
    git.write_out(folder / "repository", commit, subdirectory, folder / "files", environ)
    pack(folder / "files", name, folder / "packed.tar.gz")
    return commit, folder / "packed.tar.gz"


def fetched(url: str, into: Path, environ: Mapping[str, str]) -> Path:
    """Fetch an address that is not pinned yet; the caller keeps its digest. Raises StepError."""
    source = source_of(url, ask.access(environ))
    try:
        source.download(into, "", MAX_BYTES, TimeLimits())
    except Failed as problem:
        raise StepError(f"{source.name} cannot be fetched: {problem}") from None
    return into


def remember(store: Store, offers: Iterable[Offer]) -> None:
    """Remember where files are available, so that the index need not be asked again. Entries may get lost."""
    path = store.cache("index") / "urls.json"
    known = addresses(store)
    # A URL with credentials, also in its query, is not kept but asked for again.
    known |= {o.sha256: o.url for o in offers if is_plain(o.url)}
    write_whole(path, json.dumps(known))


def addresses(store: Store) -> dict[str, str]:
    try:
        found = json.loads((store.cache("index") / "urls.json").read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    # Also what an older version of the kit has kept.
    return {sha256: url for sha256, url in found.items() if isinstance(url, str) and is_plain(url)}


def _key(file: LockedFile) -> str:
    return f"file-{file.sha256}"


@dataclass(frozen=True)
class _Local:
    """A file in a folder of the caller's own (pip's find-links)."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def download(self, target: Path, sha256: str, max_bytes: int, limits: TimeLimits) -> None:
        try:
            shutil.copyfile(self.path, target)
        except OSError as problem:
            raise Failed(problem.strerror or str(problem)) from None


def source_of(url: str, access: ask.Access) -> FileSource:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return _Local(Path(unquote(parts.path)))
    login = access.logins.get((parts.scheme, parts.netloc))
    return Url(urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}")) if login else url, access.route)


def _fetch(store: Store, file: LockedFile, source: FileSource) -> None:
    def build(work: Path) -> Mapping[str, object]:
        fetch([source], file.sha256, work / "out" / file.file, max_bytes=file.size or MAX_BYTES)
        _bounded(work / "out" / file.file)
        return {"name": file.name, "version": file.version}

    store.make(_key(file), build)


def _bounded(path: Path) -> None:
    """Find a zip or tar bomb before pip or another program unpacks it. Raises StepError."""
    try:
        if path.suffix in (".whl", ".zip"):
            zips.checked(path)
            return
        with tarball.opened(path, SDIST_BOUNDS) as tar:
            for _ in tarball.members(tar, SDIST_BOUNDS):
                pass
    except (tarball.RefusedError, OSError) as problem:
        raise StepError(
            f"{path.name} from the index cannot be used: {problem}",
            hint="choose another version: name it in the app's requirements, then run: py-portable lock",
        ) from None


def _urls(
    store: Store,
    files: Sequence[LockedFile],
    *,
    python: str,
    max_glibc: str,
    arch: str,
    environ: Mapping[str, str],
) -> dict[str, str]:
    urls = addresses(store)
    urls |= {file.sha256: file.origin for file in files if file.origin is not None}
    lost = [file for file in files if file.sha256 not in urls]
    if lost:
        found = ask.offers(
            sorted({f"{file.name}=={file.version}" for file in lost}),
            python=python,
            max_glibc=max_glibc,
            arch=arch,
            cache=store.cache("uv"),
            environ=environ,
            metadata={canonicalize_name(file.name): () for file in lost},
            deps=False,
        )
        remember(store, found)
        urls |= {offer.sha256: offer.url for offer in found}
    for file in files:
        if file.sha256 not in urls:
            raise StepError(
                f"{file.file} with sha256 {file.sha256} is locked, but the index no longer has it",
                hint="choose new versions: py-portable lock --update " + file.name,
            )
    return urls
