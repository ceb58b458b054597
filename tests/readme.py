"""What the README tells people to copy: the code blocks below its headings."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(heading: str) -> list[str]:
    """The code blocks between that heading and the next one, without their fences. Raises KeyError."""
    parts = re.split(r"^#+ (.*)$", README.read_text("utf-8"), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    return [body for _, body in _BLOCK.findall(sections[heading])]
