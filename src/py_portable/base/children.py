"""Child processes: started where nothing ends them too early, and ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

NICENESS = 10


class Spawner:
    """Starts every child from one thread that never ends.

    PR_SET_PDEATHSIG (bwrap --die-with-parent) is tied to the thread that forked: a child started from a
    worker thread would be killed when that worker goes.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Sequence[str], dict[str, Any], Future[subprocess.Popen[bytes]]]]
        self._queue = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pid = 0
        self._living: set[subprocess.Popen[bytes]] = set()

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._pid != os.getpid():
                self._queue = queue.SimpleQueue()
                threading.Thread(target=self._serve, args=(self._queue,), name="spawner", daemon=True).start()
                self._pid = os.getpid()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._queue.put((argv, options, future))
        try:
            child = future.result()
            self._living.add(child)
            return child
        except KeyboardInterrupt:
            # Interrupted while it is being started: nobody would know of the child.
            future.add_done_callback(_end_unseen)
            raise

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        self._living.discard(child)

    def end_all(self) -> None:
        for child in tuple(self._living):
            kill(child)

    @staticmethod
    def _serve(requests: queue.SimpleQueue[Any]) -> None:
        while True:
            argv, options, future = requests.get()
            try:
                future.set_result(subprocess.Popen(argv, **options))
            except BaseException as problem:
                future.set_exception(problem)
            del argv, options, future


def _end_unseen(future: Future[subprocess.Popen[bytes]]) -> None:
    if future.exception() is None:
        kill(future.result())
        future.result().wait()


def kill(child: subprocess.Popen[bytes]) -> None:
    """End the child's whole process group at once."""
    end_group(child)
    child.kill()


def step_back(child: subprocess.Popen[bytes]) -> None:
    """Let what runs besides the child's process group have the processors first.

    Linux shares them out between sessions before it looks at processes, where it groups them (sched(7), autogroup).
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, child.pid, NICENESS)
        Path(f"/proc/{child.pid}/autogroup").write_text(str(NICENESS))


def end_group(child: subprocess.Popen[bytes]) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
