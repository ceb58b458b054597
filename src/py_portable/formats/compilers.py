"""Compiles Nuitka's C sources in a separate sandbox, so that the sandbox in which packages run never sees a cache."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from py_portable.engines.engine import Bind
from py_portable.errors import PortableError
from py_portable.steps.context import BuildFailed, Context

ASKED = "/asked"
ANSWERED = "/answered"
SCRIPTS = ("build/elsewhere.py", "build/compile.py")
MAX_ARCHIVE_BYTES = 8 << 30
MAX_REQUESTS = 8
"""The most requests. Nuitka makes one or two, and a few more with profiles."""
_POLL_SECONDS = 0.05


def beside(
    ctx: Context, write: Callable[[tuple[Bind, ...]], None], compile_: Callable[[Context, Path], None]
) -> None:
    """Run `write`, with binds for its sandbox, and meanwhile `compile_` for each archive that it passes out.

    `compile_` gets a context with folders of its own, whose out folder becomes the answer. Raises what `compile_`
    raised, else what `write` did.
    """
    asked, answered = ctx.work / "asked", ctx.work / "answered"
    asked.mkdir()
    answered.mkdir()
    problem: PortableError | None = None
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write, (Bind(asked, ASKED, writable=True), Bind(answered, ANSWERED)))
        try:
            for number in range(1, MAX_REQUESTS + 1):
                room = ctx.work / f"compilers-{number}"
                room.mkdir()
                if not _next(asked / f"{number}.tar", room / "asked.tar", writing):
                    break
                own = replace(ctx, work=room, log=room / "log")
                own.out.mkdir()
                try:
                    compile_(own, room / "asked.tar")
                finally:
                    _keep(own.log, ctx.log)
                hand_over(own.out, answered / str(number))
        except PortableError as failed:
            problem = failed
        finally:
            # Whatever ended it: nobody waits in there for an answer that does not come.
            for number in range(1, MAX_REQUESTS + 2):
                (answered / f"{number}.failed").touch()
        wait([writing])
    if problem:
        problem.log = ctx.log
        raise problem
    writing.result()


def hand_over(folder: Path, place: Path) -> None:
    """Move the folder to its place in one step, so that whoever waits for it finds a complete folder. The place may
    be on another file system,
    where the sandbox that waits has no mount of the work folder (engines/places.py)."""
    try:
        folder.rename(place)
    except OSError as problem:
        if problem.errno != errno.EXDEV:
            raise
        beside = place.with_name(f".{place.name}")
        shutil.copytree(folder, beside, symlinks=True)
        beside.rename(place)
        shutil.rmtree(folder)


def _next(archive: Path, into: Path, writing: Future[None]) -> bool:
    """Wait for the archive and copy it; False if the writer has ended without one."""
    while not _copied(archive, into):
        if writing.done():
            return False
        wait([writing], timeout=_POLL_SECONDS)
    return True


def _copied(archive: Path, into: Path) -> bool:
    """Copy a file that foreign code made: a link is not followed, and a pipe is not waited for.

    Raises BuildFailed for what is not a regular file of a bounded size.
    """
    try:
        fd = os.open(archive, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as problem:
        raise BuildFailed(f"the input of the compilers is not a file: {problem.strerror}") from problem
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_ARCHIVE_BYTES:
        os.close(fd)
        raise BuildFailed("the input of the compilers has an unusual size")
    with os.fdopen(fd, "rb") as stream, into.open("xb") as out:
        left = state.st_size
        while left and (chunk := stream.read(min(left, 1 << 20))):
            out.write(chunk)
            left -= len(chunk)
    return True


def _keep(log: Path, whole: Path) -> None:
    with suppress(FileNotFoundError), whole.open("ab") as out:
        out.write(log.read_bytes())
