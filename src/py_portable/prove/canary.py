"""Observe that a condition is really in force, with the very call that starts an app."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable.engines.engine import Bind, Engine
from py_portable.engines.guard import HELPERS
from py_portable.prove.conditions import Condition
from py_portable.prove.start import start

SECONDS = 30.0
_VOLATILE = ("pid", "processes")


@dataclass(frozen=True)
class Observation:
    """`ok`: the canary ran and every promise is kept. `violations`: the broken promises, as text. `digest`:
    `sha256:…` over what was observed, without what differs from start to start. `raw`: all of it."""

    ok: bool
    violations: tuple[str, ...]
    digest: str
    raw: Mapping[str, Any]


def observe(
    engine: Engine,
    root: Path,
    condition: Condition,
    helpers: Path,
    *,
    account: Sequence[Bind],
    lacks: Iterable[str] = (),
    timeout: float = SECONDS,
) -> Observation:
    """Start the canary in the image at `root` under `condition`.

    `lacks` is what the engine's probe said it cannot isolate here; see `Condition.violations`.
    """
    started = start(engine, root, condition, [f"{HELPERS}/canary"], (), helpers, timeout, account=account)
    raw: Mapping[str, Any] = {}
    if started.trouble:
        broken: tuple[str, ...] = (started.trouble,)
    elif started.record is None or started.record.status != 0:
        broken = (f"the canary failed: {started.record}",)
    else:
        if raw := _parse(started.stdout.data):
            # Not to be seen from inside of a control group: what the engine set, and the kernel took.
            raw = {**raw, "limits": sorted(started.limits)}
        broken = condition.violations(raw, lacks)
    return Observation(not broken, broken, _digest(raw), raw)


def _parse(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(raw: Mapping[str, Any]) -> str:
    stable = {name: value for name, value in raw.items() if name not in _VOLATILE}
    return f"sha256:{hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest()}"
