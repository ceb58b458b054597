"""What is inside a wheel, held against what its file name says: the WHEEL file's tags and every ELF file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from py_portable.inspect.elf.floor import dotted, glibc_defects, glibc_needs
from py_portable.inspect.elf.members import ZIP_ERRORS, elves, open_member, open_zip, reason
from py_portable.inspect.elf.reader import NeededVersion, read
from py_portable.inspect.elf.symbols import symbols_needing
from py_portable.inspect.elf.view import Buffer, ElfError, printable
from py_portable.inspect.wheel_tags import Platform, platform

MAX_WHEEL_FILE = 1 << 16
MAX_TAGS = 512
SHOWN = 3
MAX_SHOWN_NAME = 200
# e_machine says less than a tag: every 32-bit ARM is "arm", every 32-bit x86 "i686".
_ELF_ARCHES = {
    "armv5l": "arm", "armv6l": "arm", "armv7l": "arm", "armv8l": "arm", "i386": "i686", "i486": "i686",
    "i586": "i686", "ppc64el": "ppc64le",
}  # fmt: skip


def broken_promises(path: Path, tags: frozenset[str]) -> list[str]:
    """Every way in which a wheel is not what its file name's tags (`cp313-cp313-linux_x86_64`) say.

    Each is one printable line that names the member and, for a glibc that is too new, the symbols. That a
    wheel cannot be read is such a way too.
    """
    try:
        with open_zip(path) as archive:
            platforms = [platform(tag) for tag in sorted({tag.split("-")[2] for tag in tags})]
            return [*_tags_inside(archive, tags), *_elf_promises(archive, platforms)]
    except ElfError as problem:
        return [problem.what]


def _tags_inside(archive: zipfile.ZipFile, tags: frozenset[str]) -> Iterator[str]:
    members = [
        member
        for member in archive.infolist()
        if member.filename.count("/") == 1 and member.filename.endswith(".dist-info/WHEEL")
    ]
    if len(members) != 1:
        yield f"has {len(members) or 'no'} *.dist-info/WHEEL files, expected one"
        return
    name = printable(members[0].filename)
    try:
        if members[0].file_size > MAX_WHEEL_FILE:
            raise ElfError(f"larger than {MAX_WHEEL_FILE} bytes", where=name)
        with open_member(archive, members[0]) as stream:
            text = stream.read().decode("utf-8")
    except ElfError as problem:
        yield f"{name}: {problem.what}"
        return
    except ZIP_ERRORS as problem:
        yield f"{name}: cannot be read: {reason(problem)}"
        return
    inside = frozenset(tag for line in text.splitlines() for tag in _tag_line(line))
    for title, odd in (
        ("says {}, which the file name does not", inside - tags),
        ("does not say {}, which the file name does", tags - inside),
    ):
        if odd:
            yield f"{name}: {title.format(printable(_some(sorted(odd))))}"


def _tag_line(line: str) -> Iterator[str]:
    key, _, value = line.partition(":")
    if key.strip().lower() == "tag":
        # A compressed set is one line in the file name and several here; some builders write it compressed.
        parts = value.strip().lower().split("-")
        if len(parts) == 3:
            yield from expand_tag(*parts)
        else:
            yield value.strip()


def expand_tag(python: str, abi: str, plat: str) -> Iterator[str]:
    """The single tags of a compressed one: `py2.py3-none-any` gives `py2-none-any` and `py3-none-any`.

    One that would give more than 512 comes back as it is, and so agrees with nothing.
    """
    pythons, abis, platforms = python.split("."), abi.split("."), plat.split(".")
    if len(pythons) * len(abis) * len(platforms) > MAX_TAGS:
        yield f"{python}-{abi}-{plat}"
        return
    for one in pythons:
        for two in abis:
            for three in platforms:
                yield f"{one}-{two}-{three}"


def _elf_promises(archive: zipfile.ZipFile, platforms: Sequence[Platform]) -> Iterator[str]:
    any_tag = any(one.tag == "any" for one in platforms)
    promises = [one for one in platforms if one.libc]
    if not any_tag and not promises:
        return
    for name, data in elves(archive):
        try:
            if isinstance(data, ElfError):
                raise data
            if any_tag:
                # Read all the same: a file that is only named like one is no lie.
                yield f"{name}: is a {read(data, name=name).arch} ELF file, but the tag any promises none"
                continue
            yield from _file_promises(name, data, promises)
        except ElfError as problem:
            yield f"{name}: {problem.what}"


def _file_promises(name: str, data: Buffer, promises: Sequence[Platform]) -> Iterator[str]:
    elf = read(data, name=name)
    if elf.type in ("relocatable", "core", "other"):
        return
    mine = [one for one in promises if _ELF_ARCHES.get(one.arch or "", one.arch) == elf.arch]
    if not mine:
        yield f"{name}: is made for {elf.arch}, but the wheel promises {_listed(promises)}"
        return
    glibc = [one for one in mine if one.libc == "glibc"]
    musl = [one for one in mine if one.libc == "musl"]
    if glibc and elf.musl:
        yield f"{name}: is linked against musl, but the wheel promises {_listed(glibc)}"
    if musl and ("libc.so.6" in elf.needed or any(True for _ in glibc_needs(elf))):
        yield f"{name}: is linked against glibc, but the wheel promises {_listed(musl)}"
    if not glibc:
        return
    strictest = min(glibc, key=lambda one: one.version)
    # The newest version and its symbols are what there is to correct; the others seldom help, and each costs a
    # walk over all symbols.
    newest = max(
        ((number, need) for need, number in glibc_needs(elf) if number and not need.weak),
        key=lambda pair: pair[0],
        default=None,
    )
    if newest and newest[0] > strictest.version:
        what = _need(data, newest[1])
        yield f"{name}: {what}, but {strictest.tag} promises glibc {dotted(strictest.version)}"
    for kind, need in glibc_defects(elf)[:SHOWN]:
        why = (
            "belongs to one particular build of glibc"
            if kind == "private"
            else "is a version that this check does not know"
        )
        yield f"{name}: {_need(data, need)}, which {why}"


def _need(data: Buffer, need: NeededVersion) -> str:
    symbols = [printable(symbol[:MAX_SHOWN_NAME]) for symbol in symbols_needing(data, need.version)]
    return f"needs {printable(need.version)} of {printable(need.library)}" + (
        f" (for {_some(symbols)})" if symbols else ""
    )


def _some(words: Sequence[str]) -> str:
    more = len(words) - SHOWN
    return ", ".join(words[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _listed(promises: Sequence[Platform]) -> str:
    return ", ".join(one.tag for one in promises)
