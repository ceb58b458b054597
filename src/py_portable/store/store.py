"""The content-addressed store of steps' outputs."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from py_portable.store import audit, gc, laid, logs, scratch, whole
from py_portable.store.disk import make_folder, sync_path, sync_tree, write_durably
from py_portable.store.entry import (
    DamageFound,
    Entry,
    Examined,
    Header,
    look,
    read_manifest,
    title_of,
    write_header,
)
from py_portable.store.faults import DamagedError, StoreError, explained
from py_portable.store.layout import StoreLayout, check_key, check_name
from py_portable.store.locks import lock, owner_note, process_leases, try_lock
from py_portable.store.manifest import decode, digest_of, to_os
from py_portable.store.ranged import hash_tree, remove_tree
from py_portable.store.restore import Part, choose, copy_out

_log = logging.getLogger(__name__)
_AGAIN = "run the same command again, which makes it again"
_KEPT = ("out", "log")


class Store:
    """Outputs of steps, each under its key, shared by the runs, processes and threads of one user."""

    def __init__(self, root: Path) -> None:
        """`root` is made (mode 0700) when something is put in. Raises StoreError if it is someone else's."""
        self.root = Path(os.path.realpath(root))
        self._layout = StoreLayout(self.root)
        self._ready = False
        self._whole: dict[str, int] = {}
        """The inodes of the trees that this run has looked at, by key."""
        self._ready_lock = threading.Lock()
        with explained("look at the store", self.root):
            self._layout.check()

    def get(self, key: str, *, tree: bool = True) -> Entry | None:
        """The finished object of `key`, or None. Its tree is checked once in a run. If anything in it has changed since
        it was last known to be whole, or it came from another machine, all of it is hashed.

        `tree` False: for a caller who reads what is recorded about the object, and none of its files. A damaged object
        is moved aside and counts as missing. Raises StoreError.
        """
        folder = self._layout.object(check_key(key))
        with explained("read from the store", self.root):
            if not folder.exists():
                return None
            process_leases(self._layout.leases).take(key)
            found = None
            with contextlib.suppress(DamageFound):
                found = look(folder, key)
                if found and (not tree or self._is_sealed(*found)):
                    return self._used(found[0])
            held = try_lock(self._layout.lock(key), owner_note(what=f"looking at {key[:12]}"))
            if held is None:
                # The holder of the lock makes it, or hashes it, too. Both may take long, so nobody waits here.
                return self._used(found[0]) if found and self._is_whole(*found) else None
            try:
                return self._look_or_move_aside(key)
            finally:
                held.release()

    def make(
        self,
        key: str,
        build: Callable[[Path], Mapping[str, object]],
        *,
        prefix: tuple[str, ...] = (),
        title: str = "",
    ) -> Entry:
        """The object of `key`; if there is none, `build(work)` makes it.

        `build` fills `work/out` (an empty folder, mode 0755), may write `work/log`, and returns what is to be
        known about the output, as JSON; anything else in `work` is thrown away. `prefix` is a command prefix
        under which a tree of foreign ids can be read and removed. `title` is what people call it. One process
        builds, others wait for it.
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
            return found or self._build(key, build, prefix, title)
        finally:
            held.release()

    def _build(
        self, key: str, build: Callable[[Path], Mapping[str, object]], prefix: tuple[str, ...], title: str
    ) -> Entry:
        with scratch.folder(self._layout.tmp, key[:12], prefix) as room:
            work = room / "work"
            try:
                with explained("make a work folder", self.root):
                    work.mkdir(0o755)
                    (work / "out").mkdir()
                    (work / "out").chmod(0o755)
                meta = build(work)
                self._finish(key, work, meta, prefix, title)
            except BaseException as problem:
                shown = logs.explain_full_disk(problem, self.root)
                logs.name_log(shown, logs.keep_log(self._layout.failed, key, work / "log"), work)
                if shown is problem:
                    raise
                raise shown from problem
        with explained("read back what was just stored", self.root):
            made = look(self._layout.object(key), key)
        assert made is not None
        self._whole[key] = made[0].path.stat().st_ino
        return made[0]

    def _finish(
        self, key: str, work: Path, meta: Mapping[str, object], prefix: tuple[str, ...], title: str
    ) -> None:
        """Seal the work folder and give it its place: everything is on the disk before the one rename."""
        with explained("keep the output of a step", self.root):
            for path in work.iterdir():
                if path.name not in _KEPT:
                    remove_tree(path, prefix)
            (work / "log").touch()
            data, state = whole.take(work / "out", prefix)
            digest = digest_of(data)
            write_durably(work / "manifest", data)
            write_durably(work / "entry.json", write_header(Header(key, digest, prefix, meta, title)))
            whole.write_seal(work, digest, state)
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
                    raise DamageFound("it was removed or replaced")
                whole.compare(entry, hash_tree(entry.path, found[1].prefix))
        except DamageFound as problem:
            raise _damaged(entry, str(problem)) from problem

    def examine(self, key: str, *, wait: bool = True) -> Examined:
        """Hash the whole object of `key` now. One that is damaged is moved aside, so that `make` makes it again.

        `wait` False: one that another process makes or looks at is left alone. Raises StoreError.
        """
        self._prepare()
        with explained("read from the store", self.root):
            process_leases(self._layout.leases).take(check_key(key))
            self._whole.pop(key, None)
            return audit.examine(self._layout, key, wait=wait)

    def require(self, *keys: str | None) -> None:
        """Hash these objects now. Raises DamagedError for one that has changed; it was moved aside."""
        for found in [self.examine(key) for key in keys if key]:
            if found.state == "damaged":
                raise DamagedError(found.told(), where=str(self.root), hint=_AGAIN)

    def key_of(self, path: Path) -> str | None:
        """The key of the object that a path lies in; None for what lies elsewhere."""
        try:
            parts = path.absolute().relative_to(self._layout.objects).parts
        except ValueError:
            return None
        return parts[1] if len(parts) > 2 and parts[2] == "out" and ".." not in parts else None

    def part(self, entry: Entry, relative: str) -> Part:
        """What `restore` would copy out, and what was recorded about it. Raises StoreError, DamagedError."""
        try:
            with explained("read from the store", self.root):
                chosen = choose(decode(read_manifest(entry.path.parent, entry.digest)), relative)
        except DamageFound as problem:
            self.set_aside(entry.key, str(problem))
            raise _damaged(entry, str(problem)) from problem
        return Part(entry.path / relative, tuple(chosen))

    def is_at(self, part: Part, place: Path) -> bool:
        """Whether it lies there as it was made, see `Part.is_at`. Raises StoreError."""
        return laid.is_at(part, place, self.cache("laid"))

    def restore(self, entry: Entry, relative: str, destination: Path) -> None:
        """Copy a file or folder of the output to `destination`, replacing what is there in one step.

        The copy belongs to the caller, has the recorded modes and is checked byte by byte. Links inside a
        folder are copied as they are. Raises StoreError; DamagedError if the object is not what was stored:
        it is then moved aside, so that `make` builds it again.
        """
        destination = destination.absolute()
        try:
            with explained("read from the store", self.root):
                data = read_manifest(entry.path.parent, entry.digest)
            chosen = choose(decode(data), relative)
            with explained("copy out of the store", destination):
                copy_out(entry.path, relative, chosen, destination)
        except DamageFound as problem:
            self.set_aside(entry.key, str(problem))
            raise _damaged(entry, str(problem)) from problem

    def set_aside(self, key: str, why: str = "it cannot be trusted") -> None:
        """Move an object that is not to be trusted to `quarantine/`. No error if it is gone."""
        self._prepare()
        with explained("move a damaged object aside", self.root):
            held = lock(self._layout.lock(check_key(key)), f"step {key[:12]}")
            try:
                self._move_aside(key, why)
            finally:
                held.release()

    def cache(self, name: str) -> Path:
        """A folder for a cache of some tool (ccache, uv): mutable, may vanish, never trusted for a result."""
        path = self._layout.cache(name)
        self._prepare()
        with explained("make a cache folder", self.root):
            make_folder(path)
            # The garbage collector goes by this time.
            os.utime(path)
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

    def _used(self, entry: Entry) -> Entry:
        # A lease that can't be renewed only makes the object look older than it is.
        with contextlib.suppress(OSError):
            os.utime(entry.path.parent / "used")
        return entry

    def _is_sealed(self, entry: Entry, header: Header) -> bool:
        inode = entry.path.stat().st_ino
        if self._whole.get(entry.key) == inode:
            return True
        if not whole.is_sealed(entry, header.prefix):
            return False
        self._whole[entry.key] = inode
        return True

    def _is_whole(self, entry: Entry, header: Header) -> bool:
        try:
            whole.confirm(entry, header.prefix)
        except DamageFound:
            return False
        return True

    def _look_or_move_aside(self, key: str) -> Entry | None:
        """With the key's lock held."""
        try:
            found = look(self._layout.object(key), key)
            if found and not self._is_sealed(*found):
                whole.confirm(found[0], found[1].prefix)
                self._whole[key] = found[0].path.stat().st_ino
        except DamageFound as problem:
            self._move_aside(key, str(problem))
            return None
        return self._used(found[0]) if found else None

    def _move_aside(self, key: str, why: str) -> None:
        """It stays there for a person to look at, until it is collected."""
        self._whole.pop(key, None)
        title = title_of(self._layout.object(key))
        aside = audit.move_aside(self._layout, key)
        if aside:
            _log.warning("%s; it is made again now", Examined(key, "damaged", title, why, aside).told())


def _solid(data: bytes) -> Iterator[str]:
    """What can be synced by name. Lazy: a large tree is synced as a whole, and its manifest not read."""
    for record in decode(data):
        if record.kind in ("file", "folder"):
            yield f"out/{to_os(record.path)}"
    yield from ("log", ".")


def _damaged(entry: Entry, how: str) -> DamagedError:
    return DamagedError(
        Examined(entry.key, "damaged", entry.title, how).told(), where=str(entry.path.parent), hint=_AGAIN
    )


__all__ = ["DamagedError", "Entry", "Store", "StoreError"]
