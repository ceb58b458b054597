"""Credentials never reach a screen, a log, a lock or the evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

# To the last @ before the path: a password may hold one that nobody encoded.
_USERINFO = re.compile(r"(?<=://)[^/\s'\"]+@")


def hide(text: str) -> str:
    """`text` with the user and password of every URL replaced."""
    return _USERINFO.sub("***@", text)


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
