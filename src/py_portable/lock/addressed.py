"""Dependencies that are named by address. They are fetched or packed once, kept in the store, and pinned by
digest."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from py_portable.errors import ConfigError, PortableError
from py_portable.lock.declared import Said
from py_portable.lock.direct import Direct, line_of, of_requirement, of_uv
from py_portable.lock.index import files
from py_portable.lock.index.offers import LockedFile
from py_portable.lock.index.source_archive import pack
from py_portable.store import Store

ARCHIVES = (".whl", ".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz")
BUILT_AT = "/build/source/app"
"""The path at which a build backend sees the app's source. Addresses in its answer may begin with this path."""


@dataclass(frozen=True)
class Owner:
    """Who requires something: `folder` is where relative paths of its [tool.uv.sources] start."""

    where: str
    folder: Path | None = None
    sources: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    """The file that `where` names, if it is text, so that messages can name the line."""
    foreign: bool = False
    """Whether it came from another machine. Then it must not name files of this machine, which would become part of
    the app."""

    def place(self, word: str) -> str:
        line = line_of(self.text, word)
        return f"{self.where}:{line}" if line else self.where

    def direct(self, wanted: Requirement, environment: Mapping[str, str]) -> Direct | str | None:
        """The address at which this requirement lies, or the name of the index that its source chooses."""
        name = canonicalize_name(wanted.name)
        by_name = {canonicalize_name(key): value for key, value in self.sources.items()}
        if name in by_name and self.folder is not None:
            where = self.place(wanted.name)
            return of_uv(name, by_name[name], self.folder, environment, where)
        found = of_requirement(wanted, self.place(wanted.name))
        if found is None or found.kind != "path" or self.folder is None:
            return found
        return Direct(**{**found.__dict__, "address": _mapped(found.address, self.folder)})


def is_local(direct: Direct) -> bool:
    return direct.kind == "path" or urlsplit(direct.address).scheme == "file"


def _mapped(path: str, folder: Path) -> str:
    """Turn a path that was seen in the sandbox into one on this machine: beside or below the source, which was at
    BUILT_AT.
    """
    if path == "/build" or path.startswith("/build/"):
        return os.path.normpath(folder / os.path.relpath(path, BUILT_AT))
    return path


@dataclass(frozen=True)
class Carried:
    """`path` is the file in the store. `said`: what it depends on, and how it is built."""

    direct: Direct
    file: LockedFile
    path: Path
    said: Said
    owner: Owner

    def same(self, direct: Direct) -> bool:
        mine, theirs = self.direct, direct
        return (mine.kind, mine.address, mine.ref, mine.subdirectory) == (
            theirs.kind,
            theirs.address,
            theirs.ref,
            theirs.subdirectory,
        )


@dataclass(frozen=True)
class Carrier:
    """`base`: where the paths in a lock start. `copy` makes the copy of a source folder that a build gets."""

    store: Store
    base: Path
    environ: Mapping[str, str]
    copy: Callable[[Path, Path], None]

    def bring(self, direct: Direct, folder: Path) -> tuple[Path, str]:
        """The archive that `direct` names, in the empty `folder`, and its origin as a lock says it.

        Raises ConfigError with the place where it is named, or where it is not available.
        """
        try:
            made, origin = self._bring(direct, folder)
        except ConfigError:
            raise
        except PortableError as problem:
            what = f"{direct.name} cannot be fetched: {problem.what}"
            raise type(problem)(what, where=direct.where, tail=problem.tail, hint=problem.hint) from None
        for algorithm, digits in direct.digests:
            with made.open("rb") as stream:
                found = hashlib.file_digest(stream, algorithm).hexdigest()
            if found != digits:
                raise ConfigError(
                    f"{direct.name} has the {algorithm} {found}, but {digits} is required",
                    where=direct.where,
                )
        return made, origin

    def _bring(self, direct: Direct, folder: Path) -> tuple[Path, str]:
        top = direct.name
        if direct.kind == "git":
            commit, made = files.of_commit(
                direct.address, direct.ref, direct.subdirectory, top, folder, self.environ
            )
            inner = f"#subdirectory={direct.subdirectory}" if direct.subdirectory else ""
            return made, f"git+{without_login(direct.address)}@{commit}{inner}"
        path = Path(direct.address)
        if direct.kind == "path" and path.is_dir():
            source = path / direct.subdirectory
            self.copy(source, folder / "files")
            pack(folder / "files", top, folder / "packed.tar.gz")
            return folder / "packed.tar.gz", f"path:{os.path.relpath(source, self.base)}"
        name = (
            path.name if direct.kind == "path" else unquote(urlsplit(direct.address).path.rpartition("/")[2])
        )
        if direct.subdirectory:
            raise ConfigError(
                f"{direct.name} is a subdirectory of an archive, which is not supported",
                where=direct.where,
                hint="name the repository instead: git+https://…#subdirectory=…",
            )
        # %2F in an address is a slash by now: the name must not lead out of the folder.
        if not name.endswith(ARCHIVES) or not name.isprintable() or PurePosixPath(name).name != name:
            raise ConfigError(
                f"{direct.name} is at {name!r}, but a folder, a wheel or an sdist is expected ({', '.join(ARCHIVES)})",
                where=direct.where,
            )
        if direct.kind == "url":
            return files.fetched(direct.address, folder / name, self.environ), without_login(direct.address)
        if not path.is_file():
            raise ConfigError(f"{direct.name} should be at {path}, but nothing is there", where=direct.where)
        shutil.copyfile(path, folder / name)
        return folder / name, f"path:{os.path.relpath(path, self.base)}"


def without_login(url: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme or parts.scheme == "ssh":  # there a user is part of the address, and no password is
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def file_name(made: Path, name: str, version: str) -> str:
    """The file name of an archive: a wheel keeps its name, an sdist gets the name of the project."""
    if made.name.endswith(".whl"):
        return made.name
    suffix = next(one for one in ARCHIVES if made.name.endswith(one))
    return f"{name.replace('-', '_')}-{version}{suffix}"
