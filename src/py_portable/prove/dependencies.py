"""Puts the packages that an artifact depends on into the images on which it is installed offline."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from py_portable.engines import ids
from py_portable.errors import PortableError
from py_portable.images import Image, Request
from py_portable.images.adding.derive import derive
from py_portable.images.from_debian import setup_of
from py_portable.prove.bench import Bench, Cell
from py_portable.prove.cell_runs import other_manager

_AS_IT_IS = ("host", "container")
"""The sources of images that nothing can be added to: cells start in the root of a job."""
_Place = tuple[str, tuple[str, ...]]


def provided(cells: Iterable[Cell], bench: Bench) -> list[Cell]:
    """The cells, on images that have what their artifacts depend on, as far as the image's own repositories have it.

    Each image is made once, by its own package manager, and is kept in the store. A cell whose image cannot be made has
    no image any more, and says why.
    """
    cells = list(cells)
    places = {place: cell.image for cell in cells if (place := _place(cell)) and cell.image}
    if not places:
        return cells
    prefix = ids.prefix()

    def made(item: tuple[_Place, Image]) -> Image | PortableError:
        (_, names), image = item
        request = Request(image.name, if_there=names, engine=bench.engine)
        try:
            setup = functools.partial(setup_of, image) if image.archive else None
            return replace(derive(image, request, bench.store, prefix, setup=setup), named=image.identity)
        except PortableError as problem:
            return problem

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = dict(zip(places, pool.map(made, places.items()), strict=True))
    return [_on(cell, found[place]) if (place := _place(cell)) else cell for cell in cells]


def _place(cell: Cell) -> _Place | None:
    """The image and the packages that the cell needs in it; None if it needs none."""
    image, install = cell.image, cell.start.install
    if image is None or image.named or install is None or image.source in _AS_IT_IS or other_manager(cell):
        return None
    return (image.identity, install.depends) if install.depends else None


def _on(cell: Cell, found: Image | PortableError) -> Cell:
    if isinstance(found, Image):
        return replace(cell, image=found)
    why = f"the packages that {cell.artifact} depends on cannot be added to it: {found.what}"
    return replace(cell, image=None, unavailable=why)
