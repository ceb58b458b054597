"""Credentials never reach a screen, a log, a lock or the evidence."""

from __future__ import annotations

import re

# To the last @ before the path: a password may hold one that nobody encoded.
_USERINFO = re.compile(r"(?<=://)[^/\s'\"]+@")


def hide(text: str) -> str:
    """`text` with the user and password of every URL replaced."""
    return _USERINFO.sub("***@", text)
