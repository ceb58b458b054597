"""The folders of the store, how they are made, and who must own them."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable.store.faults import StoreError

_KEY = re.compile(r"[0-9a-z][0-9a-z._-]{7,127}")
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_FOLDERS = ("objects", "tmp", "locks", "cache", "logs", "logs/failed", "quarantine")
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# The store of py-portable: everything in it can be made again. Delete it only while no run uses it.\n"
)


def default_root(environ: Mapping[str, str]) -> Path:
    """`$PY_PORTABLE_STORE`, else `py-portable` in `$XDG_CACHE_HOME` or `~/.cache`. Empty means unset."""
    named = environ.get("PY_PORTABLE_STORE")
    if named:
        return Path(named).expanduser().absolute()
    cache = environ.get("XDG_CACHE_HOME", "")
    # The base directory specification: a relative path there is to be ignored.
    if cache.startswith("/"):
        return Path(cache) / "py-portable"
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".cache" / "py-portable"


@dataclass(frozen=True)
class StoreLayout:
    """The paths of one store."""

    root: Path

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def failed(self) -> Path:
        return self.root / "logs" / "failed"

    @property
    def leases(self) -> Path:
        return self.locks / "leases"

    def object(self, key: str) -> Path:
        return self.objects / key[:2] / key

    def lock(self, key: str) -> Path:
        return self.locks / f"{key}.lock"

    def cache(self, name: str) -> Path:
        return self.root / "cache" / check_name(name)

    def check(self) -> None:
        """Raise StoreError unless the root is missing, or a folder of ours that nobody else can write to."""
        try:
            state = self.root.stat()
        except FileNotFoundError:
            return
        me = os.geteuid()
        if not self.root.is_dir():
            raise StoreError("the store is not a folder", where=str(self.root), hint=_ELSEWHERE)
        if state.st_uid != me:
            raise StoreError(
                f"the store belongs to uid {state.st_uid}, and this is uid {me}",
                where=str(self.root),
                hint=f"run as its owner, or {_ELSEWHERE}",
            )
        if state.st_mode & 0o022 and self._is_ours():
            raise StoreError(
                f"others can write to the store (mode {state.st_mode & 0o7777:04o})",
                where=str(self.root),
                hint=f"run: chmod go-w {self.root}",
            )

    def prepare(self) -> None:
        """Make what is missing: mode 0700. Raises StoreError, OSError."""
        self.check()
        if self._is_ours():
            return
        self.root.mkdir(0o700, parents=True, exist_ok=True)
        handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if self._is_ours():
                return
            strangers = {entry.name for entry in self.root.iterdir()} - {*_FOLDERS, _TAG}
            if strangers:
                raise StoreError(
                    f"the folder is not a store, and it is not empty: {sorted(strangers)[0]}",
                    where=str(self.root),
                    hint=_ELSEWHERE,
                )
            # Images hold programs with the set-user-id bit, old ones too: no other user may reach them.
            self.root.chmod(0o700)
            for name in _FOLDERS:
                (self.root / name).mkdir(exist_ok=True)
            (self.root / _TAG).write_text(_TAG_TEXT)
        finally:
            os.close(handle)

    def _is_ours(self) -> bool:
        # The tag is written last: with it, everything else is there.
        try:
            return (self.root / _TAG).read_text() == _TAG_TEXT
        except (OSError, ValueError):
            return False


_ELSEWHERE = "set PY_PORTABLE_STORE to a new folder of your own"


def check_key(key: str) -> str:
    """Raises ValueError: a key is a digest, made by the program and never by a user."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a key: {key!r}")
    return key


def check_name(name: str) -> str:
    """Raises ValueError for a name that is not a plain file name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name: {name!r}")
    return name
