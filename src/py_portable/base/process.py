"""The one way to run a command: bounded output, a log, a time limit that ends everything it started."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable.base.capture import BoundedLog, Captured, Window
from py_portable.base.children import Spawner, end_group, kill, step_back
from py_portable.errors import MachineError, PortableError, StepError

KILL_GRACE_SECONDS = 2.0
WATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Outcome:
    """What came of a command. `status` is the exit status, or minus the signal's number."""

    argv: tuple[str, ...]
    status: int
    timed_out: bool
    seconds: float
    stdout: Captured
    stderr: Captured
    log: Path | None = None
    stopped: str | None = None
    """Why `watch` had it ended."""

    @property
    def ok(self) -> bool:
        return self.status == 0 and not self.timed_out and not self.stopped


_spawner = Spawner()
_endings: list[Callable[[], None]] = []
_back: ContextVar[bool] = ContextVar("back", default=False)


def end_all() -> None:
    """Kill the process group of every command that still runs: for a process that is about to leave.

    Only the main thread is interrupted; what worker threads wait for would live on. Then what `at_end` was told.
    """
    # Taken before: a worker whose command is killed here begins with the same, and would be cut off in it.
    endings = tuple(_endings)
    _spawner.end_all()
    for ending in endings:
        with contextlib.suppress(PortableError):
            ending()


@contextlib.contextmanager
def at_end(ending: Callable[[], None]) -> Iterator[None]:
    """Have `end_all` call this too: for what a killed command leaves to others, such as a daemon's container."""
    _endings.append(ending)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            _endings.remove(ending)


@contextlib.contextmanager
def behind_others() -> Iterator[None]:
    """The commands that this thread starts meanwhile get the processor time that others leave."""
    token = _back.set(True)
    try:
        yield
    finally:
        _back.reset(token)


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    log: Path | None = None,
    pass_fds: tuple[int, ...] = (),
    capture_bytes: int = 1 << 20,
    shown: Sequence[str] | None = None,
    stdin: int = subprocess.DEVNULL,
    watch: Callable[[], str | None] | None = None,
    lines: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> Outcome:
    """Run `argv` with stdin from /dev/null (or the file descriptor `stdin`) in a session of its own and wait for it.

    `timeout` is in seconds; at the limit (and when this thread is interrupted) the whole process group is
    killed, and so is what is left of it when the command has ended. `log` gets both streams as they come, of very
    much output the beginning and the end, and `shown` in place of the command where that holds secrets. `watch` is
    called every second; when it says why, the command is ended as at the limit. `lines` are looked for in stdout and
    in stderr, in all of it. Raises MachineError where the program cannot be started.
    """
    words = tuple(str(word) for word in argv)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        # Opened first: a log that cannot be written must not leave a child behind.
        sink = stack.enter_context(BoundedLog(log)) if log else None
        if sink:
            sink.write(_header(words if shown is None else shown).encode())
        child = _start(words, cwd, env, pass_fds, stdin)
        if _back.get():
            step_back(child)
        assert child.stdout and child.stderr
        stack.enter_context(child.stdout)
        stack.enter_context(child.stderr)
        windows = (Window(capture_bytes, lines[0]), Window(capture_bytes, lines[1]))
        try:
            end = None if timeout is None else started + timeout
            timed_out, stopped = _pump(child, windows, sink, end, watch)
        except BaseException:
            kill(child)
            child.wait()
            raise
        finally:
            _spawner.forget(child)
    return Outcome(
        words if shown is None else tuple(shown),
        child.returncode,
        timed_out,
        time.monotonic() - started,
        windows[0].done(),
        windows[1].done(),
        log,
        stopped,
    )


