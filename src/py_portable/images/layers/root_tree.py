"""A root file system while layers are put into it: folders by descriptor, and nothing outside ever touched.

Every step opens one name below a folder that is already open and never follows a link; what links mean is
worked out here, with the root as `/`, as containerd's `fs.RootPath` and a container itself would. Paths are
bytes, relative, without links: what `resolve` gave.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from py_portable.engines.beside import Owned
from py_portable.images.layers.bounds import Limits, Refused, shown

T = TypeVar("T")

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NO_FOLDER = (errno.ENOTDIR, errno.ELOOP)
"""What opening anything but a folder as one ends in."""
_KEPT = 200
"""Descriptors of folders; more than the depth of a tree, less than what a process may have."""
_LINKS = 40
"""Followed in one path, as in the kernel."""


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder is given at the very end, when nothing below it changes any more.

    The defaults are for one that no layer speaks of. `layer` is the number of the one that did.
    """

    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    layer: int = -1


def join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


class Tree:
    """`fresh` holds what the current layer made, and every folder above that: its whiteouts leave those alone.

    `owners`: where the caller cannot give files away, who they belong to is put there instead (engines/beside.py).
    Without `give` they are not given away either.
    """

    def __init__(
        self, root: int, limits: Limits, owners: dict[bytes, Owned] | None = None, *, give: bool = True
    ) -> None:
        self.owners = owners
        self.give = give and owners is None
        self._root = root
        self._limits = limits
        self._fds: dict[bytes, int] = {}
        self._resolved: dict[bytes, bytes] = {}
        self.layer = -1
        self.fresh: set[bytes] = set()
        self.folders: dict[bytes, Folder] = {b"": Folder()}

    def begin(self) -> None:
        """The next layer comes."""
        self.layer += 1
        self.fresh = set()

    def claim(self, path: bytes) -> None:
        """Note that the current layer made this."""
        while path not in self.fresh:
            self.fresh.add(path)
            path = path.rpartition(b"/")[0]

    def fd(self, folder: bytes) -> int:
        """An open folder, good until the next change of the tree. Raises OSError."""
        if not folder:
            return self._root
        found = self._fds.pop(folder, None)
        if found is None:
            above, _, name = folder.rpartition(b"/")
            found = os.open(name, FOLDER, dir_fd=self.fd(above))
            if len(self._fds) >= _KEPT:
                os.close(self._fds.pop(next(iter(self._fds))))
        # The last in the dict is the last used.
        self._fds[folder] = found
        return found

    def forget(self) -> None:
        """Close every folder: some of them may be gone, or links may lead elsewhere now."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
        self._resolved.clear()

    def resolve(self, path: bytes, *, make: bool) -> bytes | None:
        """Where a folder of an archive really is; None where it is not there and may not be made.

        Missing folders are made, and so is the one that a link without a target names; a file in the way gives
        way, as one of a lower layer does in an overlay. Raises Refused, OSError.
        """
        if not path:
            return b""
        found = self._resolved.get(path)
        if found is None:
            above, _, name = path.rpartition(b"/")
            inside = self.resolve(above, make=make)
            found = None if inside is None else self._enter(inside, name, make, [_LINKS])
            if found is not None:
                self._resolved[path] = found
        return found

    def _enter(self, folder: bytes, name: bytes, make: bool, links: list[int]) -> bytes | None:
        here = join(folder, name)
        try:
            self.fd(here)
            return here
        except FileNotFoundError:
            if make:
                self.make_folder(folder, name)
            return here if make else None
        except OSError as problem:
            if problem.errno not in NO_FOLDER:
                raise
        try:
            target = os.readlink(name, dir_fd=self.fd(folder))
        except OSError as problem:
            if problem.errno != errno.EINVAL:
                raise
            if not make:
                return None
            if links[0] < _LINKS:
                raise Refused(f"a link on its path leads to {shown(here)}, which is not a folder")
            self.make_folder(folder, name)
            return here
        links[0] -= 1
        if links[0] < 0:
            raise Refused("links on its path form a circle")
        return self._follow(b"" if target.startswith(b"/") else folder, target, make, links)

    def _follow(self, at: bytes, target: bytes, make: bool, links: list[int]) -> bytes | None:
        for part in target.split(b"/"):
            if part in (b"", b"."):
                continue
            if part == b"..":
                at = at.rpartition(b"/")[0]
                continue
            inside = self._enter(at, part, make, links)
            if inside is None:
                return None
            at = inside
        return at

    def check(self, path: bytes) -> None:
        """Raises Refused for a path that is too long or too deep in the root (links may have made it so)."""
        if len(path) > self._limits.path_bytes:
            raise Refused(f"its path has {len(path)} bytes; the limit is {self._limits.path_bytes}")
        if path.count(b"/") >= self._limits.depth:
            raise Refused(f"it is more than {self._limits.depth} folders deep")

    def put(self, folder: bytes, name: bytes, make: Callable[[int], T]) -> T:
        """Call `make` with the open folder; where it finds the name taken, clear that away and call it again."""
        path = join(folder, name)
        self.check(path)
        try:
            made = make(self.fd(folder))
        except FileExistsError:
            self.remove(folder, name)
            made = make(self.fd(folder))
        self.claim(path)
        return made

    def make_folder(self, folder: bytes, name: bytes) -> None:
        """A new folder in place of whatever else is there; what is a folder already keeps what it holds."""
        path = join(folder, name)
        self.check(path)
        try:
            os.mkdir(name, 0o700, dir_fd=self.fd(folder))
        except FileExistsError:
            try:
                self.fd(path)
                self.claim(path)
                return
            except OSError as problem:
                if problem.errno not in NO_FOLDER:
                    raise
            self.remove(folder, name)
            os.mkdir(name, 0o700, dir_fd=self.fd(folder))
        self.folders[path] = Folder()
        self.claim(path)

    def remove(self, folder: bytes, name: bytes, keep: Collection[bytes] = ()) -> None:
        """Remove the name and all below it, but nothing in `keep`. Raises OSError, FileNotFoundError too."""
        path = join(folder, name)
        fd = self.fd(folder)
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        if not stat.S_ISDIR(mode):
            if path not in keep:
                os.unlink(name, dir_fd=fd)
                if stat.S_ISLNK(mode):
                    self.forget()
            return
        try:
            self._empty_below(fd, name, path, keep)
        finally:
            self.forget()

    def hide(self, folder: bytes, name: bytes) -> None:
        """What a whiteout asks for: the name goes, as far as lower layers made it."""
        with contextlib.suppress(FileNotFoundError):
            self.remove(folder, name, self.fresh)

    def hide_all(self, folder: bytes) -> None:
        """What an opaque whiteout asks for: all that lower layers put into the folder goes."""
        try:
            self._empty(self.fd(folder), folder, self.fresh)
        finally:
            self.forget()

    def _empty(self, fd: int, folder: bytes, keep: Collection[bytes]) -> None:
        with os.scandir(fd) as found:
            names = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in found]
        for name, is_folder in names:
            path = join(folder, name)
            if is_folder:
                self._empty_below(fd, name, path, keep)
            elif path not in keep:
                os.unlink(name, dir_fd=fd)

    def _empty_below(self, fd: int, name: bytes, path: bytes, keep: Collection[bytes]) -> None:
        below = os.open(name, FOLDER, dir_fd=fd)
        try:
            self._empty(below, path, keep)
        finally:
            os.close(below)
        if path not in keep:
            os.rmdir(name, dir_fd=fd)
        elif self.folders[path].layer != self.layer:
            # The layer has something in it and says nothing of the folder: what it was before is hidden too.
            self.folders[path] = Folder()
