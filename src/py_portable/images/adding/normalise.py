"""The root that a package manager left, as an archive: without the traces of the machine and the moment.

The archive was written inside the image, by the image's own tar, so nothing in it is trusted: what comes out has
every name once, below a folder that came before it, and holds no devices.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from py_portable.errors import StepError

KEPT = (
    *("proc", "sys", "dev", "tmp", "out", "kit", "run/py-portable"),
    *("etc/resolv.conf", "etc/hosts", "etc/hostname"),
    *("etc/apt/sources.list", "etc/apt/sources.list.d", "etc/apt/auth.conf", "etc/apt/auth.conf.d"),
    *("etc/dnf/dnf.conf", "etc/yum.conf"),
)
"""What engines mount over, and what the script changes for the time it runs: afterwards as in the base."""

FIXED: Mapping[str, bytes] = {
    "etc/hostname": b"cell\n",
    "etc/hosts": b"127.0.0.1\tlocalhost cell\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "etc/resolv.conf": b"# The resolver is the business of what starts this root.\n",
}
"""What these hold where the base has nothing in them: as in a bootstrapped root."""

_DROPPED = re.compile(
    r"var/lib/apt/lists/.+|var/cache/apt/(?:archives/.+|[^/]+\.bin)|var/cache/(?:dnf|yum|libdnf5|zypp|apk)/.+"
    r"|var/lib/dpkg/[^/]+-old|var/cache/debconf/[^/]+-old|var/cache/ldconfig/aux-cache"
    r"|etc/(?:\.pwd\.lock|passwd-|group-|shadow-|gshadow-|subuid-|subgid-)|var/lib/dbus/machine-id"
    r"|root/(?:\.cache|\.wget-hsts|\.bash_history)(?:/.*)?"
)
_DROPPED_IF_NEW = re.compile(r"run(?:/.*)?|var/tmp/.+|(?:.*/)?__pycache__(?:/.*)?|\.dockerenv|etc/mtab")
_EMPTIED = re.compile(r"var/log/.+|etc/machine-id")
_XATTRS = ("SCHILY.xattr.security.capability", "SCHILY.xattr.user.")
_MAX_MEMBERS = 2_000_000
_MAX_BYTES = 64 << 30


@dataclass(frozen=True)
class Moment:
    """`started`: when the work began, in seconds; what is newer gets the time `epoch`."""

    started: int
    epoch: int


@dataclass
class _State:
    kinds: dict[str, bytes] = field(default_factory=dict)
    """Every name that was written, and its type."""
    standing_in: dict[str, str] = field(default_factory=dict)
    """For a file that was dropped: the hard link that was written in its place."""
    size: int = 0


def settle(
    source: Path,
    kept: Path,
    target: Path,
    *,
    moment: Moment,
    in_base: Callable[[str], bool],
    mounted: Collection[str] = KEPT,
) -> None:
    """Write `target` from the archive `source`, and what is `mounted` from the archive `kept` of the base.

    `in_base` says whether the base has a name. Raises StepError where `source` is not what tar writes.
    """
    try:
        with (
            tarfile.open(source, "r:", encoding="utf-8") as changed,
            tarfile.open(kept, "r:", encoding="utf-8") as base,
            tarfile.open(target, "w:", format=tarfile.PAX_FORMAT, encoding="utf-8") as out,
        ):
            state = _State()
            for member in base:
                if _name(member) == "":
                    _write(out, state, _plain(member, ""), None)
            for member in changed:
                _take(changed, member, out, state, moment, in_base, mounted)
            _restore(base, out, state, moment)
    except (tarfile.TarError, UnicodeError, EOFError) as problem:
        raise StepError(f"what the image's tar wrote cannot be read: {problem}") from problem


def _take(
    source: tarfile.TarFile,
    member: tarfile.TarInfo,
    out: tarfile.TarFile,
    state: _State,
    moment: Moment,
    in_base: Callable[[str], bool],
    mounted: Collection[str],
) -> None:
    name = _name(member)
    if name in ("", ".") or _covers(mounted, name) or not (member.isreg() or member.isdir() or _link(member)):
        return
    new = member.mtime >= moment.started
    if _DROPPED.fullmatch(name) or (new and _DROPPED_IF_NEW.fullmatch(name) and not in_base(name)):
        return
    if name in state.kinds:
        raise StepError(f"the image's tar wrote {name} twice")
    parent = str(PurePosixPath(name).parent)
    if parent != "." and state.kinds.get(parent) != tarfile.DIRTYPE:
        if parent in state.kinds:
            raise StepError(f"the image's tar wrote {name} below something that is not a folder")
        return  # the folder was left out
    info = _plain(member, name)
    info.mtime = moment.epoch if new else info.mtime
    data: IO[bytes] | None = None
    if member.islnk():
        wanted = _clean(member.linkname)
        known = state.standing_in.get(wanted, wanted)
        if state.kinds.get(known) == tarfile.REGTYPE:
            info.linkname = f"./{known}"
        else:
            # The name under which the file came first was left out: this one stands for it.
            original = _find(source, wanted)
            info.type, info.linkname, info.size = tarfile.REGTYPE, "", original.size
            data = source.extractfile(original)
            state.standing_in[wanted] = name
    elif member.isreg():
        if member.issparse():
            raise StepError(f"the image's tar wrote {name} as a sparse file")
        if _EMPTIED.fullmatch(name):
            info.size = 0
        else:
            data = source.extractfile(member)
    _write(out, state, info, data)


def _restore(base: tarfile.TarFile, out: tarfile.TarFile, state: _State, moment: Moment) -> None:
    filled: set[str] = set()
    for member in base:
        name = _name(member)
        if name == "" or not (member.isreg() or member.isdir() or member.issym()):
            continue
        if name in FIXED and member.isreg() and not member.size:
            continue
        parent = str(PurePosixPath(name).parent)
        if parent != "." and state.kinds.get(parent) != tarfile.DIRTYPE:
            continue
        filled.add(name)
        _write(out, state, _plain(member, name), base.extractfile(member) if member.isreg() else None)
    for name, text in FIXED.items():
        if name not in filled and state.kinds.get("etc") == tarfile.DIRTYPE:
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mode, info.mtime = len(text), 0o644, moment.epoch
            _write(out, state, info, io.BytesIO(text))


def _write(out: tarfile.TarFile, state: _State, info: tarfile.TarInfo, data: IO[bytes] | None) -> None:
    state.kinds[_clean(info.name)] = info.type
    state.size += info.size
    if len(state.kinds) > _MAX_MEMBERS or state.size > _MAX_BYTES:
        raise StepError(f"the root is larger than {_MAX_BYTES >> 30} GiB or {_MAX_MEMBERS} files")
    out.addfile(info, data)


def _plain(member: tarfile.TarInfo, name: str) -> tarfile.TarInfo:
    """The member with what is kept of it: mode, ids, whole seconds, capabilities and user attributes."""
    info = tarfile.TarInfo(f"./{name}" if name else ".")
    info.type = tarfile.REGTYPE if member.isreg() else member.type
    info.mode, info.uid, info.gid = member.mode & 0o7777, member.uid, member.gid
    info.size = member.size if member.isreg() else 0
    info.mtime = int(member.mtime)
    info.linkname = member.linkname if member.issym() else ""
    info.pax_headers = {key: value for key, value in member.pax_headers.items() if key.startswith(_XATTRS)}
    return info


def _name(member: tarfile.TarInfo) -> str:
    return _clean(member.name)


def _clean(name: str) -> str:
    """`a/b` from `./a/b`, "" for the root itself. Raises StepError for a name that leads elsewhere."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise StepError(f"the image's tar wrote a name that leads out of the root: {name!r}")
    return "/".join(parts)


def _link(member: tarfile.TarInfo) -> bool:
    return member.issym() or member.islnk()


def _covers(mounted: Collection[str], name: str) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in mounted)


def _find(source: tarfile.TarFile, wanted: str) -> tarfile.TarInfo:
    for member in source.getmembers():
        if _name(member) == wanted and member.isreg():
            return member
    raise StepError(f"the image's tar wrote a hard link to {wanted}, which is not there")
