"""Reads the requirements that setuptools wrote into an sdist in its own format."""

from __future__ import annotations

import re


def egg_requires(text: str) -> tuple[str, ...]:
    """The requirements in an `egg-info/requires.txt`, with its sections turned into markers."""
    requires, extra, marker = [], "", ""
    for line in (raw.strip() for raw in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if section := re.fullmatch(r"\[([^:\]]*)(?::(.*))?\]", line):
            extra, marker = section[1].strip(), (section[2] or "").strip()
            continue
        terms = [f"({marker})"] if marker else []
        terms += [f'extra == "{extra}"'] if extra else []
        requires.append(f"{line} ; {' and '.join(terms)}" if terms else line)
    return tuple(requires)
