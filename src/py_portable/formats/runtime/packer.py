"""A folder as one file that starts: the runtime, an index of the folder, and its files in chunks (seal.h, index.h).

The same folder gives the same bytes, whoever packs it and when: names are sorted, owners and times are left out.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

import zstandard

from py_portable.errors import StepError

LEVEL = 16
CHUNK_BYTES = 8 << 20
"""Of files, in one zstd frame. Larger chunks are a little smaller together, and fewer processors unpack them."""
THREADS = 2
"""Two frames wait for each while others are compressed; the result does not depend on it."""
ZSTD = ".".join(map(str, zstandard.ZSTD_VERSION))
"""Another one may make other bytes of the same folder."""
SEAL = struct.Struct("<16sIIQQQQQQ32s64s512s")
MAGIC = b"\x8fpy-portable\x1a\xc3\x5e\x01"
ONEFILE, APPIMAGE = 1, 2
"""What is behind the runtime (seal.h)."""
DIGEST_BYTES = 32
COMMON_TIME = 315619200
"""In seconds since 1970: of all that is unpacked (index.h)."""
_HEAD, _CHUNK, _ENTRY = struct.Struct("<IIIIQ"), struct.Struct(f"<I{DIGEST_BYTES}s"), struct.Struct("<HIQ")
_KEY_AT = struct.calcsize("<16sIIQQQQQQ")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PYC = re.compile(rb"(.*/)?__pycache__/([^/]+)\.[^/.]+\.pyc", re.DOTALL)
_PATH_BYTES = 4000
_PROGRAM_BYTES = 511
Given = TypeVar("Given")
Got = TypeVar("Got")


@dataclass(frozen=True)
class Item:
    """What the folder holds at `path`, relative to it. `source` is a file to read, `target` what a link says."""

    path: bytes
    mode: int
    size: int = 0
    source: Path | None = None
    target: bytes = b""
    time: int = COMMON_TIME


@dataclass(frozen=True)
class Chunk:
    packed: bytes
    digest: bytes


def pack(folder: Path, out: Path, *, name: str, program: str, runtime: bytes) -> str:
    """Write the file `out`, mode 0755, which starts `program` (a path in `folder`); returns its key as hex digits.

    `name` is what messages and the cache call it. Raises StepError where the folder holds what cannot be packed.
    """
    check(folder, name, program)
    entries = listed(folder)
    chunks = list(side_by_side(_chunk, _cut(entries)))
    return write(out, runtime, index(entries, chunks), chunks, entries, name=name, program=program)


def check(folder: Path, name: str, program: str) -> None:
    """Raises StepError where it cannot be called so, or where `program` is none in the folder."""
    if not _NAME.fullmatch(name):
        raise StepError(f"{name!r} cannot be the name of a file that starts", where=str(folder))
    path = folder / program
    if len(os.fsencode(program)) > _PROGRAM_BYTES or PurePosixPath(program).is_absolute():
        raise StepError(f"{program!r} is no path below the folder", where=str(folder))
    if (
        not path.resolve().is_relative_to(folder.resolve())
        or not path.is_file()
        or not os.access(path, os.X_OK)
    ):
        raise StepError(f"{program} is no program in the folder", where=str(folder))


def listed(folder: Path) -> tuple[Item, ...]:
    """Folders, each before what lies in it; then files, those of a kind side by side; then links."""
    found = {entry.path: entry for entry in (_entry(path, folder) for path in folder.rglob("*"))}
    for entry in [*found.values()]:
        _keep_valid(entry, found)
    return tuple(sorted(found.values(), key=_order))


def _keep_valid(compiled: Item, found: dict[bytes, Item]) -> None:
    """Give the source of a .pyc file the time that this names, where it has it now: else Python would compile it at
    each start, and write to the folder."""
    match = _PYC.fullmatch(compiled.path)
    source = found.get(b"".join(match.groups(b"")) + b".py") if match else None
    if source is None or source.source is None or compiled.source is None:
        return
    with compiled.source.open("rb") as stream:
        head = stream.read(16)
    flags, when, size = struct.unpack_from("<III", head, 4) if len(head) == 16 else (1, 0, 0)
    if (
        flags == 0
        and when == int(source.source.stat().st_mtime) & 0xFFFFFFFF
        and size == source.size & 0xFFFFFFFF
    ):
        found[source.path] = replace(source, time=when)


def _order(entry: Item) -> tuple[int, bytes, bytes, bytes]:
    if stat.S_ISDIR(entry.mode):
        return (0, b"", b"", entry.path)
    if stat.S_ISLNK(entry.mode):
        return (2, b"", b"", entry.path)
    leaf = entry.path.rpartition(b"/")[2]
    return (1, leaf.rpartition(b".")[2] if b"." in leaf else b"", leaf, entry.path)


def _entry(path: Path, folder: Path) -> Item:
    name, found = os.fsencode(path.relative_to(folder)), path.lstat()
    if len(name) > _PATH_BYTES:
        raise StepError("a path is too long to be packed", where=str(path))
    if stat.S_ISDIR(found.st_mode):
        return Item(name, stat.S_IFDIR | 0o700 | found.st_mode & 0o755)
    if stat.S_ISREG(found.st_mode):
        # Nobody but its owner may change what is started, and setuid is never unpacked.
        return Item(name, stat.S_IFREG | 0o400 | found.st_mode & 0o755, found.st_size, path)
    if stat.S_ISLNK(found.st_mode):
        target = os.readlink(os.fsencode(path))  # noqa: PTH115, a Path would change its text
        if not _leads_inside(name, target):
            raise StepError(f"a link leads out of the folder: {os.fsdecode(target)}", where=str(path))
        return Item(name, stat.S_IFLNK | 0o777, target=target)
    raise StepError(
        "it is neither a file nor a folder nor a link, and nothing else is packed", where=str(path)
    )


def _leads_inside(path: bytes, target: bytes) -> bool:
    depth = path.count(b"/")
    for name in target.split(b"/"):
        depth += {b"..": -1, b"": 0, b".": 0}.get(name, 1)
        if depth < 0:
            return False
    return bool(target) and not target.startswith(b"/")


def _cut(entries: Sequence[Item]) -> Iterator[bytes]:
    """The bytes of all files, one after the other, in pieces of CHUNK_BYTES."""
    held = bytearray()
    for entry in entries:
        if entry.source is None:
            continue
        read = 0
        with entry.source.open("rb") as stream:
            while data := stream.read(CHUNK_BYTES - len(held)):
                read += len(data)
                held += data
                if len(held) == CHUNK_BYTES:
                    yield bytes(held)
                    held.clear()
        if read != entry.size:
            raise StepError("it was changed while it was packed", where=str(entry.source))
    if held:
        yield bytes(held)


def side_by_side(work: Callable[[Given], Got], pieces: Iterable[Given]) -> Iterator[Got]:
    """What `work` makes of each, in their order, by THREADS threads."""
    waiting: deque[Future[Got]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _chunk(piece: bytes) -> Chunk:
    way = zstandard.ZstdCompressionParameters.from_level(LEVEL, source_size=len(piece))
    packed = zstandard.ZstdCompressor(compression_params=way).compress(piece)
    return Chunk(packed, digest(packed))


def digest(*parts: bytes) -> bytes:
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        total.update(part)
    return total.digest()


def index(entries: Sequence[Item], chunks: Sequence[Chunk]) -> bytes:
    """As index.h has it, not compressed."""
    parts = [_HEAD.pack(len(entries), len(chunks), CHUNK_BYTES, 0, sum(entry.size for entry in entries))]
    parts += [_CHUNK.pack(len(chunk.packed), chunk.digest) for chunk in chunks]
    for entry in entries:
        parts += [_ENTRY.pack(entry.mode, entry.time, entry.size), entry.path, b"\0"]
        if stat.S_ISLNK(entry.mode):
            parts += [entry.target, b"\0"]
    return b"".join(parts)


def write(
    out: Path,
    runtime: bytes,
    raw_index: bytes,
    chunks: Sequence[Chunk],
    entries: Sequence[Item],
    *,
    name: str,
    program: str,
) -> str:
    """The file, mode 0755; returns its key as hex digits."""
    packed_index = zstandard.ZstdCompressor(level=19).compress(raw_index)
    head = sealed(
        runtime,
        packed_index,
        index_bytes=len(raw_index),
        chunk_bytes=sum(len(chunk.packed) for chunk in chunks),
        tree_bytes=sum(entry.size for entry in entries),
        name=name,
        program=program,
    )
    with out.open("xb") as stream:
        stream.write(head)
        stream.write(packed_index)
        for chunk in chunks:
            stream.write(chunk.packed)
    out.chmod(0o755)
    return key_of(head)


def key_of(head: bytes) -> str:
    """The key in a runtime with a seal, as hex digits."""
    at = head.index(MAGIC) + _KEY_AT
    return head[at : at + DIGEST_BYTES].hex()


def sealed(
    runtime: bytes,
    packed_index: bytes,
    *,
    index_bytes: int,
    chunk_bytes: int,
    tree_bytes: int,
    name: str,
    program: str,
    format: int = ONEFILE,
    digests_at: int = 0,
) -> bytes:
    """The runtime with the seal filled in."""
    at = runtime.find(MAGIC)
    if at < 0 or runtime.find(MAGIC, at + 1) >= 0:
        raise StepError("this is no runtime: it has no place for a seal, or more than one")

    def with_key(key: bytes) -> bytes:
        seal = SEAL.pack(
            MAGIC,
            format,
            at + _KEY_AT,
            len(runtime),
            len(packed_index),
            index_bytes,
            digests_at,
            len(runtime) + len(packed_index) + chunk_bytes,
            tree_bytes,
            key,
            name.encode(),
            os.fsencode(program),
        )
        return runtime[:at] + seal + runtime[at + SEAL.size :]

    return with_key(digest(with_key(bytes(DIGEST_BYTES)), packed_index))
