"""Prepares every interpreter that was not compiled here: makes it self-sufficient, sets its paths, and checks its
version."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from py_portable.base.regular import open_regular
from py_portable.engines.engine import Bind
from py_portable.errors import StepError
from py_portable.inspect.elf import measure
from py_portable.interpreters.provider import PREFIX
from py_portable.steps.context import Context

SCRIPTS = ("build/self_sufficient.py", "build/settle.py", "build/in_turn.sh")
MAX_TOLD = 1 << 16
_VERSION = re.compile(r"3\.[0-9]{1,3}\.[0-9]{1,3}")


def settle(ctx: Context, provider: str, python: str, *, origin: str) -> Mapping[str, Any]:
    """Work on the prefix in the step's out folder; returns the step's meta.

    `origin` says in messages where it comes from. Raises StepError where it is not the CPython `python`,
    BuildFailed where it can't be made to stand alone.
    """
    prefix = Bind(ctx.out, PREFIX, writable=True)
    tools = Bind(ctx.need("tools").path, "/in/tools")
    ctx.sandbox(
        "build/self_sufficient.py",
        "--leave-out",
        then=(("build/settle.py", python),),
        binds=(prefix, tools),
    )
    told, brought = _told(ctx, "interpreter.json"), _told(ctx, "brought.json")
    check(told, python, origin)
    return {
        "version": told["version"],
        "provider": provider,
        "libpython": told["libpython"],
        "lacks": told["lacks"],
        "brought": brought["brought"],
        "left_out": brought["left_out"],
        "measured_floor": measure(ctx.out).floor,
    }


def check(told: Mapping[str, Any], python: str, origin: str) -> None:
    """Raises StepError where what an interpreter says of itself is not the CPython `python`."""
    version = str(told["version"])
    if told["implementation"] != "cpython" or told["free_threaded"] or not _VERSION.fullmatch(version):
        kind = "free-threaded" if told["free_threaded"] else told["implementation"]
        raise StepError(
            f"{origin} is {kind} {version!r}; only CPython with its global lock is used",
            hint="choose another archive, or interpreter.provider: source",
        )
    if version.rpartition(".")[0] != python:
        raise StepError(
            f"{origin} is Python {version}, but {python} is needed",
            hint=f'write python: "{version.rpartition(".")[0]}", or name one that has {python}',
        )


def there(ctx: Context) -> list[str]:
    """The lines that a script left in /build/there. Raises StepError where it left none."""
    text = read(ctx.work / "sandbox" / "there")
    return [line for line in text.splitlines() if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", line)][:100]


def _told(ctx: Context, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads(read(ctx.work / "sandbox" / name)))
    except ValueError as problem:
        raise StepError(f"the interpreter did not report its version: {problem}") from None


def read(path: Path) -> str:
    """Reads a file that a program in an image wrote: no link is followed, and its size is limited. Raises
    StepError."""
    try:
        with open_regular(path, follow=False) as stream:
            return stream.read(MAX_TOLD).decode("utf-8", "replace")
    except OSError as problem:
        raise StepError(f"the interpreter did not report its version: {problem.strerror}") from None
