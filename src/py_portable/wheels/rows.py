"""The rows about the wheels of a run in the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.utils import parse_wheel_filename

from py_portable.base.regular import sha256_of
from py_portable.inspect.elf.floor import wheel_floor
from py_portable.inspect.wheel_tags import platform
from py_portable.steps.context import Result
from py_portable.steps.identity import NodeId
from py_portable.wheels.nodes import COMPILED
from py_portable.wheels.published import NODE as PUBLISHED


def wheel_rows(results: Mapping[NodeId, Result]) -> list[dict[str, Any]]:
    """One row for each wheel of each wheelhouse, and for each that is to be published."""
    rows = []
    for node, result in results.items():
        if node == PUBLISHED:
            wheels = sorted(result.path.glob("*.whl"))
            rows += [_row(wheel, "publish", "published", wheel_floor(wheel).floor) for wheel in wheels]
        if node.kind != "wheelhouse":
            continue
        index = _names(results, NodeId("wheels", house=node.house))
        compiled = [one for one in results if one.kind in COMPILED and one.house == node.house]
        built = {name for one in compiled for name in _names(results, one)}
        for wheel in sorted(result.path.glob("*.whl")):
            origin = "index" if wheel.name in index else "built" if wheel.name in built else "repaired"
            rows.append(_row(wheel, str(node.house), origin, result.meta["floors"][wheel.name]))
    return rows


def _row(wheel: Path, place: str, origin: str, floor: str | None) -> dict[str, Any]:
    tags = sorted({tag.platform for tag in parse_wheel_filename(wheel.name)[3]})
    levels = [known.version for tag in tags if (known := platform(tag)).libc == "glibc"]
    return {
        "file": wheel.name,
        "place": place,
        "sha256": sha256_of(wheel),
        "tags": tags,
        "origin": origin,
        "claimed_floor": ".".join(map(str, min(levels))) if levels else None,
        "measured_floor": floor,
    }


def _names(results: Mapping[NodeId, Result], step: NodeId) -> set[str]:
    result = results.get(step)
    return {wheel.name for wheel in result.path.glob("*.whl")} if result else set()
