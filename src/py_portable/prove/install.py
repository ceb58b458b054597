"""The stages around a start. They run as root, once for each artifact x image; all conditions share the
installation."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from py_portable.engines import ids
from py_portable.engines.engine import Bind, Ended, Job
from py_portable.engines.guard import HELPERS
from py_portable.errors import MachineError
from py_portable.evidence.stage_results import Name, StageResult
from py_portable.formats import Install, Stage
from py_portable.images import Image
from py_portable.plan.cell import PLAIN
from py_portable.prove import lint_lines
from py_portable.prove.bench import Bench, Cell
from py_portable.prove.judge import Finding
from py_portable.prove.leftovers import leftovers
from py_portable.prove.record import RecordError, parse

INSTALL_SECONDS = 600.0
CAPTURE_BYTES = 4 << 20
"""Of what a stage says: a lint tool may have thousands of lines."""
MOST_WORDS = 400
_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    # dnf is written in Python, and what it compiles of itself is nothing that a package leaves.
    "PYTHONDONTWRITEBYTECODE": "1",
}
Place = tuple[str, str]


@dataclass(frozen=True)
class Installed:
    """What came of the stages of one artifact on one image. A start is shown `binds` and gets `layers`; that of the
    stage `upgrade` gets `upgraded`, where there is one. `said`: by the last stage that ran. `unknowing`: it is unproven
    because the image's package manager does not know what is there."""

    stages: tuple[StageResult, ...]
    said: str = ""
    binds: tuple[Bind, ...] = ()
    layers: tuple[Path, ...] = ()
    upgraded: tuple[Path, ...] | None = None
    unknowing: bool = False

    @property
    def first(self) -> StageResult:
        """The result of the installation itself."""
        return self.stages[0]


@dataclass(frozen=True)
class _Site:
    """Where the stages of one artifact x image run. `room`: a folder for them; `name`: the name of their logs."""

    bench: Bench
    image: Image
    room: Path
    name: str

    def run(self, stage: str, command: Stage, layers: tuple[Path, ...]) -> _Ran:
        """Run a command over the layers; the files that it writes become one more layer."""
        layer = self.room / stage
        layer.mkdir(mode=0o700)
        job = replace(self.job(command), layers=layers, layer=layer)
        try:
            outcome = self.engine_run(stage, job)
        except MachineError as problem:
            return _Ran(command, None, layers, problem.what)
        ran = _Ran(command, outcome, layers, _why_not_run(outcome))
        return replace(ran, layers=(*layers, layer)) if ran.ok else ran

    def job(self, command: Stage) -> Job:
        return Job(
            "build", self.image.root, command.argv, _ENV, binds=command.binds, root_access="throw-away"
        )

    def engine_run(self, stage: str, job: Job) -> Ended:
        log = self.bench.logs / f"{stage}-{self.name}.log"
        return self.bench.engine.run(job, timeout=INSTALL_SECONDS, log=log, capture_bytes=CAPTURE_BYTES)


@dataclass(frozen=True)
class _Ran:
    """`layers`: the layers that are now over the root. `trouble`: why the engine could not run the stage."""

    command: Stage
    outcome: Ended | None
    layers: tuple[Path, ...]
    trouble: str | None

    @property
    def ok(self) -> bool:
        return self.outcome is not None and self.outcome.ok and not self._lines(self.command.fails)

    @property
    def said(self) -> str:
        return self.outcome.stderr.text + self.outcome.stdout.text if self.outcome else ""

    def result(self, stage: Name) -> StageResult:
        seconds = round(self.outcome.seconds, 4) if self.outcome else 0.0
        if self.outcome is None or self.trouble:
            return StageResult(stage, "unproven", seconds, self.trouble)
        if self.ok:
            return StageResult(stage, "done", seconds)
        failure = failure_of(self.outcome, self.command)
        if self.unknown:
            return StageResult(stage, "unproven", seconds, f"{failure}: {self.unknown}")
        return StageResult(stage, "failed", seconds, failure)

    @property
    def unknown(self) -> str | None:
        """Why the refusal of an installation proves nothing: see `Install.unknown`."""
        told = self.command.unknown if isinstance(self.command, Install) else None
        failed = self.outcome is not None and not self.outcome.ok
        return told[1] if told and failed and self._lines(told[:1]) else None

    def _lines(self, begins: tuple[str, ...]) -> bool:
        """Whether it said a line that begins so. Only a line feed ends a line."""
        if self.outcome is None:
            return False
        streams = (self.outcome.stderr.text, self.outcome.stdout.text)
        return any(line.startswith(begins) for said in streams for line in said.split("\n"))


def install(
    cells: Iterable[Cell], bench: Bench, pool: ThreadPoolExecutor, stack: ExitStack
) -> Mapping[Place, Installed]:
    """Runs the stages, once for each artifact x image. Stages after the installation run only if a cell reports them.
    The installation is removed when `stack` is closed."""
    cells = [cell for cell in cells if cell.image and cell.start.install]
    places = {
        (cell.artifact, cell.image_name): (cell.image, cell.start.install)
        for cell in cells
        if cell.image and cell.start.install
    }
    if not places:
        return {}
    answered = {(cell.artifact, cell.image_name) for cell in cells if tells_of_all(cell)}
    room = stack.enter_context(bench.store.scratch("install", prefix=ids.prefix()))
    room.chmod(0o755)
    sites = {}
    for number, (place, (image, _)) in enumerate(places.items()):
        folder = room / str(number)
        folder.mkdir(mode=0o755)
        log = f"{place[0]}-{place[1].replace('/', '_').replace(':', '-')}"
        sites[place] = _Site(bench, image, folder, log)
        stack.callback(_forget, sites[place])

    def fill(item: tuple[Place, tuple[Image, Install]]) -> Installed:
        place, (_, stage) = item
        if stage.target is not None:
            return _folder(sites[place], stage, stage.target)
        return _root(sites[place], stage, whole=place in answered)

    return dict(zip(places, pool.map(fill, places.items()), strict=True))


