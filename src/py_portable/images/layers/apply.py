"""One layer onto a root: what each kind of entry becomes, whiteouts, and what is left out.

After layer.md of the OCI image-spec. Where that leaves a choice: whiteouts hide what lower layers made and
never what their own layer holds; a hard link takes nothing from its own header; device nodes below dev/ are
left out, since engines bring their own /dev, and refused elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from py_portable.engines import beside
from py_portable.images.layers.bounds import Limits, Refused, shown
from py_portable.images.layers.root_tree import NO_FOLDER, Folder, Tree, join
from py_portable.images.layers.tar import Member, Reader

_WHITEOUT = b".wh."
_META = b".wh..wh."
_OPAQUE = b".wh..wh..opq"
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOTES = 20
_CAPABILITY = b"security.capability"
_NO_XATTR = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL)
_BAD_XATTR = (errno.E2BIG, errno.ERANGE, errno.ENOSPC)


class Unowned(Exception):
    """The ids of this process do not hold the owner that a file has in the image."""

    def __init__(self, uid: int, gid: int) -> None:
        super().__init__(uid, gid)
        self.uid = uid
        self.gid = gid


class At(Exception):
    """What is the cause of it, met at the entry `path`."""

    def __init__(self, path: bytes) -> None:
        super().__init__(path)
        self.path = path


@dataclass
class Tally:
    """What all layers came to so far, and what was left out (the first few in words)."""

    headers: int = 0
    file_bytes: int = 0
    left_out: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, path: bytes, what: str) -> None:
        self.left_out += 1
        if len(self.notes) < _NOTES:
            self.notes.append(f"{shown(path)}: {what}")


def apply(tree: Tree, reader: Reader, limits: Limits, tally: Tally) -> None:
    """Put a layer on what is there. Raises Refused, or At with an OSError or Unowned as its cause."""
    tree.begin()
    before = tally.headers
    for entry in reader.entries():
        tally.headers = before + reader.headers
        try:
            if tally.headers > limits.entries:
                raise Refused(f"the layers have more than {limits.entries} entries, which is the limit")
            _entry(tree, reader, entry, limits, tally)
        except Refused as problem:
            problem.path = problem.path or entry.name
            raise
        except (OSError, Unowned) as problem:
            raise At(entry.name) from problem
    tally.headers = before + reader.headers


def finish(tree: Tree, tally: Tally) -> None:
    """Give every folder what its layer says, the deepest first. Raises At."""
    for path in sorted(tree.folders, reverse=True):
        folder = tree.folders[path]
        try:
            try:
                fd = tree.fd(path)
            except OSError as problem:
                # A later layer put something else there, or nothing.
                if problem.errno == errno.ENOENT or problem.errno in NO_FOLDER:
                    continue
                raise
            _dress(tree, fd, path, folder, tally)
        except (OSError, Unowned) as problem:
            raise At(path) from problem


def _parts(name: bytes, limits: Limits) -> list[bytes]:
    """The folders and the last name; empty for the root. A leading / or ./ means nothing, as in every engine."""
    if not name:
        raise Refused("an entry has no name")
    if len(name) > limits.path_bytes:
        raise Refused(f"its name has {len(name)} bytes; the limit is {limits.path_bytes}")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise Refused("its name leads out by '..'")
    if len(parts) > limits.depth:
        raise Refused(f"it is more than {limits.depth} folders deep")
    return parts


def _entry(tree: Tree, reader: Reader, entry: Member, limits: Limits, tally: Tally) -> None:
    parts = _parts(entry.name, limits)
    if not parts:
        if entry.kind != "folder":
            raise Refused("it would take the place of the root")
        tree.folders[b""] = _folder(entry, tree.layer)
        return
    name = parts.pop()
    if _WHITEOUT in entry.name and _is_marker(tree, parts, name):
        return
    if entry.kind == "device":
        if (parts or [b""])[0] != b"dev":
            raise Refused("it is a device node outside dev/")
        tally.note(entry.name, "a device node, left out")
        return
    folder = tree.resolve(b"/".join(parts), make=True)
    assert folder is not None
    match entry.kind:
        case "file":
            tally.file_bytes += entry.size
            if entry.size > limits.file_bytes:
                raise Refused(f"the file has {entry.size} bytes; the limit is {limits.file_bytes}")
            if tally.file_bytes > limits.total_bytes:
                raise Refused(f"the layers hold more than {limits.total_bytes} bytes, which is the limit")
            fd = tree.put(folder, name, lambda fd: os.open(name, _FILE, 0o600, dir_fd=fd))
            try:
                _write(fd, entry, reader.data())
                _dress(tree, fd, join(folder, name), entry, tally)
            finally:
                os.close(fd)
        case "folder":
            tree.make_folder(folder, name)
            tree.folders[join(folder, name)] = _folder(entry, tree.layer)
        case "link":
            _link(tree, folder, name, entry, limits)
        case "symlink":
            if not entry.target:
                raise Refused("it is a symbolic link without a target")
            tree.put(folder, name, lambda fd: os.symlink(entry.target, name, dir_fd=fd))
            _dress_name(tree, tree.fd(folder), join(folder, name), entry, tally)
        case "fifo":
            tree.put(folder, name, lambda fd: os.mkfifo(name, 0o600, dir_fd=fd))
            _dress_name(tree, tree.fd(folder), join(folder, name), entry, tally)


def _is_marker(tree: Tree, parts: list[bytes], name: bytes) -> bool:
    """Whether the entry is a whiteout (done then) or one of the marks that AUFS left in old images."""
    if any(part.startswith(_META) for part in (*parts, name)) and name != _OPAQUE:
        return True
    if any(part.startswith(_WHITEOUT) for part in parts):
        raise Refused("a whiteout must be empty")
    if not name.startswith(_WHITEOUT):
        return False
    hidden = name[len(_WHITEOUT) :]
    if hidden in (b"", b".", b".."):
        raise Refused("it is a whiteout without a name")
    folder = tree.resolve(b"/".join(parts), make=False)
    if folder is None:
        return True
    if name == _OPAQUE:
        tree.hide_all(folder)
    else:
        tree.hide(folder, hidden)
    return True


def _link(tree: Tree, folder: bytes, name: bytes, entry: Member, limits: Limits) -> None:
    """A hard link, also to what a lower layer made; the target's last name is never followed."""
    gone = Refused(f"it is a hard link to {shown(entry.target)}, which is not there")
    parts = _parts(entry.target, limits) if entry.target else []
    if not parts:
        raise Refused("it is a hard link to something that is not a file")
    last = parts.pop()
    inside = tree.resolve(b"/".join(parts), make=False)
    if inside is None:
        raise gone
    path = join(folder, name)
    try:
        if stat.S_ISDIR(os.stat(last, dir_fd=tree.fd(inside), follow_symlinks=False).st_mode):
            raise Refused(f"it is a hard link to {shown(entry.target)}, which is a folder")
        if join(inside, last) == path:
            # GNU tar writes this of a file that it was given twice.
            tree.claim(path)
            return
        tree.put(
            folder,
            name,
            lambda fd: os.link(last, name, src_dir_fd=tree.fd(inside), dst_dir_fd=fd, follow_symlinks=False),
        )
        if tree.owners is not None:
            tree.owners[path] = tree.owners[join(inside, last)]
    except FileNotFoundError:
        # Clearing away what stood in its place may have taken the target along.
        raise gone


