"""Examines the runner at the beginning of a pipeline: what can build there, before a job fails because of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from py_portable.engines.select import select
from py_portable.engines.static_helpers.stored import helpers
from py_portable.engines.throwaway import ContainerFacts, ThrowawayVerdict, judge
from py_portable.errors import MachineError
from py_portable.formats import load_config
from py_portable.plan import baselines
from py_portable.store import Store, default_root

Say = Callable[[str], None]
AUTO, NATIVE = "auto", "native"


def choose(config: Path, asked: str, say: Say) -> str:
    """Which engine builds: the one that was named; else `auto` if an engine starts here; else `native`, if jobs are
    containers that are thrown away. Raises ConfigError for a config that is wrong."""
    if asked not in ("", AUTO):
        return asked
    needed = bool(baselines.jobs(load_config(config)))
    return decide(needed, _engine() if needed else None, judge(ContainerFacts.gather()), say)


def decide(needed: bool, trouble: str | None, container: ThrowawayVerdict, say: Say) -> str:
    """`needed`: whether anything is built at all. `trouble`: why no engine starts; None if one does. Pure, except for
    its messages.
    """
    if not needed or trouble is None:
        return AUTO
    if container.thrown_away:
        say(
            "artifacts are built without a sandbox, in jobs that run in the images of the "
            f"baselines (build-engine: native), because {trouble}"
        )
        return NATIVE
    say(f"{trouble}; and jobs of this runner are no containers that are thrown away: {container.missing[0]}")
    return AUTO


def _engine() -> str | None:
    try:
        select(AUTO, helpers(Store(default_root(os.environ))))
    except MachineError as problem:
        return problem.what
    return None
