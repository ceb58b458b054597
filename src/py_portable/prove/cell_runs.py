"""Cells: artifact x image x condition, started side by side, each with its verdict."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from py_portable.base import process
from py_portable.engines.engine import LIMITS
from py_portable.engines.select import reproduce
from py_portable.errors import PortableError
from py_portable.evidence.typed import CellResult, now
from py_portable.formats import FORMATS, Install
from py_portable.images import Image
from py_portable.prove import stages
from py_portable.prove.accounts import UnknownAccounts
from py_portable.prove.bench import Bench, Cell, Tell
from py_portable.prove.borne import asked_for
from py_portable.prove.canary import Observation, observe
from py_portable.prove.conditions import CONDITIONS
from py_portable.prove.frozen import Freezer
from py_portable.prove.install import Installed, Place, install, tells_of_all
from py_portable.prove.judge import Finding, corroborate, judge, look
from py_portable.prove.memory import Memory
from py_portable.prove.start import Started, job, start
from py_portable.store import StoreError

PARTIAL_ENGINES = ("chroot", "native")
CAPTURE_BYTES = 1 << 20
TAIL_CHARS = 2000


def run(cells: Sequence[Cell], bench: Bench, tell: Tell) -> list[CellResult]:
    """Start every cell, as many at a time as there are cores; `tell` is called as they end, one at a time."""
    talk = threading.Lock()
    workers = len(os.sched_getaffinity(0))

    def ended(result: CellResult) -> CellResult:
        with talk:
            tell(result)
        return result

    with ExitStack() as stack:
        pool = ThreadPoolExecutor(workers)
        stack.push(functools.partial(_close, pool))
        observations = _observe(cells, bench, pool)
        known = [_known(cell, bench, observations) for cell in cells]
        own = bench.info.name == "native" and os.geteuid() == 0
        freezer = Freezer(bench.store, stack, reachable=own)
        cells = [
            cell if result else _frozen(cell, freezer) for cell, result in zip(cells, known, strict=True)
        ]
        known = [
            result or (_known(cell, bench, observations) if cell.image is None else None)
            for cell, result in zip(cells, known, strict=True)
        ]
        open_cells = [cell for cell, result in zip(cells, known, strict=True) if result is None]
        installs = install(open_cells, bench, pool, stack)

        def result_of(cell: Cell, result: CellResult | None) -> CellResult:
            return ended(result or _start(cell, bench, observations, installs))

        return list(pool.map(result_of, cells, known))


def _close(pool: ThreadPoolExecutor, kind: type[BaseException] | None, *_rest: object) -> None:
    """At an interruption, cells that are under way are ended, not waited for."""
    if kind is not None:
        process.end_all()
    pool.shutdown(wait=kind is None, cancel_futures=True)


def _frozen(cell: Cell, freezer: Freezer) -> Cell:
    """The cell, which starts exactly the bytes of its digest; or None if they do not exist any more."""
    if cell.made is None:
        return cell
    try:
        made = freezer.freeze(cell.made)
        return replace(cell, start=FORMATS[made.format].start(made, cell.image), named=cell.start)
    except StoreError:
        raise
    except PortableError as problem:
        return replace(cell, image=None, lacks="artifact", unavailable=problem.what)


def _observe(cells: Iterable[Cell], bench: Bench, pool: ThreadPoolExecutor) -> Mapping[Place, Observation]:
    """The canary runs once for each image x condition."""
    places = {(cell.image.identity, cell.condition): cell.image for cell in cells if cell.image}

    def observed(item: tuple[Place, Image]) -> Observation:
        (_, name), image = item
        condition = CONDITIONS[name]
        account = bench.accounts.of(condition, image.root)
        lacks = _excused(bench)
        return observe(bench.engine, image.root, condition, bench.helpers, account=account, lacks=lacks)

    return dict(zip(places, pool.map(observed, places.items()), strict=True))


def _excused(bench: Bench) -> tuple[str, ...]:
    """What a canary need not observe. Only an engine that is known for isolating partly is excused at all, and
    any engine for limits that its machine does not give: the evidence names them.
    """
    partly = bench.info.name in PARTIAL_ENGINES
    return tuple(aspect for aspect in bench.info.lacks if partly or aspect in LIMITS)


def _remembered(cell: Cell, bench: Bench, observation: Observation) -> Memory:
    assert cell.image is not None
    return Memory.of(
        bench.store.cache("passes"),
        {
            "artifact": cell.sha256,
            "mode": cell.made.mode if cell.made else None,
            "start": [cell.start.program, cell.start.needs],
            "smoke": asdict(cell.smoke),
            "image": cell.image.identity,
            "condition": str(cell.id.condition),
            "expect": cell.expect,
            "observed": observation.digest,
            "cpu": bench.cpu_flags,
            "engine": [bench.info.name, bench.info.version, bench.info.isolation, *bench.info.lacks],
        },
    )


def not_started(cell: Cell, why: str) -> CellResult:
    """The result of a cell for which there is no trusted helper that could start it."""
    return replace(_unknown(cell), reason="engine", detail=why)


def _blank(cell: Cell, bench: Bench) -> CellResult:
    return replace(_unknown(cell), isolation=bench.info.isolation)


def _unknown(cell: Cell) -> CellResult:
    return CellResult(
        artifact=cell.artifact,
        format=cell.format,
        sha256=cell.sha256,
        image=cell.image_name,
        image_identity=(cell.image.named or cell.image.identity) if cell.image else None,
        image_source=cell.image.source if cell.image else None,
        image_glibc=cell.image.glibc if cell.image else None,
        condition=str(cell.id.condition),
        expect=cell.expect,
        verdict="UNPROVEN",
        reason=None,
        detail=None,
        argv=cell.smoke.args,
        optional=cell.optional,
        smoke=cell.asked,
        provided=_provided(cell),
    )


def _provided(cell: Cell) -> tuple[str, ...]:
    """The packages that the image has because the artifact depends on them."""
    if cell.image is None or cell.image.named is None or cell.start.install is None:
        return ()
    wanted = set(cell.start.install.depends)
    return tuple(f"{name} {version}" for name, version, _ in cell.image.packages if name in wanted)


def _known(cell: Cell, bench: Bench, observations: Mapping[Place, Observation]) -> CellResult | None:
    """A result that needs no start: nothing can be shown here, or a PASS is remembered."""
    result = _blank(cell, bench)
    if cell.image and (manager := other_manager(cell)):
        why = f"the image has no {manager}: its packages are of another kind"
        return replace(result, verdict="NOT-APPLICABLE", detail=why)
    if cell.image is None:
        why = (cell.unavailable or "it was not made").removeprefix(f"{cell.image_name}: ")
        return replace(result, reason=cell.lacks, detail=why)
    observation = observations[cell.image.identity, cell.condition]
    if not observation.ok:
        return replace(
            result, reason="condition", detail=f"condition not achieved: {'; '.join(observation.violations)}"
        )
    return _remembered(cell, bench, observation).recall(result)


def other_manager(cell: Cell) -> str | None:
    """The package manager that the artifact needs and the image does not have."""
    if cell.image is None or cell.start.install is None or cell.start.install.manager is None:
        return None
    manager = cell.start.install.manager
    return None if cell.image.has(manager) else Path(manager).name


def _start(
    cell: Cell,
    bench: Bench,
    observations: Mapping[Place, Observation],
    installs: Mapping[Place, Installed],
) -> CellResult:
    assert cell.image is not None
    result = _blank(cell, bench)
    memory = _remembered(cell, bench, observations[cell.image.identity, cell.condition])
    installed = installs[cell.artifact, cell.image_name] if cell.start.install else Installed(())
    if installed.stages:
        result = stages.with_installation(result, cell, installed, TAIL_CHARS)
        if result.install != "done":
            return result
    try:
        started = _started(cell, bench, installed, installed.layers)
    except UnknownAccounts as problem:
        return replace(result, reason="engine", detail=problem.what)
    result = replace(
        result,
        stdout_tail=started.stdout.text[-TAIL_CHARS:],
        stderr_tail=started.stderr.text[-TAIL_CHARS:],
        # An installation is thrown away with the run: its start cannot be repeated as it stands.
        reproduce=None if cell.start.install else _by_hand(cell, bench, started),
        when=now(),
    )
    record = started.record
    if record is None or not record.called:
        return replace(result, reason="engine", detail=started.trouble)
    seconds = record.wall_ns / 1e9
    judged = judge(_finding(cell, started), cell.expect)
    result = replace(
        result,
        left_behind=record.left_behind,
        verdict=judged.verdict,
        reason=judged.reason,
        detail=judged.detail,
        exit_status=record.status,
        seconds=round(seconds, 4),
        overhead_seconds=round(max(0.0, started.seconds - seconds), 4),
    )
    if result.verdict == "PASS" and tells_of_all(cell):
        own = cell.start.install or Install(())
        later = _upgraded(cell, bench, installed)
        result = stages.with_later(result, installed, later, TAIL_CHARS, clean=own.clean, own=own.own)
    memory.keep(result)
    bench.kept.append((cell, memory))
    return result


def _started(cell: Cell, bench: Bench, installed: Installed, layers: tuple[Path, ...]) -> Started:
    assert cell.image is not None
    condition = CONDITIONS[cell.condition]
    return start(
        bench.engine,
        cell.image.root,
        condition,
        (cell.start.program, *cell.smoke.args),
        (*cell.start.binds, *installed.binds),
        bench.helpers,
        cell.smoke.timeout,
        account=bench.accounts.of(condition, cell.image.root, layers),
        capture_bytes=CAPTURE_BYTES,
        keep=bench.keep,
        lines=(cell.smoke.stdout, cell.smoke.stderr),
        layers=layers,
    )


def _finding(cell: Cell, started: Started) -> Finding:
    return corroborate(
        look(started, cell.smoke, cell.start.seeks, cell.start.fills),
        is_elf=cell.start.is_elf,
        image_glibc=cell.image.glibc if cell.image else None,
        measured_floor=cell.measured_floor,
        asked_for=functools.partial(asked_for, cell.start),
    )


def _upgraded(cell: Cell, bench: Bench, installed: Installed) -> stages.Later | None:
    """The problem of the start after the upgrade; None if there was no upgrade, or no problem."""
    if installed.upgraded is None:
        return None
    try:
        started = _started(cell, bench, installed, installed.upgraded)
    except UnknownAccounts as problem:
        return stages.Later("upgrade", "unproven", f"the start after it: {problem.what}")
    if started.record is None or not started.record.called:
        return stages.Later("upgrade", "unproven", f"the start after it: {started.trouble}")
    found = _finding(cell, started)
    return stages.Later("upgrade", "failed", f"the start after it: {found.detail}") if found.reason else None


def _by_hand(cell: Cell, bench: Bench, started: Started) -> str:
    """The command line that starts the cell again. The path of kept files follows as a shell comment."""
    told = started.reproduce
    if cell.named and cell.image:
        # The copy that was started is thrown away with the run.
        argv = (cell.named.program, *cell.smoke.args)
        condition, root = CONDITIONS[cell.condition], cell.image.root
        account = bench.accounts.of(condition, root)
        asked = job(root, condition, argv, cell.named.binds, bench.helpers, account=account, keep=bench.keep)
        told = reproduce(bench.engine, asked)
    return f"{told} # kept: {started.kept}" if started.kept else told
