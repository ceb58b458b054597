"""The entry of a cell's user in /etc/passwd and /etc/group: from the text of an image's file to the text that is shown.

The files are an image's, so they may hold anything: lines are only compared and kept, byte for byte. See passwd(5) and
group(5). Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from py_portable.engines.trial import USER

NAME = USER.encode()
_SHELL = b"/bin/sh"
_ROOT_USER = b"root:x:0:0:root:/root:" + _SHELL + b"\n"
_ROOT_GROUP = b"root:x:0:\n"
_USER_FIELDS = 7
_GROUP_FIELDS = 4
_ID = 2
_HOME = 5
_NO_ENTRY = (b"#", b"+", b"-")
"""How comments and the marks of NIS begin."""

Fields = list[bytes]


def with_user(passwd: bytes, uid: int, home: str) -> bytes:
    """The file with an entry for `uid` whose home is `home`. An entry that is there keeps its name, group and shell. A
    file that is empty gets root's entry too."""
    number, folder = str(uid).encode(), home.encode()
    if _ids(passwd, _USER_FIELDS, number):
        return _each(
            passwd, _USER_FIELDS, number, lambda fields: [*fields[:_HOME], folder, *fields[_HOME + 1 :]]
        )
    line = b":".join([_free_name(passwd), b"x", number, number, b"", folder, _SHELL])
    return _whole_lines(passwd or _ROOT_USER) + line + b"\n"


def with_group(group: bytes, gid: int) -> bytes:
    """The same for a file of groups."""
    number = str(gid).encode()
    if _ids(group, _GROUP_FIELDS, number):
        return group
    return _whole_lines(group or _ROOT_GROUP) + b":".join([_free_name(group), b"x", number, b""]) + b"\n"


def without_user(passwd: bytes, uid: int) -> bytes:
    """The file without entries for `uid`."""
    return _each(passwd, _USER_FIELDS, str(uid).encode(), lambda _fields: None)


def without_group(group: bytes, gid: int) -> bytes:
    """The same for a file of groups."""
    return _each(group, _GROUP_FIELDS, str(gid).encode(), lambda _fields: None)


def _ids(text: bytes, count: int, number: bytes) -> bool:
    return any(_is_entry(line, count, number) for line in text.split(b"\n"))


def _is_entry(line: bytes, count: int, number: bytes) -> bool:
    """Whether C libraries read the line as the entry of this id; they count a number with zeros before it too."""
    line = line.lstrip()
    if line.startswith(_NO_ENTRY):
        return False
    fields = line.split(b":")
    return len(fields) == count and bool(fields[0]) and fields[_ID].strip().lstrip(b"0") == number


def _each(text: bytes, count: int, number: bytes, change: Callable[[Fields], Fields | None]) -> bytes:
    """The text with each entry of this id changed, or left out where the change gives None."""
    kept = []
    for line in text.split(b"\n"):
        fields = change(line.split(b":")) if _is_entry(line, count, number) else [line]
        if fields is not None:
            kept.append(b":".join(fields))
    return b"\n".join(kept)


def _free_name(text: bytes) -> bytes:
    """`cell`, or the first of cell1, cell2, … that no line of the file begins with."""
    taken = {line.lstrip().split(b":")[0] for line in text.split(b"\n")}
    names = itertools.chain([NAME], (NAME + str(number).encode() for number in itertools.count(1)))
    return next(name for name in names if name not in taken)


def _whole_lines(text: bytes) -> bytes:
    return text if text.endswith(b"\n") else text + b"\n"
