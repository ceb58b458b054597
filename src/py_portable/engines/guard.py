"""A build under cell-run, so that nothing of it outlives its time limit, its end, or the caller.

The signal that bubblewrap and unshare ask for at their parent's death comes too late for a parent that dies while
they are still starting: what they started then runs on. cell-run watches a pipe instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from py_portable.command import Outcome
from py_portable.engines.base import Bind, Job

HELPERS = "/run/py-portable"
"""Where the folder with cell-run and canary is shown inside."""
BACKSTOP_SECONDS = 10.0
"""How much longer an engine waits than cell-run, which ends everything at the time limit itself."""

Call = Callable[[Job, float, tuple[int, ...]], Outcome]


def guarded(call: Call, job: Job, helpers: Path | None, timeout: float, fds: tuple[int, ...]) -> Outcome:
    """`call(job, timeout, fds)`; a build is put under cell-run where `helpers` has a compiled one.

    Its exit status is then the command's, or 128 + a signal's number, or 124 at the time limit; the file
    descriptors `fds` do not reach it.
    """
    if job.profile == "proof" or helpers is None:
        return call(job, timeout, fds)
    reader, writer = os.pipe()
    try:
        limit = str(max(1, round(timeout * 1000)))
        words = (f"{HELPERS}/cell-run", "--record", str(writer), "--limit-ms", limit, "--")
        kept = replace(job, argv=(*words, *job.argv), binds=(*job.binds, Bind(helpers, HELPERS)))
        outcome = call(kept, timeout + BACKSTOP_SECONDS, (*fds, writer))
        os.set_blocking(reader, False)
        try:
            record = json.loads(os.read(reader, 4096))
        except (BlockingIOError, ValueError):
            return outcome
        limited = isinstance(record, dict) and record.get("limit") is True
        return replace(outcome, timed_out=outcome.timed_out or limited)
    finally:
        os.close(reader)
        os.close(writer)
