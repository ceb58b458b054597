"""Starts things in cells in turns, and keeps the times of cell-run, which do not include the time of the engine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py_portable.benchmark.pairs import CONFIDENCE, SAME_CONFIDENCE, Estimate, estimate, ratios, schedule
from py_portable.engines.engine import Bind, Engine
from py_portable.errors import UnmetError
from py_portable.prove.conditions import PLAIN
from py_portable.prove.start import job, start

TIMEOUT = 60.0
LEAST_MS = 0.001
"""What the kernel counts CPU time in: a start for which it says 0 took up to that."""
WARM_UP = 2
"""Starts before the first one that counts: they read the files into the page cache."""


@dataclass(frozen=True)
class Subject:
    """Something to start. `kept`: a folder that stays between starts and is its HOME and its /tmp.

    Without it every start has a fresh root, so an artifact that unpacks itself once makes a first start each time.
    """

    name: str
    argv: tuple[str, ...]
    binds: tuple[Bind, ...]
    format: str | None = None
    kept: Path | None = None
    start: str = "later"


@dataclass(frozen=True)
class Pairing:
    """`subject` is compared with `reference`; the two may be the same thing."""

    subject: Subject
    reference: Subject

    @property
    def same(self) -> bool:
        return self.subject is self.reference


@dataclass(frozen=True)
class Place:
    """The surroundings in which the cells are started."""

    engine: Engine
    root: Path
    helpers: Path
    account: tuple[Bind, ...]
    """What PLAIN shows in this root, see `Accounts.of`."""


@dataclass(frozen=True)
class Took:
    wall_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Compared:
    """The result of one pairing: the times of the subject, and the ratios to its reference, one for each pair."""

    pairing: Pairing
    wall: Estimate
    cpu: Estimate
    ratio: Estimate
    cpu_ratio: Estimate
    """The same of the CPU time, which what else runs on the machine changes less."""
    ratios: tuple[float, ...] = field(repr=False)

    def told(self, image: str) -> dict[str, Any]:
        """The result as a row of the evidence."""
        subject = self.pairing.subject
        return {
            "artifact": subject.name,
            "format": subject.format,
            "image": image,
            "against": self.pairing.reference.name,
            "start": subject.start,
            "pairs": len(self.ratios),
            "wall_ms": self.wall.told(2),
            "cpu_ms": self.cpu.told(2),
            "ratio": self.ratio.told(),
            "cpu_ratio": self.cpu_ratio.told(),
        }


Tell = Callable[[int], None]


def once(place: Place, subject: Subject) -> Took:
    """One start. Raises UnmetError where it does not end with exit status 0: its time would mean nothing."""
    started = start(
        place.engine,
        place.root,
        PLAIN,
        subject.argv,
        _binds(subject),
        place.helpers,
        TIMEOUT,
        account=place.account,
    )
    record = started.record
    if record is None or record.status != 0:
        said = started.stderr.text or started.stdout.text
        status = record.status if record and record.reached else started.trouble or "it was not reached"
        raise UnmetError(
            f"does not start as it should: {status}", where=subject.name, tail=said, hint=started.reproduce
        )
    return Took(record.wall_ns / 1e6, (record.user_us + record.sys_us) / 1e3)


def starter(place: Place, subject: Subject) -> tuple[str, ...]:
    """The command line that makes the same start by hand."""
    binds = _binds(subject)
    return place.engine.argv(
        job(place.root, PLAIN, subject.argv, binds, place.helpers, account=place.account)
    )


def _binds(subject: Subject) -> tuple[Bind, ...]:
    if subject.kept is None:
        return subject.binds
    return (
        *subject.binds,
        Bind(subject.kept / "home", str(PLAIN.home), writable=True),
        Bind(subject.kept / "tmp", "/tmp", writable=True),
    )


def compare(
    place: Place, pairings: Sequence[Pairing], pairs: int, seed: int = 0, tell: Tell = lambda _round: None
) -> list[Compared]:
    """All pairings, interleaved: a round has one pair of each. One start at a time.

    Raises UnmetError where something does not start, ValueError for too few pairs.
    """
    for subject in {id(s): s for p in pairings for s in (p.subject, p.reference)}.values():
        for _ in range(WARM_UP):
            once(place, subject)
    taken: Mapping[int, list[tuple[Took, Took]]] = {who: [] for who in range(len(pairings))}
    for number, turns in enumerate(schedule(len(pairings), pairs, seed)):
        tell(number)
        for turn in turns:
            pairing = pairings[turn.who]
            if turn.reference_first:
                other, own = once(place, pairing.reference), once(place, pairing.subject)
            else:
                own, other = once(place, pairing.subject), once(place, pairing.reference)
            taken[turn.who].append((own, other))
    return [_compared(pairing, taken[who]) for who, pairing in enumerate(pairings)]


def _compared(pairing: Pairing, taken: Sequence[tuple[Took, Took]]) -> Compared:
    found = ratios([subject.wall_ms for subject, _ in taken], [other.wall_ms for _, other in taken])
    cpu = ratios(
        [subject.cpu_ms for subject, _ in taken], [max(other.cpu_ms, LEAST_MS) for _, other in taken]
    )
    confidence = SAME_CONFIDENCE if pairing.same else CONFIDENCE
    return Compared(
        pairing,
        estimate([subject.wall_ms for subject, _ in taken]),
        estimate([subject.cpu_ms for subject, _ in taken]),
        estimate(found, confidence),
        estimate(cpu, confidence),
        tuple(found),
    )


def keeper(place: Place, subject: Subject, folder: Path) -> bool:
    """Whether a start leaves something in HOME or /tmp for the next one; it is left in `folder`, which is empty."""
    for name in ("home", "tmp"):
        path = folder / name
        path.mkdir(parents=True)
        path.chmod(0o1777)
        # As an ordinary user the app has another id in the cell, and the open mode has to do.
        with contextlib.suppress(PermissionError):
            os.chown(path, PLAIN.uid, PLAIN.uid)
            path.chmod(0o700 if name == "home" else 0o1777)
    once(place, Subject(subject.name, subject.argv, subject.binds, kept=folder))
    return any(_anything(folder / name) for name in ("home", "tmp"))


def _anything(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except PermissionError:
        return True