def tells_of_all(cell: Cell) -> bool:
    """Whether the cell's verdict is about all stages, and not about installation and start alone: one of them is."""
    return cell.id.condition == PLAIN


def finding_of_install(failure: str, stage: Install | None = None) -> Finding:
    """`failure` as `failure_of` tells it; `stage` says how its program refuses what the release cannot have."""
    said = re.sub(r"^exit status -?\d+: ", "", failure)
    refused = stage is not None and bool(stage.unmet) and said.startswith(stage.unmet)
    return Finding("release" if refused else "install", f"the install stage failed: {failure}")


def failure_of(outcome: Ended, command: Stage) -> str:
    """The message of a stage that failed: the first line that begins as the program's messages do, with the lines
    that belong to it; or else the last line."""
    if outcome.timed_out:
        return f"it did not end within {INSTALL_SECONDS:.0f} s"
    # Some go on after what failed, and end well.
    status = f"exit status {outcome.status}: " if outcome.status else ""
    lines = [line for line in (outcome.stderr.text + outcome.stdout.text).splitlines() if line.strip()]
    for start in command.speaks or (f"{Path(command.argv[0]).name}: ",):
        for number, line in enumerate(lines):
            if line.startswith(start) and not line.startswith(f"{start}warning"):
                block = [line, *itertools.takewhile(lambda one: one[0] in " \t", lines[number + 1 :])]
                return f"{status}{' '.join(' '.join(block).split())}"[:MOST_WORDS]
    return f"{status}{lines[-1] if lines else ''}"


def _why_not_run(outcome: Ended) -> str | None:
    """The reason why the program of the stage was not called; None if it was."""
    try:
        record = parse(outcome.record)
    except RecordError as problem:
        said = outcome.stderr.text.strip().splitlines()
        return said[-1] if said else str(problem)
    return None if record.called else f"cell-run failed at {record.stage}"


def _folder(site: _Site, stage: Install, target: str) -> Installed:
    folder = site.room / "kept"
    folder.mkdir(mode=0o755)
    job = site.job(replace(stage, binds=(*stage.binds, Bind(folder, target, writable=True))))
    outcome = site.engine_run("install", job)
    ran = _Ran(stage, outcome, (), _why_not_run(outcome))
    return Installed((ran.result("install"),), ran.said, (Bind(folder, target),))


def _root(site: _Site, stage: Install, *, whole: bool) -> Installed:
    """The installation; then, if a cell reports them, upgrade, removal and purge, each on top of the one before."""
    first = site.run("install", stage, ())
    done = Installed(
        (first.result("install"),), first.said, layers=first.layers, unknowing=first.unknown is not None
    )
    if not whole or done.first.status != "done":
        return done
    last = first.layers
    if stage.lint:
        done = replace(done, stages=(*done.stages, _linted(site.run("lint", stage.lint, ()))))
    if stage.older:
        older = site.run("older", stage.older, ())
        ran = site.run("upgrade", stage, older.layers) if older.result("upgrade").status == "done" else older
        told = ran.result("upgrade")
        if ran is older:
            told = replace(told, detail=f"the older package: {told.detail}")
        done = replace(done, stages=(*done.stages, told), said=ran.said)
        if told.status != "done":
            return done
        done, last = replace(done, upgraded=ran.layers), ran.layers
    after: tuple[tuple[Name, Stage | None], ...] = (("remove", stage.remove), ("purge", stage.purge))
    ends = [(name, command) for name, command in after if command]
    for name, command in ends:
        ran = site.run(name, command, last)
        told, last = ran.result(name), ran.layers
        if told.status == "done" and name == ends[-1][0]:
            told = _with_leftovers(told, site, last, stage)
        done = replace(done, stages=(*done.stages, told), said=ran.said)
        if told.status != "done":
            break
    return done


def _linted(ran: _Ran) -> StageResult:
    told = ran.result("lint")
    if told.status == "failed":
        return replace(told, status="unproven", detail=f"the tool could not be run: {told.detail}")
    if told.status == "unproven":
        return told
    assert ran.outcome is not None
    if ran.outcome.stdout.cut:
        why = f"the tool said more than {CAPTURE_BYTES >> 20} MiB, so an error may be among what was left out"
        return replace(told, status="unproven", detail=why)
    found = lint_lines.read(ran.outcome.stdout.text)
    status: Literal["done", "failed"] = "failed" if found.errors else "done"
    return replace(told, status=status, detail=found.summary, errors=found.errors, warnings=found.warnings)


def _with_leftovers(told: StageResult, site: _Site, layers: tuple[Path, ...], stage: Install) -> StageResult:
    engine, root = site.bench.engine, site.image.root
    shown = [HELPERS, *(bind.target for one in (stage, stage.older) if one for bind in one.binds)]
    try:
        found = leftovers(engine.listing(root, ()), engine.listing(root, layers), shown)
    except MachineError as problem:
        return replace(told, status="unproven", detail=problem.what)
    return replace(told, left=found.left, changed=found.changed, manager=found.manager, more=found.more)


def _forget(site: _Site) -> None:
    # A daemon that does not answer any more must not hide what a run found out.
    with suppress(MachineError):
        for layer in sorted(site.room.iterdir(), reverse=True):
            site.bench.engine.forget(layer)
