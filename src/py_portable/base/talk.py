"""Talk on stderr: what runs, how long it took. Results go to stdout, by whoever has them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from py_portable.base import printable
from py_portable.base.redact import hide
from py_portable.errors import PortableError


class Talk:
    """`quiet` says nothing, `verbose` names cached steps too."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.steps: list[dict[str, object]] = []
        self._started = time.monotonic()

    def step(self, name: str, what: str, seconds: float) -> None:
        """One line for a step that starts or ends; kept for the evidence when it ends."""
        if what in ("done", "cached"):
            self.steps.append({"name": name, "cached": what == "cached", "seconds": round(seconds, 3)})
        if (what == "cached" and not self.verbose) or (what == "done" and seconds < 0.05):
            return
        took = f" ({seconds:.1f} s)" if what == "done" else ""
        self.say(f"{what:>7}  {name}{took}")

    def cures(self, images: Mapping[Any, PortableError]) -> None:
        """What helps where an image is not available: the line of its cells has room for the reason only."""
        for name, problem in images.items():
            for line in (problem.hint or "").splitlines():
                self.say(f"{name}: next: {line}")

    def say(self, line: str) -> None:
        if not self.quiet:
            # A step is named after what a config or a command line says, so a newline could be in it.
            shown = hide(printable.line(line))
            print(f"[{time.monotonic() - self._started:6.1f}s] {shown}", file=sys.stderr, flush=True)
