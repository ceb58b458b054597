"""What a .apk of apk-tools 2 is made of: one tar in two gzip members, first what it says of itself, then its files.

The format is described in Alpine's wiki, "Apk spec". Each file has the SHA-1 of its contents, a link that of its
target; the first member has the SHA-256 of the second one.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from py_portable.base.regular import open_regular
from py_portable.errors import ConfigError, StepError
from py_portable.formats.system_packages import gz

LEVEL = 6
_CHECKSUM = "APK-TOOLS.checksum.SHA1"
_ABOUT = ".PKGINFO"
_MOST_CONTROL = 16 << 20


@dataclass(frozen=True)
class Older:
    """`control`: a first member that says a lower release; the second one begins at the byte `at` of the package."""

    control: bytes
    at: int


class _Packed:
    """A gzip member that is written piece by piece, and its digest."""

    def __init__(self, to: BinaryIO) -> None:
        self._to, self._packer, self.sha256 = (
            to,
            zlib.compressobj(LEVEL, zlib.DEFLATED, gz.WINDOW),
            hashlib.sha256(),
        )

    def write(self, data: bytes) -> int:
        self._put(self._packer.compress(data))
        return len(data)

    def end(self) -> str:
        self._put(self._packer.flush())
        return self.sha256.hexdigest()

    def _put(self, packed: bytes) -> None:
        self.sha256.update(packed)
        self._to.write(packed)


def finish(plain: Path, out: Path, epoch: int) -> None:
    """Write `out`: the package `plain` of nfpm with the checksums of links, which nfpm takes from no bytes, and without
    the time at which it was made. The same bytes give the same bytes. Raises StepError for what is no package."""
    beside = out.with_name(f"{out.name}.data")
    try:
        with (
            gzip.open(plain) as both,
            tarfile.open(fileobj=both, mode="r|") as source,
            beside.open("xb") as data,
        ):
            packed = _Packed(data)
            control: list[tuple[str, bytes]] = []
            with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as files:  # type: ignore[call-overload]
                for member in source:
                    stream = source.extractfile(member) if member.isreg() else None
                    if member.name.startswith(".") and stream is not None:
                        control.append((member.name, stream.read()))
                    else:
                        files.addfile(*_named(member, stream, epoch))
            digest = packed.end()
    except (OSError, tarfile.TarError, zlib.error, EOFError) as problem:
        raise StepError(f"what nfpm wrote is no package of Alpine: {problem}") from problem
    if not control or control[0][0] != _ABOUT:
        raise StepError(f"what nfpm wrote is no package of Alpine: it has no {_ABOUT}")
    # More lines of a description are none of the format.
    lines = [
        line for line in control[0][1].decode().split("\n") if line and not line.startswith((" ", "datahash"))
    ]
    about = "\n".join([*lines, f"datahash = {digest}", ""])
    with out.open("xb") as to, beside.open("rb") as data:
        to.write(_control([(_ABOUT, about.encode()), *control[1:]], epoch))
        while piece := data.read(1 << 20):
            to.write(piece)
    beside.unlink()


def _named(
    member: tarfile.TarInfo, stream: IO[bytes] | None, epoch: int
) -> tuple[tarfile.TarInfo, IO[bytes] | None]:
    own = tarfile.TarInfo(member.name)
    own.type, own.size, own.linkname = member.type, member.size, member.linkname
    own.uname = own.gname = "root"
    own.mode = 0o777 if member.issym() else member.mode
    own.mtime = int(member.mtime) if member.isreg() else epoch
    checksum = member.pax_headers.get(_CHECKSUM, "")
    if member.issym():
        checksum = hashlib.sha1(member.linkname.encode(), usedforsecurity=False).hexdigest()
    if checksum:
        own.pax_headers = {_CHECKSUM: checksum}
    return own, stream


def _control(files: list[tuple[str, bytes]], epoch: int) -> bytes:
    """The first member. Its tar has no end, because the other one goes on with it."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname, info.gname = len(data), epoch, "root", "root"
            info.mode = 0o644 if name == _ABOUT else 0o755
            tar.addfile(info, io.BytesIO(data))
        end = tar.offset
    return gz.packed(plain.getvalue()[:end])


def older(path: Path) -> Older | None:
    """The same package with the release before its own; None if that is 0.

    Raises ConfigError for what is no package.
    """
    try:
        with open_regular(path) as stream:
            reader = zlib.decompressobj(gz.WINDOW)
            plain = b""
            while not reader.eof and (piece := stream.read(1 << 16)):
                plain += reader.decompress(piece, _MOST_CONTROL - len(plain) + 1)
                if len(plain) > _MOST_CONTROL:
                    raise ValueError("what it says of itself is too long")
            if not reader.eof:
                raise ValueError("it is cut")
            at = stream.tell() - len(reader.unused_data)
        with tarfile.open(fileobj=io.BytesIO(plain + bytes(1024)), mode="r:") as tar:
            files = [(one.name, _of(tar, one)) for one in tar]
            epoch = int(tar.getmember(_ABOUT).mtime)
        about = dict(files)[_ABOUT].decode()
        found = re.search(r"(?m)^(pkgver = .*-r)(\d{1,9})$", about)
        if not found:
            raise ValueError("it has no version")
        if not int(found[2]):
            return None
        lower = f"{about[: found.start()]}{found[1]}{int(found[2]) - 1}{about[found.end() :]}"
        return Older(
            _control([(name, lower.encode() if name == _ABOUT else data) for name, data in files], epoch), at
        )
    except (OSError, ValueError, OverflowError, KeyError, zlib.error, tarfile.TarError) as problem:
        raise ConfigError(
            f"it cannot be read as a package of Alpine: {problem}", where=str(path)
        ) from problem


def _of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    # A sparse file may be larger than what is packed.
    stream = tar.extractfile(member) if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) else None
    if stream is None or member.sparse is not None or member.size > _MOST_CONTROL:
        raise ValueError(f"{member.name[:100]!r} is no file")
    return stream.read()
