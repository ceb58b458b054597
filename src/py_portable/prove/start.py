"""Start one app in a cell: cell-run under an engine, its record read back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from py_portable.base.capture import Captured
from py_portable.engines.engine import Bind, Engine, Job
from py_portable.engines.select import reproduce
from py_portable.engines.trial import HOSTNAME
from py_portable.prove.conditions import Condition
from py_portable.prove.record import Record, RecordError, parse


@dataclass(frozen=True)
class Started:
    """One start. `record` is None where cell-run did not get to write one: `trouble` says why.

    If `record.called` is false, nothing was shown about the app, and the cell is UNPROVEN. `seconds` is the wall time
    of the whole engine call; `reproduce` the command line that does it again by hand.
    """

    record: Record | None
    trouble: str | None
    stdout: Captured
    stderr: Captured
    timed_out: bool
    seconds: float
    reproduce: str
    kept: str | None = None
    """A shell command with which the user can look into the kept files of a failure."""
    limits: tuple[str, ...] = ()
    """The resources that the engine limited for this start alone."""
    out_of_memory: bool = False
    """Whether the kernel killed one of its processes because it exceeded the memory limit."""


def job(
    root: Path,
    condition: Condition,
    argv: Sequence[str],
    binds: Sequence[Bind],
    helpers: Path,
    *,
    account: Sequence[Bind],
    keep: bool = False,
    lines: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    layers: tuple[Path, ...] = (),
) -> Job:
    """What the engine has to run: `argv`, whose first word is an absolute path inside the image. `account`: what
    `Accounts.of` shows to every start of this condition there."""
    if not argv or not argv[0].startswith("/"):
        raise ValueError(f"not an absolute path inside the image: {list(argv)[:1]}")
    return Job(
        profile="proof",
        root=root,
        argv=tuple(argv),
        env=condition.env,
        binds=(*account, *binds),
        root_access=condition.root_access,
        hostname=HOSTNAME,
        home=condition.home,
        uid=condition.uid,
        tmp_bytes=condition.tmp_bytes,
        helpers=helpers,
        keep=keep,
        lines=lines,
        layers=layers,
    )


def start(
    engine: Engine,
    root: Path,
    condition: Condition,
    argv: Sequence[str],
    binds: Sequence[Bind],
    helpers: Path,
    timeout: float,
    log: Path | None = None,
    *,
    account: Sequence[Bind],
    capture_bytes: int = 65536,
    keep: bool = False,
    lines: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    layers: tuple[Path, ...] = (),
) -> Started:
    """Start `argv` once, at most `timeout` seconds long; whatever it leaves running is ended.

    `helpers` is the folder with the compiled cell-run and canary. `lines` are looked for in stdout and in stderr, also
    in what `capture_bytes` leaves no room for. `layers`: what was installed over the root. A failing, hanging or
    missing app is no error; raises MachineError only where the engine itself cannot be started.
    """
    asked = job(root, condition, argv, binds, helpers, account=account, keep=keep, lines=lines, layers=layers)
    outcome = engine.run(asked, timeout=timeout, log=log, capture_bytes=capture_bytes)
    record, trouble = None, None
    try:
        record = parse(outcome.record)
    except RecordError as problem:
        said = outcome.stderr.text.strip().splitlines()
        trouble = f"{problem}; {engine.name} said: {said[-1]}" if said else str(problem)
    if record and not record.called:
        trouble = f"cell-run failed at {record.stage}: {os.strerror(record.errno)}"
    return Started(
        record,
        trouble,
        outcome.stdout,
        outcome.stderr,
        outcome.timed_out or (record is not None and record.limit),
        outcome.seconds,
        reproduce(engine, asked),
        outcome.kept,
        outcome.limits,
        outcome.out_of_memory,
    )
