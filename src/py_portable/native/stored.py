"""The compiled helpers, kept in the store."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from py_portable import native
from py_portable.store import Store


def helpers(store: Store) -> Path:
    """The folder with the compiled cell-run and canary. Raises MachineError where no compiler is to be had."""

    def build(work: Path) -> Mapping[str, object]:
        native.compile(work / "out")
        return {}

    digest = native.sources_digest().removeprefix("sha256:")
    return store.make(f"native-{platform.machine()}-{digest}", build).path
