"""The log of a job: groups that can be folded, with their times. Inside a group the runner obeys no commands."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from collections.abc import Iterator

from py_portable.base import printable
from py_portable.base.redact import hide


def say(text: str) -> None:
    """One line that the runner does not obey."""
    print(hide(printable.line(text)), flush=True)


@contextlib.contextmanager
def group(title: str) -> Iterator[None]:
    """A part of the log that can be folded. Inside it the runner obeys no commands until a word appears that nobody can
    guess (docs.github.com: Workflow commands, stopping and starting them)."""
    word = secrets.token_hex(16)
    began = time.monotonic()
    print(f"::group::{_data(title)}\n::stop-commands::{word}", flush=True)
    try:
        yield
    finally:
        took = time.monotonic() - began
        sys.stdout.flush()
        print(f"::{word}::\n::endgroup::", flush=True)
        say(f"{title}: {took:.1f} s")


def annotate(level: str, text: str) -> None:
    """`level` is error, warning or notice."""
    print(f"::{level} title=py-portable::{_data(text)}", flush=True)


def is_annotation(line: str) -> bool:
    return line.startswith(("::error ", "::warning ", "::notice "))


def _data(text: str) -> str:
    return hide(printable.line(text)).replace("%", "%25")
