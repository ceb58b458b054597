"""Divides cells into shards. Pure; the result does not depend on the order in the config.

What stays together is a piece: all cells of one artifact on one image, which share an install stage, or a control with
its twin. Pieces are put in a row, image by image, and the row is cut into equal lengths; a piece belongs to the part
in which it begins. So for n shards:
- every cell is in exactly one shard;
- no shard costs more than the average and the dearest piece;
- a shard has few images, and all but two of them whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from py_portable.errors import ConfigError
from py_portable.plan.cell import CellId, PlannedCell

TARGET_MS = 60_000
"""The least time that a shard should take, since its machine must be set up, too."""
IMAGE_MS = 5_000
"""The time that an image takes before its first cell; used only to decide how many shards are worth their set-up."""
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
    """Cells that stay together: those of one artifact on one image, or a control with its twin."""

    image: str
    name: str
    cells: tuple[PlannedCell, ...]
    cost: int


def partition(
    cells: Sequence[PlannedCell], costs: Mapping[CellId, int], *, limit: int, wanted: int | None = None
) -> tuple[Shard, ...]:
    """At most `limit` shards, and at most `wanted`; one in which no piece begins is left out.

    Raises ConfigError where more are wanted than the limit allows.
    """
    if wanted is not None and not 1 <= wanted <= limit:
        raise ConfigError(f"{wanted} shards are wanted; there may be 1 to {limit}", where="--shards")
    pieces = _pieces(cells, costs)
    number = min(wanted or _number(pieces), limit, max(1, len(pieces)))
    total, begun = sum(piece.cost for piece in pieces), 0
    place: dict[CellId, str] = {}
    for piece in sorted(pieces, key=lambda piece: (piece.image, piece.name)):
        place |= dict.fromkeys((cell.id for cell in piece.cells), f"shard-{begun * number // total + 1:03d}")
        begun += piece.cost
    return _shards(cells, place)


def by_image(cells: Sequence[PlannedCell], *, limit: int) -> tuple[Shard, ...]:
    """One shard for each image, for jobs that run inside it. Adding or removing an image changes no other shard.

    Raises ConfigError where there are more images than the limit allows.
    """
    images = dict.fromkeys(cell.image for cell in cells)
    if len(images) > limit:
        raise ConfigError(
            f"{len(images)} images need one job each, but at most {limit} jobs are possible",
            hint="name fewer images, or use an engine that starts several in one job: --engine docker",
        )
    return _shards(cells, {cell.id: image_shard(cell.image) for cell in cells})


def image_shard(image: str) -> str:
    """`debian:11` -> `debian-11-` and some digits of a hash, which stand for characters that are left out of the
    name."""
    readable = re.sub(r"[^a-z0-9]+", "-", image.lower()).strip("-")[-40:].strip("-")
    return f"{readable or 'image'}-{hashlib.sha256(image.encode()).hexdigest()[:8]}"


def _number(pieces: Sequence[_Piece]) -> int:
    """How many shards save time, compared with the set-up of their machines."""
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
