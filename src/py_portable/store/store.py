"""The content-addressed store of steps' outputs."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from py_portable.errors import PortableError
from py_portable.store import gc, scratch
from py_portable.store.disk import make_folder, sync_path, sync_tree, write_durably
from py_portable.store.entry import DamageFound, Entry, Header, look, read_manifest, write_header
from py_portable.store.errors import DamagedError, StoreError, explain, explained, is_out_of_room
from py_portable.store.foreign import hash_tree, remove_tree
from py_portable.store.layout import Layout, check_key, check_name
from py_portable.store.locks import lock, owner_note, process_leases, try_lock
from py_portable.store.manifest import decode, differences, digest_of, to_os
from py_portable.store.restore import choose, copy_out

_log = logging.getLogger(__name__)
_AGAIN = "run the same command again: the step is then done anew"
_KEPT = ("out", "log")


class Store:
    """Outputs of steps, each under its key, shared by the runs, processes and threads of one user."""

    def __init__(self, root: Path) -> None:
        """`root` is made (mode 0700) when something is put in. Raises StoreError if it is someone else's."""
        self.root = Path(os.path.realpath(root))
        self._layout = Layout(self.root)
        self._ready = False
        self._ready_lock = threading.Lock()
        with explained("look at the store", self.root):
            self._layout.check()

    def get(self, key: str) -> Entry | None:
        """The finished object of `key`, or None. Reads two small files; contents are not hashed again.

        A damaged object is moved aside and counts as missing. Raises StoreError.
        """
        folder = self._layout.object(check_key(key))
        with explained("read from the store", self.root):
            if not folder.exists():
                return None
            process_leases(self._layout.leases).take(key)
            try:
                return self._look(key)
            except DamageFound:
                pass
            held = try_lock(self._layout.lock(key), owner_note(what=f"damaged {key[:12]}"))
            if held is None:
                return None
            try:
                return self._look_or_move_aside(key)
            finally:
                held.release()

    def make(
        self, key: str, build: Callable[[Path], Mapping[str, object]], *, prefix: tuple[str, ...] = ()
    ) -> Entry:
        """The object of `key`; if there is none, `build(work)` makes it.

        `build` fills `work/out` (an empty folder, mode 0755), may write `work/log`, and returns what is to be
        known about the output, as JSON; anything else in `work` is thrown away. `prefix` is a command prefix
        under which a tree of foreign ids can be read and removed. One process builds, others wait for it.
        If `build` raises, its log is kept under logs/failed and named by the error. Raises StoreError.
        """
        found = self.get(key)
        if found:
            return found
        self._prepare()
        with explained("lock a step", self.root):
            held = lock(self._layout.lock(key), f"step {key[:12]}")
        try:
            with explained("read from the store", self.root):
                process_leases(self._layout.leases).take(key)
                found = self._look_or_move_aside(key)
            return found or self._build(key, build, prefix)
        finally:
            held.release()

    def _build(
        self, key: str, build: Callable[[Path], Mapping[str, object]], prefix: tuple[str, ...]
    ) -> Entry:
        with scratch.folder(self._layout.tmp, key[:12], prefix) as room:
            work = room / "work"
            try:
                with explained("make a work folder", self.root):
                    work.mkdir(0o755)
                    (work / "out").mkdir()
                    (work / "out").chmod(0o755)
                meta = build(work)
                self._finish(key, work, meta, prefix)
            except BaseException as problem:
                shown = self._explain_full_disk(problem)
                _name_log(shown, self._keep_log(key, work / "log"), work)
                if shown is problem:
                    raise
                raise shown from problem
        with explained("read back what was just stored", self.root):
            made = self._look(key)
        assert made is not None
        return made

    def _finish(self, key: str, work: Path, meta: Mapping[str, object], prefix: tuple[str, ...]) -> None:
        """Seal the work folder and give it its place: everything is on the disk before the one rename."""
        with explained("keep the output of a step", self.root):
            for path in work.iterdir():
                if path.name not in _KEPT:
                    remove_tree(path, prefix)
            (work / "log").touch()
            data = hash_tree(work / "out", prefix)
            write_durably(work / "manifest", data)
            write_durably(work / "entry.json", write_header(Header(key, digest_of(data), prefix, meta)))
            (work / "used").touch()
            sync_tree(work, _solid(data), data.count(b"\n"))
            place = self._layout.object(key)
            make_folder(place.parent)
            work.rename(place)
            sync_path(place.parent)

    def verify(self, entry: Entry) -> None:
        """Hash the whole object again. Raises DamagedError that names the first paths that differ."""
        folder = entry.path.parent
        try:
            with explained("read from the store", self.root):
                found = look(folder, entry.key)
                if found is None or found[0].digest != entry.digest:
                    raise DamageFound("it is gone, or another one is in its place")
                data = hash_tree(entry.path, found[1].prefix)
                if digest_of(data) != entry.digest:
                    expected = decode(read_manifest(folder, entry.digest))
                    raise DamageFound("\n".join(differences(expected, decode(data))))
        except DamageFound as problem:
            raise _damaged(entry.key, folder, str(problem)) from problem

    def restore(self, entry: Entry, relative: str, destination: Path) -> None:
        """Copy a file or folder of the output to `destination`, replacing what is there in one step.

        The copy belongs to the caller, has the recorded modes and is checked byte by byte. Links inside a
        folder are copied as they are. Raises StoreError; DamagedError if the object is not what was stored:
        it is then moved aside, so that `make` builds it anew.
        """
        destination = destination.absolute()
        try:
            with explained("read from the store", self.root):
                data = read_manifest(entry.path.parent, entry.digest)
            chosen = choose(decode(data), relative)
            with explained("copy out of the store", destination):
                copy_out(entry.path, relative, chosen, destination)
        except DamageFound as problem:
            self.set_aside(entry.key)
            raise _damaged(entry.key, entry.path.parent, str(problem)) from problem

    def set_aside(self, key: str) -> None:
        """Move an object that is not to be trusted to `quarantine/`. No error if it is gone."""
        self._prepare()
        with explained("move a damaged object aside", self.root):
            held = lock(self._layout.lock(check_key(key)), f"step {key[:12]}")
            try:
                self._move_aside(key)
            finally:
                held.release()

    def cache(self, name: str) -> Path:
        """A folder for a cache of some tool (ccache, uv): mutable, may vanish, never trusted for a result."""
        path = self._layout.cache(name)
        self._prepare()
        with explained("make a cache folder", self.root):
            make_folder(path)
        return path

    @contextlib.contextmanager
    def scratch(self, name: str, *, prefix: tuple[str, ...] = ()) -> Iterator[Path]:
        """A throw-away folder on the store's file system; if we are killed, the next run removes it."""
        check_name(name)
        self._prepare()
        with scratch.folder(self._layout.tmp, name, prefix) as path:
            yield path

    def gc(self, *, keep_days: float) -> int:
        """Remove objects unused for `keep_days` days that no living process uses; how many.

        Failed logs and quarantined objects of that age go too. Raises StoreError.
        """
        self._prepare()
        with explained("collect garbage", self.root):
            return gc.collect(self._layout, keep_days)

    def _prepare(self) -> None:
        with self._ready_lock:
            if not self._ready:
                with explained("make the store", self.root):
                    self._layout.prepare()
                scratch.sweep(self._layout.tmp)
                self._ready = True

    def _look(self, key: str) -> Entry | None:
        folder = self._layout.object(key)
        found = look(folder, key)
        if found is None:
            return None
        # A lease that can't be renewed only makes the object look older than it is.
        with contextlib.suppress(OSError):
            os.utime(folder / "used")
        return found[0]

    def _look_or_move_aside(self, key: str) -> Entry | None:
        """With the key's lock held."""
        try:
            return self._look(key)
        except DamageFound as problem:
            aside = self._move_aside(key)
            _log.warning("a stored object was damaged and is made anew: %s (now at %s)", problem, aside)
            return None

    def _move_aside(self, key: str) -> Path:
        aside = self._layout.quarantine / f"{key}-{time.time_ns()}"
        with contextlib.suppress(FileNotFoundError):
            self._layout.object(key).rename(aside)
        return aside

    def _explain_full_disk(self, problem: BaseException) -> BaseException:
        if isinstance(problem, OSError) and is_out_of_room(problem):
            return explain(problem, "do the step", self.root)
        return problem

    def _keep_log(self, key: str, path: Path) -> Path | None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        kept = self._layout.failed / f"{stamp}-{key[:12]}-{os.getpid()}.log"
        # Where the disk is full the log is lost, and the first error must be seen all the same.
        with contextlib.suppress(OSError):
            if path.stat().st_size and not path.is_symlink():
                shutil.move(path, kept)
                return kept
        return None


def _solid(data: bytes) -> Iterator[str]:
    """What can be synced by name. Lazy: a large tree is synced as a whole, and its manifest not read."""
    for record in decode(data):
        if record.kind in ("file", "folder"):
            yield f"out/{to_os(record.path)}"
    yield from ("log", ".")


def _name_log(problem: BaseException, kept: Path | None, work: Path) -> None:
    if isinstance(problem, PortableError):
        if problem.log is None or problem.log.is_relative_to(work):
            problem.log = kept
    elif kept:
        problem.add_note(f"log: {kept}")


def _damaged(key: str, folder: Path, how: str) -> DamagedError:
    what = f"the stored output of step {key[:12]} is damaged: {how}"
    return DamagedError(what, where=str(folder), hint=_AGAIN)


__all__ = ["DamagedError", "Entry", "Store", "StoreError"]
