"""The compiled helpers, kept in the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from py_portable import native
from py_portable.store import Store


def helpers(store: Store) -> Path:
    """The folder with the compiled cell-run and canary. Raises MachineError where no compiler is to be had."""

    def build(work: Path) -> Mapping[str, object]:
        native.compile(work / "out")
        return {}

    return store.make(native.key(), build).path
