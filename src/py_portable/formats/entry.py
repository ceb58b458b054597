"""What a build inside a sandbox says it made: entry.json in its out folder."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from py_portable.steps.context import BuildFailed

MAX_ENTRY_CHARS = 65536
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


def read_entry(out: Path) -> dict[str, str]:
    """What the build says it made. Foreign code ran beside it: no link is followed, and names are only names."""
    path = out / "entry.json"
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(fd, encoding="utf-8") as stream:
        told = json.loads(stream.read(MAX_ENTRY_CHARS))
    path.unlink()
    entry = {name: str(told[name]) for name in ("payload", "script", "entry_point")}
    for name in ("payload", "script"):
        if not _NAME.fullmatch(entry[name]):
            raise BuildFailed(
                f"{entry[name]!r} cannot be the name of an executable",
                hint="give the app's console script a plain name, or say app.script",
            )
    made = out / entry["payload"]
    if made.is_symlink() or (made.is_dir() and (made / entry["script"]).is_symlink()):
        raise BuildFailed(f"{entry['payload']} is a symbolic link, not what was built")
    return entry
