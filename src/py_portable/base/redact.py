"""Credentials never reach a screen, a log, a lock or the evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_URL = re.compile(
    r"(?<=://)"
    # To the last @ before the path: a password may hold one that nobody encoded.
    r"(?P<user>[^/\s'\"]+@)?"
    r"(?P<place>[^\s'\"<>`?#]*)"
    r"(?P<query>\?[^\s'\"<>`#]*)?"
    r"(?P<fragment>#[^\s'\"<>`]+)?"
)
_PLAIN_FRAGMENT = re.compile(r"#(?:(?:sha(?:1|224|256|384|512)|md5|egg|subdirectory)=[\w./+-]*&?)+")
"""What pip and indexes put behind a # and mean for everybody."""


def hide(text: str) -> str:
    """`text` with the user, password and query of every URL replaced, and what may be a secret behind its #.

    A token that is part of a URL's path (`/TOKEN/simple/`) cannot be told from a folder, and stays.
    """
    return _URL.sub(_hidden, text)


def is_plain(url: str) -> bool:
    """Whether the URL may be kept: it has nothing that `hide` hides."""
    return hide(url) == url


def _hidden(found: re.Match[str]) -> str:
    query, fragment = found["query"] or "", found["fragment"] or ""
    return "".join(
        (
            "***@" if found["user"] else "",
            found["place"],
            "?***" if len(query) > 1 else query,
            fragment if not fragment or _PLAIN_FRAGMENT.fullmatch(fragment) else "#***",
        )
    )


def without(text: str, secrets: Iterable[str]) -> str:
    """`text` without these values; those of three letters and less are too common to be looked for."""
    for secret in sorted((one for one in secrets if len(one) > 3), key=len, reverse=True):
        text = text.replace(secret, "***")
    return hide(text)


def scrub(path: Path, secrets: Iterable[str]) -> None:
    """Take these values out of a file, such as a log that a compiler wrote them into."""
    values = [value.encode() for value in secrets if len(value) > 3]
    if not values or not path.exists():
        return
    text = cleaned = path.read_bytes()
    for value in sorted(values, key=len, reverse=True):
        cleaned = cleaned.replace(value, b"***")
    if cleaned != text:
        path.write_bytes(cleaned)
