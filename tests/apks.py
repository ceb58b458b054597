"""Reads a package of Alpine as its format is described (Alpine's wiki, "Apk spec"; POSIX, "pax interchange format"), and
checks all that is promised there. It shares no code with what makes packages: not even a reader of tar files."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_VERSION = re.compile(r"\d+(\.\d+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)\d*)*-r\d+", re.ASCII)
_ZEROS = bytes(512)


@dataclass(frozen=True)
class Entry:
    name: str
    kind: str
    mode: int
    size: int
    time: int
    link: str
    owner: tuple[int, int, str, str]
    data: bytes
    more: dict[str, str]


@dataclass(frozen=True)
class Apk:
    info: dict[str, list[str]]
    scripts: dict[str, bytes]
    files: dict[str, Entry]
    members: int
    times: set[int] = field(default_factory=set)


def read(path: Path) -> Apk:
    """Raises AssertionError for what is not as the format has it."""
    rest, packed = path.read_bytes(), []
    while rest:
        assert rest[:3] == b"\x1f\x8b\x08" and rest[3:8] == bytes(5), "a gzip member without a name and a time"
        reader = zlib.decompressobj(31)
        plain = reader.decompress(rest)
        assert reader.eof, "a gzip member is cut"
        packed.append((rest[: len(rest) - len(reader.unused_data)], plain))
        rest = reader.unused_data
    assert len(packed) in (2, 3), "an optional signature, what it says of itself, and its files"
    (_, control), (raw, data) = packed[-2:]
    first, end = _entries(control)
    assert not end, "the tar of the first part goes on in the next one"
    files, end = _entries(data)
    assert end, "the tar of the last part ends with two blocks of zeros"
    said = list(first)
    assert said[0].name == ".PKGINFO" and all(entry.name.startswith(".") for entry in said)
    info: dict[str, list[str]] = {}
    for line in said[0].data.decode("utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z_]+ = \S.*", line), line
        key, _, value = line.partition(" = ")
        info.setdefault(key, []).append(value)
    for key in ("pkgname", "pkgver", "arch", "pkgdesc", "size", "license", "datahash"):
        assert len(info[key]) == 1, key
    assert info["datahash"] == [hashlib.sha256(raw).hexdigest()]
    assert _VERSION.fullmatch(info["pkgver"][0]) and re.fullmatch(r"[a-z0-9][a-z0-9+._-]*", info["pkgname"][0])
    assert int(info["size"][0]) == sum(entry.size for entry in files)
    seen: set[str] = set()
    for entry in files:
        _one(entry, seen)
    scripts = {entry.name: entry.data for entry in said[1:]}
    assert all(entry.mode & 0o111 for entry in said[1:])
    return Apk(info, scripts, {one.name: one for one in files}, len(packed), {one.time for one in said})


def sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _one(entry: Entry, seen: set[str]) -> None:
    parts = entry.name.split("/")
    assert entry.name not in seen and all(part not in ("", ".", "..") for part in parts), entry.name
    assert entry.owner == (0, 0, "root", "root") and (entry.kind == "2" or not entry.mode & 0o7022), entry
    if len(parts) > 1:
        assert entry.name.rpartition("/")[0] in seen, "a folder comes before what is in it"
    told = {"0": entry.data, "2": entry.link.encode()}.get(entry.kind)
    assert told is not None or entry.kind == "5", entry.kind
    if told is not None:
        assert entry.more.get("APK-TOOLS.checksum.SHA1") == sha1(told), entry.name
    seen.add(entry.name)


def _entries(tar: bytes) -> tuple[list[Entry], bool]:
    """The entries, and whether the tar has an end."""
    found = list(_walk(tar))
    whole = all(isinstance(one, Entry) for one in found)
    return [one for one in found if isinstance(one, Entry)], not whole


def _walk(tar: bytes) -> Iterator[Entry | None]:
    at, more = 0, dict[str, str]()
    while at < len(tar):
        head = tar[at : at + 512]
        if head == _ZEROS:
            assert not tar[at:].strip(b"\0") and len(tar) - at >= 1024
            yield None
            return
        assert head[257:263] == b"ustar\0"
        own = sum(head[:148]) + 8 * 32 + sum(head[156:])
        assert own == _octal(head[148:156]), "the checksum of a header"
        size, kind = _octal(head[124:136]), chr(head[156])
        data = tar[at + 512 : at + 512 + size]
        assert len(data) == size
        at += 512 + size + -size % 512
        if kind == "x":
            more = _pax(data)
            continue
        prefix, name = _text(head[345:500]), _text(head[:100])
        owner = (_octal(head[108:116]), _octal(head[116:124]), _text(head[265:297]), _text(head[297:329]))
        path = more.get("path") or "/".join(filter(None, (prefix, name)))
        link = more.get("linkpath") or _text(head[157:257])
        yield Entry(path.rstrip("/"), kind, _octal(head[100:108]), size, _octal(head[136:148]), link, owner, data, more)
        more = {}


def _pax(data: bytes) -> dict[str, str]:
    found = {}
    while data:
        size = int(data.partition(b" ")[0])
        record = data[:size].decode("utf-8").partition(" ")[2]
        assert record.endswith("\n")
        key, _, value = record[:-1].partition("=")
        found[key] = value
        data = data[size:]
    return found


def _octal(data: bytes) -> int:
    return int(data.strip(b" \0") or b"0", 8)


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8")
