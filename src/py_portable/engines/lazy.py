"""An engine that is chosen when the first job needs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from py_portable.engines.engine import Ended, Engine, EngineInfo, Job, Node


class LazyEngine:
    """The engine that `choice` comes to, probed at the first job: a run that finds all made needs none."""

    def __init__(self, choice: str, helpers: Callable[[], Path], *, builds_only: bool = False) -> None:
        """`builds_only`: it runs build steps and no cells, for which `native` is another engine."""
        self._choice = choice
        self._helpers = helpers
        self._builds_only = builds_only
        self._lock = threading.Lock()
        self._chosen: tuple[Engine, EngineInfo, str] | None = None

    @property
    def chosen(self) -> tuple[Engine, EngineInfo, str]:
        # Steps that run side by side ask at the same time; one probe is enough.
        with self._lock:
            if self._chosen is None:
                # All engines there are: a run that finds all made imports none of them.
                from py_portable.engines.select import BUILD_ENGINES, ENGINES, select

                engines = BUILD_ENGINES if self._builds_only else ENGINES
                self._chosen = select(self._choice, self._helpers(), engines)
            return self._chosen

    @property
    def on_host(self) -> bool:
        return self._choice == "native"

    @property
    def name(self) -> str:
        return self.chosen[0].name

    def probe(self) -> EngineInfo:
        return self.chosen[1]

    def argv(self, job: Job) -> tuple[str, ...]:
        return self.chosen[0].argv(job)

    def run(self, job: Job, **options: Any) -> Ended:
        return self.chosen[0].run(job, **options)

    def listing(self, root: Path, layers: tuple[Path, ...]) -> Mapping[str, Node]:
        return self.chosen[0].listing(root, layers)

    def forget(self, layer: Path) -> None:
        self.chosen[0].forget(layer)
