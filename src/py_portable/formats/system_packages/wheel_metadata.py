"""The metadata of the app's own wheel and the licences of all wheels, from the wheelhouse beside the folder that is
packed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from py_portable.lock.index import texts
from py_portable.steps.context import Context

_LICENCES = r"[^/]+\.dist-info/(?:licenses/.+|(?:LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*)"
_MOST_LICENCE_CHARS = 1 << 20
"""Of all licences of one project."""


def metadata_of(ctx: Context, distribution: str | None) -> str | None:
    """The text of METADATA; None where the folder was made elsewhere. Raises ConfigError for what is no wheel."""
    house = next((result for node, result in ctx.inputs.items() if node.kind == "wheelhouse"), None)
    if house is None:
        return None
    name = _own(house.meta, distribution)
    return next((texts.metadata_of(wheel) for project, wheel in _wheels(house.path) if project == name), None)


def licences_of(ctx: Context, distribution: str | None) -> tuple[str, dict[str, str]]:
    """The texts of the licences in the app's own wheel, and those in all others by project; ("", {}) where the folder
    was made elsewhere. Raises ConfigError for what is no wheel."""
    house = next((result for node, result in ctx.inputs.items() if node.kind == "wheelhouse"), None)
    found: dict[str, str] = {}
    for project, wheel in _wheels(house.path) if house else ():
        told = [text.strip() for _, text in sorted(texts.texts(wheel, _LICENCES).items())]
        if text := "\n\n".join(dict.fromkeys(filter(None, told))):
            found[project] = text[:_MOST_LICENCE_CHARS]
    return found.pop(_own(house.meta, distribution), "") if house else "", found


def _own(meta: Mapping[str, Any], distribution: str | None) -> str:
    """The project of the app."""
    return canonicalize_name(distribution or meta["app_wheel"].partition("-")[0])


def _wheels(house: Path) -> Iterator[tuple[str, Path]]:
    for wheel in sorted(house.glob("*.whl")):
        try:
            project, *_ = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename:
            continue
        yield project, wheel
