"""The install stage: as root, once for each artifact x image; all conditions start the same installation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from py_portable.engines.engine import Bind, Job
from py_portable.formats import Install
from py_portable.images import Image
from py_portable.prove.bench import Bench, Cell
from py_portable.prove.judge import Finding

INSTALL_SECONDS = 600.0
Place = tuple[str, str]


@dataclass(frozen=True)
class Installed:
    folder: Path
    target: str
    failure: str | None
    said: str


def install(
    cells: Iterable[Cell], bench: Bench, pool: ThreadPoolExecutor, stack: ExitStack
) -> Mapping[Place, Installed]:
    """The install stage, once for each artifact x image: all conditions start the same installation."""
    places = {
        (cell.artifact, cell.image_name): (cell.image, cell.start.install)
        for cell in cells
        if cell.image and cell.start.install
    }
    if not places:
        return {}
    room = stack.enter_context(bench.store.scratch("install"))
    room.chmod(0o755)
    folders = {place: room / str(number) for number, place in enumerate(places)}
    for folder in folders.values():
        folder.mkdir(mode=0o755)

    def fill(item: tuple[Place, tuple[Image, Install]]) -> Installed:
        place, (image, stage) = item
        outcome = bench.engine.run(
            Job(
                profile="build",
                root=image.root,
                argv=stage.argv,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"},
                binds=(*stage.binds, Bind(folders[place], stage.target, writable=True)),
                root_access="throw-away",
            ),
            timeout=INSTALL_SECONDS,
            log=bench.logs / f"install-{place[0]}-{place[1].replace('/', '_').replace(':', '-')}.log",
        )
        said = outcome.stderr.text + outcome.stdout.text
        lines = [line for line in said.splitlines() if line.strip()]
        failure = None if outcome.ok else f"exit status {outcome.status}: {lines[-1] if lines else ''}"
        return Installed(folders[place], stage.target, failure, said)

    ready = [(place, (image, stage)) for place, (image, stage) in places.items() if image and stage]
    return dict(zip(folders, pool.map(fill, ready), strict=True))


def finding_of_install(failure: str) -> Finding:
    return Finding("install", f"the install stage failed: {failure}")
