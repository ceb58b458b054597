"""Cells -> shards: a pure, deterministic partition that stays much the same when the matrix grows by an image.

The algorithm is consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with
Bounded Loads", SODA 2018) over rendezvous hashing (Thaler and Ravishankar, 1998). An image ranks all shards by a hash
of the two names. Images take their turn in the order of their hashes, and each piece of an image (all its cells of one
artifact, which share an install stage) goes to the first shard of the ranking that has room for it: that stays within
(1 + SLACK) x average, or, where pieces are too big for what room is left, within the bound below. So an image is on few
shards, a piece that finds its first shard full overflows to the second, and nothing depends on numbers of order.

What holds, for n shards:
- every cell is in exactly one shard;
- no shard costs more than (1 + SLACK) x average + the dearest piece. There is always room: were all n shards without,
  they would hold more than all that there is;
- an image more moves only pieces that its cells crowd out, and those that the higher average now admits. This has no
  bound that is worth the name, only a measured one: over 30 artifacts x 400 images on 200 and 256 shards some 3 % of
  the cells move, and the tests hold it to STABLE. Where an image more makes a shard more, its part of 1/n comes on top
  and the average falls: up to 17 % of 10 artifacts x 60 images on 21 shards.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from py_portable.errors import ConfigError
from py_portable.plan.cell import CellId, PlannedCell

SLACK = Fraction(1, 8)
STABLE = Fraction(1, 10)
"""The part of a big matrix's cells that may at most change their shard when an image is added."""
TARGET_MS = 60_000
"""What a shard is to take at least, where one will do: its machine must be set up, too."""
IMAGE_MS = 5_000
"""What an image costs before the first cell, where it comes to how many shards are worth their set-up."""
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?")
"""Names of shards: safe as a job's, an artifact's and a file's name on every service, and in a shell."""


@dataclass(frozen=True)
class Shard:
    """A part of the matrix, for one job. `cells` are in the matrix's order."""

    name: str
    cells: tuple[PlannedCell, ...]

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.image for cell in self.cells))

    @property
    def artifacts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.artifact for cell in self.cells))

    def cost(self, costs: Mapping[CellId, int]) -> int:
        return sum(costs[cell.id] for cell in self.cells)


@dataclass(frozen=True)
class _Piece:
    """What stays together: cells of one artifact on one image, or a control with its twin."""

    image: str
    name: str
    cells: tuple[PlannedCell, ...]
    cost: int


def partition(
    cells: Sequence[PlannedCell], costs: Mapping[CellId, int], *, limit: int, wanted: int | None = None
) -> tuple[Shard, ...]:
    """At most `limit` shards, and at most `wanted`; one that no image ranks high enough gets no cell and is left out.

    Raises ConfigError where more are wanted than the limit allows.
    """
    if wanted is not None and not 1 <= wanted <= limit:
        raise ConfigError(f"{wanted} shards are wanted; there may be 1 to {limit}", where="--shards")
    pieces = _pieces(cells, costs)
    number = min(wanted or _number(pieces), limit, max(1, len(pieces)))
    names = [f"shard-{count:03d}" for count in range(1, number + 1)]
    room, most = _room(pieces, number)
    load = dict.fromkeys(names, 0)
    place: dict[CellId, str] = {}
    images: dict[str, list[_Piece]] = {}
    for piece in pieces:
        images.setdefault(piece.image, []).append(piece)
    for image in sorted(images, key=_hash):
        ranking = [name for _, name in sorted((_hash(image, name), name) for name in names)]
        for piece in sorted(images[image], key=lambda piece: _hash(piece.image, piece.name)):
            fitting = (name for cap in (room, most) for name in ranking if load[name] + piece.cost <= cap)
            name = next(fitting)
            load[name] += piece.cost
            place |= {cell.id: name for cell in piece.cells}
    return _shards(cells, place)


def by_image(cells: Sequence[PlannedCell], *, limit: int) -> tuple[Shard, ...]:
    """A shard an image, for jobs that run inside it: an image more or less touches no other shard.

    Raises ConfigError where there are more images than the limit allows.
    """
    images = dict.fromkeys(cell.image for cell in cells)
    if len(images) > limit:
        raise ConfigError(
            f"{len(images)} images need a job each, and {limit} are the most there may be",
            hint="name fewer images, or an engine that starts several in one job: --engine docker",
        )
    return _shards(cells, {cell.id: image_shard(cell.image) for cell in cells})


def image_shard(image: str) -> str:
    """`debian:11` -> `debian-11-` and a few digits of a hash, for what is cut off or left out of the name."""
    readable = re.sub(r"[^a-z0-9]+", "-", image.lower()).strip("-")[-40:].strip("-")
    return f"{readable or 'image'}-{hashlib.sha256(image.encode()).hexdigest()[:8]}"


def _room(pieces: Sequence[_Piece], number: int) -> tuple[int, int]:
    """What a shard should cost at most, and what it may where a piece finds no such shard; in milliseconds."""
    each = [piece.cost for piece in pieces]
    room = int((1 + SLACK) * sum(each) / number)
    return room, room + max(each, default=0)


def _number(pieces: Sequence[_Piece]) -> int:
    """How many shards are worth it."""
    images = len({piece.image for piece in pieces})
    return max(1, -(-(sum(piece.cost for piece in pieces) + IMAGE_MS * images) // TARGET_MS))


def _pieces(cells: Iterable[PlannedCell], costs: Mapping[CellId, int]) -> list[_Piece]:
    found: dict[tuple[str, str], list[PlannedCell]] = {}
    anchors: dict[tuple[str, str], str] = {}
    for cell in cells:
        # Both cells of a control start one file, which has to be built: the first one's image places them.
        name = json.dumps([cell.artifact, cell.control])
        image = (
            anchors.setdefault((cell.artifact, cell.condition), cell.image) if cell.control else cell.image
        )
        found.setdefault((image, name), []).append(cell)
    return [
        _Piece(image, name, tuple(own), sum(costs[cell.id] for cell in own))
        for (image, name), own in found.items()
    ]


def _shards(cells: Iterable[PlannedCell], place: Mapping[CellId, str]) -> tuple[Shard, ...]:
    found: dict[str, list[PlannedCell]] = {}
    for cell in cells:
        found.setdefault(place[cell.id], []).append(cell)
    return tuple(Shard(name, tuple(found[name])) for name in sorted(found))


def _hash(*words: str) -> bytes:
    return hashlib.blake2b("\0".join(words).encode(), digest_size=8).digest()
