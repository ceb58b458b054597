"""Remembers each PASS, so that it need not be repeated under the same circumstances. Other results are always
repeated."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from py_portable.base.atomic import write_whole
from py_portable.evidence.stage_results import remembered
from py_portable.evidence.typed import CellResult
from py_portable.steps import closure

JUDGE = "py_portable.prove.cell_runs"
BESIDE = ("engines/static_helpers", "resources/engines")
"""The code that decides what a PASS is, with everything that it imports and the programs around a start that are not
Python. After a mistake in it is corrected, nothing must be remembered from before."""
_KEPT = ("exit_status", "seconds", "overhead_seconds", "stdout_tail", "stderr_tail", "left_behind")


@dataclass(frozen=True)
class Memory:
    """One remembered PASS, in one small file. It may be lost at any time."""

    path: Path

    @classmethod
    def of(cls, folder: Path, circumstances: Mapping[str, Any]) -> Memory:
        """`circumstances`: everything on which a PASS depends, as JSON, except the kit's code and this machine."""
        told = {**circumstances, "kit": closure.sha256(JUDGE, BESIDE), "kernel": platform.release()}
        key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return cls(folder / f"{key}.json")

    def recall(self, blank: CellResult) -> CellResult | None:
        """`blank` with the remembered result, marked as cached; None if nothing is remembered."""
        try:
            told = json.loads(self.path.read_bytes())
            if told["verdict"] != "PASS":
                return None
            seen = {name: told[name] for name in (*_KEPT, "reproduce", "install", "when")}
            stages = remembered(told.get("stages", ()))
            return replace(blank, verdict="PASS", cached=True, stages=stages, **seen)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget(self) -> None:
        """Forget a result that turned out to be wrong. Raises OSError, because a PASS that stays would be used."""
        self.path.unlink(missing_ok=True)

    def keep(self, result: CellResult) -> None:
        if result.verdict != "PASS":
            return
        # A full disk makes the next run slower, not this one wrong.
        with contextlib.suppress(OSError):
            write_whole(self.path, json.dumps(result.told()))
