"""`benchmark`: compares the artifacts of a config with their interpreters, and writes the result into the
evidence."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py_portable.base import process
from py_portable.benchmark.pairs import Estimate, noise
from py_portable.benchmark.subjects import Workshop, pairings
from py_portable.benchmark.turns import Compared, Pairing, Place, compare, starter
from py_portable.errors import ConfigError, MachineError, UnmetError
from py_portable.evidence import merge as evidence
from py_portable.evidence.typed import BenchmarkRow, Evidence
from py_portable.images import Image
from py_portable.plan.expected import expects
from py_portable.plan.selection import Selection
from py_portable.project import as_made, building, refreshing
from py_portable.project.session import Session
from py_portable.prove.accounts import ACCOUNT, Accounts
from py_portable.prove.conditions import PLAIN
from py_portable.prove.frozen import Freezer

EVERY = 10
"""The number of pairs between two progress messages."""


@dataclass(frozen=True)
class BenchmarkRequest:
    """`image` None: an image from the middle of the config's list. `module` None: the module of the console
    script."""

    artifacts: tuple[str, ...] = ()
    image: str | None = None
    args: tuple[str, ...] = ("--help",)
    module: str | None = None
    pairs: int = 30
    seed: int = 0
    hyperfine: bool = False
    as_made: bool = False
    """Whether artifacts that another machine made are taken from dist/, and none is built."""


@dataclass(frozen=True)
class Noise:
    """The comparison of a thing with itself; if `reason` is None, the machine was quiet enough."""

    name: str
    ratio: Estimate
    reason: str | None


@dataclass(frozen=True)
class Measured:
    image: str
    found: tuple[Compared, ...]
    """The comparisons, without those of a thing with itself."""
    same: tuple[Compared, ...]
    rows: tuple[Mapping[str, Any], ...]
    """The rows of `found`, as the evidence holds them."""
    evidence: Path
    hyperfine: str | None = None
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Artifacts that were not compared, and why: the files to compare them with were not passed on."""

    @property
    def noisy(self) -> tuple[Noise, ...]:
        return tuple(one for one in map(_noise, self.same) if one.reason)


def measure(session: Session, wanted: BenchmarkRequest) -> Measured:
    """Build what is missing, start all in pairs, write the evidence.

    Raises ConfigError for an image that the config does not name, UnmetError where something does not start as it
    should or has nothing beside it to be compared with, and what a build raises.
    """
    if wanted.hyperfine and not shutil.which("hyperfine"):
        raise MachineError("hyperfine is not installed", hint="install it, or run without --hyperfine")
    built = _built(session, wanted, wanted.image or _default_image(session, wanted))
    for problem in built.failures.values():
        raise problem
    ((image_name, node),) = built.plan.images.items()
    image = built.report.images[node]
    if built.lacking and not any(made.interpreter for made in built.made.values()):
        name, why = next(iter(built.lacking.items()))
        raise UnmetError(f"{name} cannot be compared: {why}")
    engine, info, _ = session.engine.chosen
    accounts = Accounts(session.store, engine, session.helpers(), able=ACCOUNT not in info.lacks)
    place = Place(engine, image.root, accounts.helpers, accounts.of(PLAIN, image.root))
    with ExitStack() as stack:
        room = stack.enter_context(session.store.scratch("benchmark"))
        room.chmod(0o755)
        freezer = Freezer(session.store, stack, reachable=place.engine.name == "native" and os.geteuid() == 0)
        shop = Workshop(session, place, image, room, freezer)
        try:
            todo = pairings(shop, built, wanted.args, wanted.module)
            found = compare(place, todo, wanted.pairs, wanted.seed, _tell(session, wanted, todo))
        except UnmetError:
            # Before an artifact is blamed, what the store gave out is looked at.
            session.store.require(*_keys(session, built, image))
            raise
        absolute = _hyperfine(place, todo) if wanted.hyperfine else None
    same = tuple(one for one in found if one.pairing.same)
    others = tuple(one for one in found if not one.pairing.same)
    digests = {name: made.sha256 for name, made in built.made.items()}
    rows = _rows(others, {one.name: one for one in map(_noise, same)}, digests, image_name, wanted)
    part: Evidence = {
        **session.told(),
        "host": session.host(),
        "artifacts": list(built.rows),
        "benchmark": rows,
    }
    evidence.write_part(session.dist / building.EVIDENCE, "benchmark", built.plan.scope, part)
    places = as_made.places(session) if wanted.as_made else None
    merged = refreshing.refresh(session, refreshing.identities(session, built), places)
    path = refreshing.write_evidence(session, merged)
    return Measured(image_name, others, same, tuple(rows), path, absolute, built.lacking)


def _keys(session: Session, built: building.Built, image: Image) -> set[str | None]:
    """The keys of all objects in the store that are started."""
    made = built.made.values()
    paths = [path for one in made for path in (one.stored, one.interpreter, one.wheelhouse) if path]
    return {image.key, *(session.store.key_of(path) for path in paths)}


def _built(session: Session, wanted: BenchmarkRequest, image: str) -> building.Built:
    selection = Selection(wanted.artifacts or None, (image,), (), controls=False)
    if wanted.as_made:
        return as_made.take(session, selection, compared=True)
    return building.build(session, selection, starts=True)


def _default_image(session: Session, wanted: BenchmarkRequest) -> str:
    """One from the middle of the list, neither optional nor one where an artifact of this run has to fail."""
    config = session.config
    named = [one for name, one in config.artifacts.items() if name in (wanted.artifacts or config.artifacts)]
    firm = [
        spec.name
        for spec in config.portability.images
        if not spec.optional and all(expects(artifact, spec) == "pass" for artifact in named)
    ]
    if not firm:
        raise ConfigError(
            "there is no image where every artifact is expected to pass",
            where="portability.images",
            hint="name artifacts and an image where they start: py-portable benchmark NAME --image IMAGE",
        )
    return firm[len(firm) // 2]


def _tell(session: Session, wanted: BenchmarkRequest, todo: Sequence[Pairing]) -> Callable[[int], None]:
    def tell(number: int) -> None:
        if number % EVERY == 0:
            session.talk.say(f"pair {number + 1} of {wanted.pairs}, {len(todo)} comparisons each")

    return tell


def _noise(one: Compared) -> Noise:
    return Noise(one.pairing.subject.name, one.ratio, noise(one.ratio))


def _rows(
    others: Sequence[Compared],
    noises: Mapping[str, Noise],
    digests: Mapping[str, str],
    image: str,
    wanted: BenchmarkRequest,
) -> list[BenchmarkRow]:
    rows: list[Any] = []
    for one in others:
        own = noises[one.pairing.reference.name]
        rows.append(
            {
                **one.told(image),
                "sha256": digests[one.pairing.subject.name],
                "args": list(wanted.args),
                "seed": wanted.seed,
                "same": own.ratio.told(),
                "noisy": own.reason,
            }
        )
    return rows


def _hyperfine(place: Place, todo: Sequence[Pairing]) -> str:
    """Absolute times, which hyperfine measures with the command lines that start the cells by hand."""
    subjects = {pairing.subject.name: pairing.subject for pairing in todo if pairing.subject.start == "later"}
    words = ["hyperfine", "--shell=none", "--warmup=2", "--style=basic"]
    for name, subject in subjects.items():
        words += ["--command-name", name, shlex.join(starter(place, subject))]
    return process.check(words, what="hyperfine").stdout.text
