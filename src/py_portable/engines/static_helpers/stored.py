"""The helpers of this machine, kept in the store."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable.engines import static_helpers
from py_portable.engines.static_helpers import lent
from py_portable.errors import MachineError
from py_portable.store import Store


def brought(prefix: Path) -> Path:
    """Where a Python whose prefix this is has them, if `bring` compiled them for a machine that the kit has none for.
    Its name holds the digest of the sources, so it is never another kit's."""
    return prefix / "share" / "py-portable" / static_helpers.key()


def helpers(store: Store) -> Path:
    """The folder with those of this machine, each of which can be executed. Raises MachineError where the kit has none
    for it and there is no compiler."""
    ready = brought(Path(sys.prefix))
    if all((ready / name).is_file() for name in static_helpers.NAMES):
        return ready

    def build(work: Path) -> Mapping[str, object]:
        static_helpers.put(work / "out")
        return {}

    return store.make(static_helpers.key(), build, title="the helpers that start cells").path


@dataclass
class Helpers:
    """Where a session takes them from. `lent`: a folder with what another machine compiled, for one that has no
    compiler. It is used as it lies there: what somebody else compiled never gets into the store."""

    store: Store
    lent: Path | None = None

    def __call__(self) -> Path:
        """Raises MachineError."""
        try:
            return helpers(self.store)
        except MachineError:
            if self.lent is None:
                raise
            lent.distrust(self.lent)
            return self.lent