def _write(fd: int, entry: Member, data: Iterable[memoryview]) -> None:
    if entry.holes is None:
        for piece in data:
            _write_all(fd, piece)
        return
    runs = iter(entry.holes)
    left = 0
    for piece in data:
        while piece:
            if not left:
                offset, left = next(runs)
                os.lseek(fd, offset, os.SEEK_SET)
            _write_all(fd, piece[:left])
            done = min(left, len(piece))
            piece, left = piece[done:], left - done
    os.ftruncate(fd, entry.size)


def _write_all(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


def _folder(entry: Member, layer: int) -> Folder:
    return Folder(entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.xattrs, layer)


def _dress(tree: Tree, fd: int, path: bytes, given: Member | Folder, tally: Tally) -> None:
    """Owner, mode, attributes and time of what is open. The owner first: it takes set-uid bits and capabilities."""
    mode = given.mode
    if tree.owners is not None:
        _keep(tree.owners, path, given)
        mode = beside.on_disk(mode, folder=isinstance(given, Folder))
    elif tree.give:
        try:
            os.fchown(fd, given.uid, given.gid)
        except OSError as problem:
            raise _unowned(problem, given) from problem
    os.fchmod(fd, mode)
    if given.xattrs:
        _xattrs(fd, fd, path, given, tally, capabilities=tree.owners is None)
    os.utime(fd, ns=(given.mtime_ns, given.mtime_ns))


def _dress_name(tree: Tree, folder: int, path: bytes, entry: Member, tally: Tally) -> None:
    """The same for what cannot be opened: a link, a FIFO."""
    name = path.rpartition(b"/")[2]
    mode = entry.mode
    if tree.owners is not None:
        _keep(tree.owners, path, entry)
        mode = beside.on_disk(mode, folder=False)
    elif tree.give:
        try:
            os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        except OSError as problem:
            raise _unowned(problem, entry) from problem
    if entry.kind == "fifo":
        os.chmod(name, mode, dir_fd=folder)
    if entry.xattrs:
        where = b"/proc/self/fd/%d/%b" % (folder, name)
        _xattrs(where, folder, path, entry, tally, capabilities=tree.owners is None)
    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)


def _keep(owners: dict[bytes, beside.Owned], path: bytes, given: Member | Folder) -> None:
    held = dict(given.xattrs).get(_CAPABILITY, b"")
    owners[path] = beside.Owned(given.uid, given.gid, given.mode, held.hex())


def _unowned(problem: OSError, given: Member | Folder) -> Exception:
    return Unowned(given.uid, given.gid) if problem.errno in (errno.EPERM, errno.EINVAL) else problem


def _xattrs(
    where: int | bytes, near: int, path: bytes, given: Member | Folder, tally: Tally, *, capabilities: bool
) -> None:
    for name, value in given.xattrs:
        if name == _CAPABILITY and not capabilities:
            continue
        # Others belong to the host (security.selinux) or would change how an overlay reads the root.
        if name != _CAPABILITY and (not name.startswith(b"user.") or name.startswith(b"user.overlay.")):
            tally.note(path, f"the attribute {shown(name)}, left out")
            continue
        try:
            os.setxattr(where, name, value, follow_symlinks=isinstance(where, int))
        except (OSError, ValueError) as problem:
            code = problem.errno if isinstance(problem, OSError) else errno.EINVAL
            if code in _NO_XATTR:
                tally.note(path, f"the attribute {shown(name)}: {problem}")
            # File systems say 'no space' of attributes that do not fit a file, too.
            elif code in _BAD_XATTR and os.statvfs(near).f_bavail:
                raise Refused(
                    f"its attribute {shown(name)} is too large for this file system", path
                ) from problem
            else:
                raise
