"""The app's own wheel, from the wheelhouse beside the folder that is packed: its metadata and its files."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from py_portable.base import zips
from py_portable.base.tarball import RefusedError
from py_portable.errors import ConfigError
from py_portable.lock.index import texts
from py_portable.steps.context import Context


def app_wheel(ctx: Context, distribution: str | None) -> Path | None:
    """None where the folder was made elsewhere."""
    house = next((result for node, result in ctx.inputs.items() if node.kind == "wheelhouse"), None)
    if house is None:
        return None
    name = canonicalize_name(distribution or house.meta["app_wheel"].partition("-")[0])
    for wheel in sorted(house.path.glob("*.whl")):
        try:
            project, *_ = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename:
            continue
        if project == name:
            return wheel
    return None


def metadata_of(ctx: Context, distribution: str | None) -> str | None:
    """The text of METADATA; None where the folder was made elsewhere. Raises ConfigError for what is no wheel."""
    wheel = app_wheel(ctx, distribution)
    return texts.metadata_of(wheel) if wheel else None


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
