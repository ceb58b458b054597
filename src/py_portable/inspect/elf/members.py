"""The ELF files inside a wheel, one after the other and never to a named file, with every size bounded."""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from py_portable.inspect.elf.view import MAGIC, Buffer, ElfError, printable

MAX_MEMBERS = 200_000
MAX_MEMBER = 4 << 30
MAX_TOTAL = 8 << 30
# A larger member is unpacked to an unnamed temporary file instead of into memory.
MAX_IN_MEMORY = 64 << 20
# A smaller zip is read at once: zipfile itself reads a few bytes at a time, and spends most of its time so.
SMALL_ZIP = 1 << 20
# What a damaged or hostile zip makes the standard library raise.
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, OverflowError, RuntimeError, LookupError,
    struct.error, MemoryError,
)  # fmt: skip


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip at `path`. Raises ElfError where it is none, or has more than 200,000 members."""
    where = printable(path.name)
    if not path.is_file():
        raise ElfError("is not a regular file", where=where)
    try:
        small = path.stat().st_size <= SMALL_ZIP
        archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()) if small else path)
    except ZIP_ERRORS as problem:
        raise ElfError(f"cannot be read as a zip: {reason(problem)}", where=where) from problem
    with archive:
        if len(archive.infolist()) > MAX_MEMBERS:
            raise ElfError(f"more than {MAX_MEMBERS} members", where=where)
        yield archive


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Open a member for reading. Raises ElfError where it is encrypted or compressed in an unusual way.

    Only deflate lets the standard library bound what one call decompresses, and installers need no other.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ElfError("compressed by neither deflate nor store", where=printable(member.filename))
    return archive.open(member)


def elf_members(path: Path) -> Iterator[tuple[str, Buffer | ElfError]]:
    """Every member of a zip that begins like an ELF file: its printable name, and its bytes or why not.

    Members that cannot be looked at come out too, as an ElfError: nothing is left out in silence. Raises
    ElfError where the whole is not a zip.
    """
    with open_zip(path) as archive:
        yield from elves(archive)


def elves(archive: zipfile.ZipFile) -> Iterator[tuple[str, Buffer | ElfError]]:
    """`elf_members` of an archive that is open already."""
    total = 0
    for member in archive.infolist():
        # Judged by the stated size: reading never yields more than that.
        if member.file_size < len(MAGIC) or member.filename.endswith("/"):
            continue
        name = printable(member.filename)
        data: Buffer | ElfError
        try:
            with open_member(archive, member) as stream:
                if stream.read(len(MAGIC)) != MAGIC:
                    continue
                total += member.file_size
                if member.file_size > MAX_MEMBER:
                    raise ElfError(f"larger than {MAX_MEMBER >> 30} GiB", where=name)
                if total > MAX_TOTAL:
                    yield name, ElfError(f"more than {MAX_TOTAL >> 30} GiB of ELF files", where=name)
                    return
                stream.seek(0)
                data = stream.read() if member.file_size <= MAX_IN_MEMORY else _spill(stream)
        except ElfError as problem:
            data = problem
        except ZIP_ERRORS as problem:
            data = ElfError(f"cannot be unpacked: {reason(problem)}", where=name)
        yield name, data


def _spill(stream: IO[bytes]) -> mmap.mmap:
    # Rarely needed, and a tenth of the tag checker's start-up time.
    import tempfile

    with tempfile.TemporaryFile() as file:
        while chunk := stream.read(1 << 20):
            file.write(chunk)
        file.flush()
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def reason(problem: BaseException) -> str:
    """An exception of the standard library as one printable line."""
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return printable(" ".join(text.split()) or type(problem).__name__)
