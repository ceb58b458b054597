"""Runs a command and shows its lines as they come, because a job of an hour must not be silent."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from py_portable.base import process
from py_portable.base.children import Spawner, kill
from py_portable.ci.github import console
from py_portable.ci.github.inputs import PREFIX
from py_portable.ci.github.runner_files import OWN

TAIL_LINES = 25
LINE_BYTES = 1 << 16
ANSWER_BYTES = 8 << 20
KIT = (sys.executable, "-P", "-m", "py_portable")
"""`-P` because this runs in the caller's repository, which may contain a file click.py."""


@dataclass(frozen=True)
class CommandEnded:
    """`status`: the exit status, or 128 + the signal. `answer`: stdout, where it was asked for."""

    status: int
    tail: tuple[str, ...]
    answer: str = ""


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for commands, without the runner's files, its tokens and the inputs."""
    return {
        name: value
        for name, value in environ.items()
        if name not in OWN and not name.startswith((PREFIX, "ACTIONS_"))
    }


def follow(argv: Sequence[str], env: Mapping[str, str]) -> CommandEnded:
    """Run the kit, and show each line of both its streams when it comes. Raises OSError."""
    child = Spawner().popen(
        [*KIT, *argv],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert child.stdout
    tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
    try:
        with child.stdout:
            while raw := child.stdout.readline(LINE_BYTES):
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                console.say(line)
                if line.strip():
                    tail.append(line)
        status = child.wait()
    except BaseException:
        # It has to remove its containers and mounts first.
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
        kill(child)
        raise
    return CommandEnded(_status(status), tuple(tail))


def ask(argv: Sequence[str], env: Mapping[str, str]) -> CommandEnded:
    """Run the kit and return what it prints to stdout; its stderr is shown. Raises MachineError."""
    outcome = process.run([*KIT, *argv], env=env, capture_bytes=ANSWER_BYTES)
    said = [line for line in outcome.stderr.text.split("\n") if line.strip()]
    for line in said:
        console.say(line)
    return CommandEnded(_status(outcome.status), tuple(said[-TAIL_LINES:]), outcome.stdout.text)


def _status(status: int) -> int:
    return status if status >= 0 else 128 - status
