"""Keeps the log of a step that failed, and lets the error name it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from py_portable.errors import PortableError
from py_portable.store.faults import explain, is_out_of_room


def explain_full_disk(problem: BaseException, root: Path) -> BaseException:
    """A StoreError instead of an OSError about a full disk; otherwise the problem itself."""
    if isinstance(problem, OSError) and is_out_of_room(problem):
        return explain(problem, "do the step", root)
    return problem


def keep_log(failed: Path, key: str, path: Path) -> Path | None:
    """Move the log of a work folder to the folder `failed`; None if the log is empty."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = failed / f"{stamp}-{key[:12]}-{os.getpid()}.log"
    # If the disk is full, the log is lost, but the first error must still be shown.
    with contextlib.suppress(OSError):
        if path.stat().st_size and not path.is_symlink():
            shutil.move(path, kept)
            return kept
    return None


def name_log(problem: BaseException, kept: Path | None, work: Path) -> None:
    """Make the error say where its log is now."""
    if isinstance(problem, PortableError):
        if problem.log is None or problem.log.is_relative_to(work):
            problem.log = kept
    elif kept:
        problem.add_note(f"log: {kept}")
