"""Every command runs under cell-run, so that nothing of it outlives its time limit, its end, or the caller.

The signal that bubblewrap and unshare ask for at their parent's death comes too late for a parent that dies while
they are still starting: what they started then runs on. cell-run watches a pipe instead: that of its record, or,
in a container, its stdin.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from py_portable.base.capture import Captured
from py_portable.base.process import Outcome
from py_portable.engines import limits
from py_portable.engines.engine import BUILD_CAPS, Bind, Ended, Job, Profile
from py_portable.engines.stage import LinkLoop
from py_portable.errors import MachineError

HELPERS = "/run/py-portable"
"""Where the folder with cell-run and canary is shown inside."""
BACKSTOP_SECONDS = 10.0
"""How much longer an engine waits than cell-run, which ends everything at the time limit itself."""
CHANNEL = ("--channel", "stdio")
CONFINE: Mapping[Profile, tuple[str, ...]] = {
    "proof": ("--confine", "proof"),
    "build": ("--confine", "build", "--keep", ",".join(BUILD_CAPS)),
}
"""cell-run's words that take keys, system calls and capabilities away, in every engine."""
_MOST_BYTES = 4096
_MOST_ENV = 1 << 20
"""As cell-run has it."""
_LOG_END_BYTES = 1 << 20
"""More than engine and pipes hold back of stdout, which may come after the record."""

Call = Callable[[Job, float, tuple[int, ...]], Outcome]


def supervised(job: Job, helpers: Path | None, *words: str) -> Job:
    """The job with cell-run before its command; `words` are more arguments of cell-run.

    A proof becomes its ordinary user; a build keeps the capabilities of builds, as far as the engine gives them.
    A build without compiled helpers stays as it is.
    """
    folder = job.helpers or helpers
    if folder is None:
        return job
    drop = ("--uid", str(job.uid), "--gid", str(job.uid)) if job.profile == "proof" else ()
    return replace(
        job,
        argv=(f"{HELPERS}/cell-run", *CONFINE[job.profile], *drop, *words, "--", *job.argv),
        binds=(*job.binds, Bind(folder, HELPERS)),
    )


def limit(seconds: float) -> tuple[str, str]:
    """cell-run's words for a time limit."""
    return "--limit-ms", str(max(1, round(seconds * 1000)))


def piped(call: Call, job: Job, helpers: Path | None, timeout: float, *, own_ids: bool = False) -> Ended:
    """`call(job, timeout, fds)` under cell-run, whose record comes through an inherited pipe.

    The exit status is then the command's, or 128 + a signal's number, or 124 at the time limit. A proof gets the
    limits of engines/limits.py. `own_ids`: the engine makes a user namespace for each job.
    """
    if job.helpers is None and helpers is None:
        return Ended(**vars(call(job, timeout, ())))
    try:
        with limits.group() if job.profile == "proof" else nullcontext(limits.Cgroup()) as group:
            ended = _piped(call, job, helpers, timeout, group, own_ids)
            return replace(ended, out_of_memory=group.killed())
    except (LinkLoop, limits.NoGroup) as problem:
        return refused(job.argv, problem, None)


def _piped(
    call: Call, job: Job, helpers: Path | None, timeout: float, group: limits.Cgroup, own_ids: bool
) -> Ended:
    reader, writer = os.pipe()
    try:
        try:
            bounds, words = limits.bounds(group, own_ids) if job.profile == "proof" else ((), ())
            kept = supervised(job, helpers, "--record", str(writer), *limit(timeout), *words)
            outcome = call(kept, timeout + BACKSTOP_SECONDS, (writer, *group.fds))
        finally:
            os.close(writer)
        # Not until its end: a process that escaped may hold the other side for ever.
        os.set_blocking(reader, False)
        try:
            record = os.read(reader, _MOST_BYTES)
        except BlockingIOError:
            record = b""
    finally:
        os.close(reader)
    return replace(_ended(outcome, record), limits=bounds)


def refused(argv: tuple[str, ...], problem: MachineError, log: Path | None) -> Ended:
    """A job that an engine could not be given: one image must not end the cells of all the others."""
    said = f"{problem.what}\n{problem.tail or ''}".encode()
    if log:
        with log.open("ab") as stream:
            stream.write(said)
    return Ended(argv, 125, False, 0.0, Captured(b"", b"", 0), Captured(said, b"", len(said)), log)


def spoken(
    call: Callable[[Job, float, int], Outcome], job: Job, helpers: Path | None, timeout: float, *words: str
) -> Ended:
    """`call(job, timeout, stdin)` under cell-run, for an engine that no file descriptor passes through.

    The environment travels on stdin, out of sight of the engine's records; the caller's end of that pipe is what
    keeps the command alive. The record is what stderr holds behind a word that only cell-run was told. `words`:
    more for cell-run. Raises MachineError where the environment is too large.
    """
    secret = secrets.token_hex(16)
    reader, writer = os.pipe()
    try:
        block = b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in job.env.items())
        told = f"{secret}\n{len(block)}\n".encode() + block
        with os.fdopen(os.dup(writer), "wb") as stream:
            _make_room(writer, len(block), len(told))
            stream.write(told)
        kept = replace(supervised(job, helpers, *CHANNEL, *limit(timeout), *words), env={})
        outcome = call(kept, timeout + BACKSTOP_SECONDS, reader)
    finally:
        os.close(reader)
        os.close(writer)
    stderr, record = split_record(outcome.stderr, secret)
    if outcome.log:
        _cut(outcome.log, secret)
    return _ended(replace(outcome, stderr=stderr), record)


def _make_room(pipe: int, environment: int, size: int) -> None:
    """Nobody reads yet: all of it has to fit into the pipe, which is small for a user who has many (pipe(7))."""
    most = _MOST_ENV
    try:
        if environment <= most:
            if size > (most := fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)
            return
    except OSError:
        pass  # above /proc/sys/fs/pipe-max-size, or above what this user may have of all pipes
    raise MachineError(
        f"the environment of a command has {environment} bytes, and no more than {most} can be handed over",
        hint="pass fewer or shorter variables: build.pass-env",
    )


def split_record(stderr: Captured, secret: str) -> tuple[Captured, bytes]:
    """stderr without the record, and the record (empty where there is none), which stands at its end."""
    mark = f"\n{secret} ".encode()
    data = stderr.tail if stderr.cut else stderr.data
    at = data.rfind(mark)
    if at < 0:
        return stderr, b""
    record, end, after = data[at + len(mark) :].partition(b"\n")
    kept = data[:at] + after
    total = stderr.total - (len(data) - len(kept))
    if stderr.cut:
        return replace(stderr, tail=kept, total=total), record + end
    return Captured(kept, b"", total, stderr.lost), record + end


def _cut(log: Path, secret: str) -> None:
    """Take the record out of a log; only what was held back of stdout and what the engine says follow it."""
    with log.open("r+b") as stream:
        start = max(0, stream.seek(0, os.SEEK_END) - _LOG_END_BYTES)
        stream.seek(start)
        data = stream.read()
        found = re.search(rb"\n" + secret.encode() + rb" [^\n]*\n", data)
        if found:
            stream.seek(start + found.start())
            stream.write(data[found.end() :])
            stream.truncate()


def _ended(outcome: Outcome, record: bytes) -> Ended:
    limited = _told(record).get("limit") is True
    return Ended(**{**vars(outcome), "timed_out": outcome.timed_out or limited}, record=record)


def _told(record: bytes) -> Mapping[str, object]:
    try:
        told = json.loads(record)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