def _start(
    words: tuple[str, ...],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    pass_fds: tuple[int, ...],
    stdin: int,
) -> subprocess.Popen[bytes]:
    try:
        return _spawner.popen(
            words,
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as problem:
        raise MachineError(
            f"{words[0]} cannot be started: {problem.strerror}", hint="run: py-portable doctor"
        ) from problem


def _pump(
    child: subprocess.Popen[bytes],
    windows: tuple[Window, Window],
    sink: BoundedLog | None,
    end: float | None,
    watch: Callable[[], str | None] | None,
) -> tuple[bool, str | None]:
    assert child.stdout and child.stderr
    timed_out = ended = False
    stopped: str | None = None
    look = time.monotonic() + WATCH_SECONDS
    with selectors.DefaultSelector() as selector:
        for stream, window in zip((child.stdout, child.stderr), windows, strict=True):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, window)
        pidfd = os.pidfd_open(child.pid)
        try:
            selector.register(pidfd, selectors.EVENT_READ, None)
            while selector.get_map():
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    if timed_out or ended or stopped:
                        break
                    timed_out = True
                    kill(child)
                    end = time.monotonic() + KILL_GRACE_SECONDS
                    continue
                if watch and not (timed_out or ended or stopped):
                    if time.monotonic() >= look:
                        look = time.monotonic() + WATCH_SECONDS
                        if stopped := watch():
                            kill(child)
                            end = time.monotonic() + KILL_GRACE_SECONDS
                            continue
                    left = WATCH_SECONDS if left is None else min(left, WATCH_SECONDS)
                for key, _ in selector.select(left):
                    if key.data is None:
                        # The child has ended: what still holds its pipes is an orphan. Its own last words are
                        # read below; waiting for more would be waiting for the orphan.
                        selector.unregister(pidfd)
                        ended = True
                        end = min(end or float("inf"), time.monotonic() + KILL_GRACE_SECONDS)
                        continue
                    chunk = _read(key.fd)
                    if chunk is None:
                        continue
                    if not chunk:
                        selector.unregister(key.fileobj)
                        continue
                    key.data.feed(chunk)
                    if sink:
                        sink.write(chunk)
        finally:
            os.close(pidfd)
    # Not yet waited for, so that its number, and the group's, cannot belong to somebody else.
    end_group(child)
    child.wait()
    return timed_out, stopped


def _read(fd: int) -> bytes | None:
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return None


def check(
    argv: Sequence[str | Path],
    *,
    what: str,
    error: type[PortableError] = StepError,
    hint: str | None = None,
    **options: Any,
) -> Outcome:
    """`run`, but a failing command raises `error` with the last lines of its output."""
    return require(run(argv, **options), what=what, error=error, hint=hint)


def require(
    outcome: Outcome, *, what: str, error: type[PortableError] = StepError, hint: str | None = None
) -> Outcome:
    """Raise `error` unless the outcome is a success."""
    if outcome.ok:
        return outcome
    if outcome.timed_out:
        how = f"did not end within {outcome.seconds:.0f} s"
    elif outcome.stopped:
        how = f"was ended: {outcome.stopped}"
    elif outcome.status < 0:
        how = f"was killed by {_signal_name(-outcome.status)}"
    else:
        how = f"failed with exit status {outcome.status}"
    raise error(
        f"{what} {how}",
        tail=_said(outcome),
        log=outcome.log,
        hint=hint,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _said(outcome: Outcome) -> str:
    """The end of what it printed; of a log, which begins with the command, only what comes after that."""
    if not outcome.log:
        return outcome.stderr.text + outcome.stdout.text
    text = last_lines(outcome.log)
    began = _header(outcome.argv)
    return text.rpartition(began)[2] if began in text else text.removeprefix(_end_of(began, text))


def _end_of(header: str, text: str) -> str:
    """What a window that begins inside of the header shows of it."""
    first = text.partition("\n")[0] + "\n"
    return first if header.endswith(first) else ""


def _header(argv: Sequence[str]) -> str:
    return f"$ {shlex.join(argv)}\n"


def last_lines(path: Path, size: int = 8192) -> str:
    """The end of a log file."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - size))
        return stream.read().decode("utf-8", "replace")
