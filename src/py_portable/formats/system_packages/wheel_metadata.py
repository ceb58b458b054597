"""The metadata and the files of the app's own wheel, and the licences of all wheels, from the wheelhouse beside the
folder that is packed."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from py_portable.base import zips
from py_portable.base.tarball import RefusedError
from py_portable.errors import ConfigError
from py_portable.lock.index import texts
from py_portable.steps.context import Context, Result

_LICENCES = r"[^/]+\.dist-info/(?:licenses/.+|(?:LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*)"
_MOST_LICENCE_CHARS = 1 << 20
"""Of all licences of one project."""


def app_wheel(ctx: Context, distribution: str | None) -> Path | None:
    """None where the folder was made elsewhere."""
    house = _house(ctx)
    if house is None:
        return None
    name = _own(house.meta, distribution)
    return next((wheel for project, wheel in _wheels(house.path) if project == name), None)


def metadata_of(ctx: Context, distribution: str | None) -> str | None:
    """The text of METADATA; None where the folder was made elsewhere. Raises ConfigError for what is no wheel."""
    wheel = app_wheel(ctx, distribution)
    return texts.metadata_of(wheel) if wheel else None


def licences_of(ctx: Context, distribution: str | None) -> tuple[str, dict[str, str]]:
    """The texts of the licences in the app's own wheel, and those in all others by project; ("", {}) where the folder
    was made elsewhere. Raises ConfigError for what is no wheel."""
    house = _house(ctx)
    found: dict[str, str] = {}
    for project, wheel in _wheels(house.path) if house else ():
        told = [text.strip() for _, text in sorted(texts.texts(wheel, _LICENCES).items())]
        if text := "\n\n".join(dict.fromkeys(filter(None, told))):
            found[project] = text[:_MOST_LICENCE_CHARS]
    return found.pop(_own(house.meta, distribution), "") if house else "", found


def members(wheel: Path, pattern: str, most: int) -> dict[str, bytes]:
    """The first group of each member's name that matches as a whole -> its contents, if these are at most `most` bytes.

    Raises ConfigError for what cannot be read.
    """
    wanted = re.compile(pattern)
    try:
        with zipfile.ZipFile(zips.checked(wheel)) as archive:
            found = ((wanted.fullmatch(info.filename), info) for info in archive.infolist())
            return {name[1]: archive.read(info) for name, info in found if name and info.file_size <= most}
    except (OSError, RefusedError, *zips.NO_ZIP) as problem:
        raise ConfigError(f"cannot be read as an archive: {problem}", where=wheel.name) from None


def _house(ctx: Context) -> Result | None:
    return next((result for node, result in ctx.inputs.items() if node.kind == "wheelhouse"), None)


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
