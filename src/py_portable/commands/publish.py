"""`publish`: uploads wheels to a package index, but only wheels that were proven."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from py_portable.base.regular import sha256_of
from py_portable.errors import Blocked, ConfigError, UnmetError
from py_portable.evidence.conclude import BAD
from py_portable.evidence.typed import CellRow
from py_portable.formats import FORMATS
from py_portable.plan.cell import PLAIN, CellId, is_control
from py_portable.plan.expected import starts_on
from py_portable.plan.selection import Selection
from py_portable.project import building, refreshing
from py_portable.project.session import Session
from py_portable.wheels import twine


@dataclass(frozen=True)
class Upload:
    """A file that is to be uploaded. `sha256` is in hex."""

    path: Path
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Ready:
    """The files that can be uploaded, and the index. `unproven`: files that are included only because of
    --allow-unproven."""

    files: tuple[Upload, ...]
    target: twine.UploadTarget
    unproven: tuple[str, ...]


def ready(session: Session, repository: str | None, *, allow_unproven: bool = False) -> Ready:
    """Build the wheels that are to be published if they are not built yet, and compare them with the evidence.

    Raises ConfigError where the config publishes nothing, UnmetError where a wheel failed or was not proven, and
    the first problem of a build that failed.
    """
    if session.config.wheels.publish is None:
        raise ConfigError(
            "the config does not say which wheels to publish",
            where=session.config.where(("wheels",)),
            hint='name the Python versions: wheels: {publish: {pythons: ["3.13"]}}',
        )
    # First of all: a wrong name should not show after an hour of building.
    target = twine.target(repository, session.environment().environ)
    names = [
        name for name, artifact in session.config.artifacts.items() if FORMATS[artifact.format].published
    ]
    built = building.build(session, Selection(tuple(names), controls=False))
    # What lies between a cause and a wheel is of no use to anybody.
    for problem in sorted(built.failures.values(), key=lambda one: isinstance(one, Blocked)):
        raise problem
    cells = refreshing.refresh(session, refreshing.identities(session, built))["cells"]
    wanted = [
        CellId(name, spec.name, PLAIN, smoke.args)
        for name in names
        for spec in starts_on(session.config, name)
        if not spec.optional
        for smoke in session.config.artifacts[name].smoke
    ]
    digests = {row["name"]: row["sha256"] for row in built.rows}
    failed, unproven = objections(cells, digests, wanted)
    if failed or (unproven and not allow_unproven):
        raise UnmetError(
            "these wheels are not proven" if not failed else "these wheels failed on an image",
            tail="\n".join((*failed, *unproven)),
            hint=f"start them: py-portable portability {' '.join(f'--artifact {name}' for name in names)}",
        )
    paths = sorted(one for one in (session.dist / building.PUBLISH).iterdir() if one.is_file())
    twine.strict_check(paths)
    return Ready(tuple(map(_file, paths)), target, tuple(unproven))


def objections(
    cells: Sequence[CellRow], artifacts: Mapping[str, str], wanted: Collection[CellId]
) -> tuple[list[str], list[str]]:
    """(the failures, the unproven cells) of these artifacts (name -> sha256) in the evidence.

    Each of the cells `wanted` must be there, and each artifact must have passed somewhere. Pure.
    """
    own = [c for c in cells if artifacts.get(c["artifact"]) == c["sha256"] and not is_control(c)]
    failed = [f"{_name(c)}: {c['verdict']}: {c.get('detail')}" for c in own if c["verdict"] in BAD]
    seen = {CellId.of(c) for c in own}
    unproven = [
        f"{_name(c)}: {c.get('detail') or c.get('reason')}"
        for c in own
        if c["verdict"] == "UNPROVEN" and not c.get("optional")
    ]
    unproven += [f"{cell.artifact} on {cell.image}: was not started" for cell in wanted if cell not in seen]
    passed = {c["artifact"] for c in own if c["verdict"] == "PASS"}
    unproven += [f"{name}: has no PASS" for name in artifacts if name not in passed]
    return failed, unproven


def _name(cell: CellRow) -> str:
    condition = "" if cell["condition"] == "plain" else f", {cell['condition']}"
    return f"{cell['artifact']} on {cell['image']}{condition}"


def _file(path: Path) -> Upload:
    return Upload(path, sha256_of(path), path.stat().st_size)
