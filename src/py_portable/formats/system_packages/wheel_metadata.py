"""The metadata of the app's own wheel, from the wheelhouse beside the folder that is packed."""

from __future__ import annotations

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from py_portable.lock.index import texts
from py_portable.steps.context import Context


def metadata_of(ctx: Context, distribution: str | None) -> str | None:
    """The text of METADATA; None where the folder was made elsewhere. Raises ConfigError for what is no wheel."""
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
            return texts.metadata_of(wheel)
    return None
