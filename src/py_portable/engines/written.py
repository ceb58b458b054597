"""What a job wrote in its root, kept as a layer: for the engines that set the root up themselves (stage.sh).

A layer's folder holds a folder in the form that overlayfs has for one (a removed file is a device 0/0, a replaced
folder is marked). stage.sh leaves an archive of what was written; here it is made the layer, with the owners that
files have inside, whoever root of the job was outside.
"""

from __future__ import annotations

import os
import struct
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from py_portable.base import process
from py_portable.engines import ids
from py_portable.engines.engine import Node
from py_portable.errors import MachineError

SECONDS = 300.0
_OWN = ("proc", "dev", "tmp")
"""What stage.sh puts into every root."""
_PAX = "SCHILY.xattr."
_CAPABILITY = f"{_PAX}security.capability"
_KEPT = (
    f"{_PAX}user.",
    _CAPABILITY,
    *(f"{_PAX}trusted.overlay.{name}" for name in ("opaque", "redirect", "metacopy")),
)
_REVISION_2, _REVISION_3 = 0x02000000, 0x03000000
_REVISION = 0xFF000000
_TAR = ("--numeric-owner", "--xattrs", "--xattrs-include=*")


def root(layer: Path) -> Path:
    """The folder that overlayfs gets."""
    return layer.absolute() / "root"


def archive(layer: Path) -> Path:
    """Where stage.sh leaves what was written."""
    return layer.absolute() / "written.tar"


def settle(layer: Path, shown: Iterable[str]) -> None:
    """Make the layer of what stage.sh left. `shown`: where the job's binds were, whose mount points are none of what
    was written. Raises MachineError where nothing was left, or where there is no room for it."""
    left, settled = archive(layer), layer / "settled.tar"
    if not left.is_file():
        raise MachineError(
            "what was written in the root could not be packed",
            hint="the store's disk needs room for it, and the machine the program tar of GNU",
        )
    first, count = (int(word) for word in left.with_name(f"{left.name}.ids").read_text().split())
    dropped = {name.strip("/") for name in (*_OWN, *shown)}
    try:
        with tarfile.open(left, "r:") as source, tarfile.open(settled, "w", format=tarfile.PAX_FORMAT) as out:
            for member in source:
                if _is_kept(member, dropped):
                    out.addfile(
                        _inside(member, first, count), source.extractfile(member) if member.isreg() else None
                    )
        left.unlink()
        root(layer).mkdir(mode=0o755)
        process.check(
            [
                *(*ids.prefix(), "tar", *_TAR, "--preserve-permissions", "--delay-directory-restore"),
                *("--extract", f"--file={settled.absolute()}", f"--directory={root(layer)}"),
            ],
            what="unpacking what was written in a root",
            timeout=SECONDS,
            error=MachineError,
        )
        settled.unlink()
    except (OSError, tarfile.TarError) as problem:
        raise MachineError(f"what was written in the root cannot be kept: {problem}") from problem


_Kind = Literal["file", "folder", "link", "other"]
_KINDS: Mapping[str, _Kind] = {"f": "file", "d": "folder", "l": "link"}


def nodes(listed: bytes) -> Mapping[str, Node]:
    """What `find` printed (stage.listing): eight fields of each file, each ended by a zero byte."""
    words = [os.fsdecode(word) for word in listed.split(b"\0")]
    found = {}
    for name, letter, mode, uid, gid, size, changed, link in zip(*(iter(words),) * 8, strict=False):
        kind: _Kind = _KINDS.get(letter, "other")
        is_file = kind == "file"
        second = 0 if kind == "folder" else int(changed.partition(".")[0])
        found[name] = Node(kind, int(mode, 8), int(uid), int(gid), int(size) if is_file else 0, second, link)
    return found


def _is_kept(member: tarfile.TarInfo, dropped: set[str]) -> bool:
    name = member.name.removeprefix("./")
    if any(name == one or name.startswith(f"{one}/") for one in dropped):
        return False
    if member.isdev() and not member.isfifo():
        # Nobody inside can make a device. This one is how overlayfs says that a file is gone.
        return member.ischr() and (member.devmajor, member.devminor) == (0, 0)
    return True


def _inside(member: tarfile.TarInfo, first: int, count: int) -> tarfile.TarInfo:
    """The member with the owner and the attributes that it has to the job: root's ids are `first` and up outside."""

    def id_of(outside: int) -> int:
        return outside - first if first <= outside < first + count else outside

    member.uid, member.gid = id_of(member.uid), id_of(member.gid)
    member.uname = member.gname = ""
    headers = {key: value for key, value in member.pax_headers.items() if key.startswith(_KEPT)}
    if _CAPABILITY in headers:
        value = headers[_CAPABILITY].encode("utf-8", "surrogateescape")
        headers[_CAPABILITY] = _of_everybody(value).decode("utf-8", "surrogateescape")
    member.pax_headers = headers
    return member


def _of_everybody(capability: bytes) -> bytes:
    """The capabilities of a file as root of the machine gives them: revision 3 adds whose root they were given by
    (struct vfs_ns_cap_data of linux/capability.h)."""
    if len(capability) != 24:
        return capability
    (magic,) = struct.unpack_from("<I", capability)
    if magic & _REVISION != _REVISION_3:
        return capability
    return struct.pack("<I", magic & ~_REVISION | _REVISION_2) + capability[4:20]
