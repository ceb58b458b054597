"""Files of the kit's own: written whole, or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_whole(path: Path, data: str | bytes, *, durably: bool = False) -> None:
    """Put `data` in the place of what is at `path`; a reader sees the old file or the new one, never a part.

    `durably`: the contents are on the disk before the name is. Raises OSError; nothing is left behind then.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with fresh.open("wb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            if durably:
                stream.flush()
                os.fsync(stream.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
