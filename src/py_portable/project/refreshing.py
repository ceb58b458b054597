"""Makes evidence.json of a dist folder: the merge of its parts, without what is no longer true."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from py_portable.evidence import merge
from py_portable.evidence.reading import read
from py_portable.evidence.typed import Evidence
from py_portable.formats import Made
from py_portable.plan.assemble import image_node
from py_portable.plan.cell import CellId, is_control
from py_portable.project import stale
from py_portable.project.building import EVIDENCE, Built
from py_portable.project.session import Session
from py_portable.store import digest, file_mode


def refresh(
    session: Session,
    identities: Mapping[str, str | None] | None = None,
    places: Mapping[str, Path] | None = None,
    hashed: Collection[Made] = (),
) -> Evidence:
    """Makes evidence.json from the parts. It keeps only what fits the present config and the artifacts in dist/.

    `places`: where artifacts lie, where the parts cannot tell it: they name the paths of another machine. `hashed`:
    those whose bytes were hashed in dist/ a moment ago: that is not done again.
    """
    parts = merge.read_parts(session.dist / EVIDENCE)
    paths = places
    # The newest word on where an artifact lies: an older payload of another name may still be there.
    newest = merge.merge([{**part, "cells": []} for part in parts])["artifacts"]
    if paths is None:
        told = {row["name"]: row.get("path") for row in newest}
        paths = {name: session.config.base / path for name, path in told.items() if isinstance(path, str)}
    modes = {row["name"]: row.get("mode") for row in newest}
    known = {made.path: made.sha256 for made in hashed}
    current = {
        # What has another mode than what was built is another thing, though its bytes are the same.
        name: (known.get(path) or digest(path)) if _has_mode(path, modes.get(name)) else "another mode"
        for name, path in paths.items()
        if name in session.config.artifacts and path.exists()
    }
    config = session.config
    parts = [_without_old_controls(part, current) for part in parts]
    now = stale.questions(config)
    answers, old = stale.split(parts, config, now)
    merged = merge.merge(answers, artifacts=current, identities=identities)
    outdated = merge.merge(old, artifacts=current, identities=identities)
    seen = {CellId.of(cell) for cell in merged["cells"]}
    marked = [stale.mark(cell) for cell in outdated["cells"] if CellId.of(cell) not in seen]
    merged["cells"] = sorted([*merged["cells"], *marked], key=CellId.of)

    def asked(cell: CellId) -> bool:
        return cell in now or cell.condition.control

    merged["cells"] = [row for row in merged["cells"] if asked(CellId.of(row))]
    merged["expected"] = [row for row in merged["expected"] if asked(CellId.read(row))]
    merged["expected_cells"] = len(merged["expected"])
    images = {spec.name for spec in config.portability.images}
    merged["benchmark"] = [
        row
        for row in merged["benchmark"]
        if row.get("image") in images and current.get(row.get("artifact", "")) == row.get("sha256", "")
    ]
    names = {*config.artifacts, *(f"control {control}" for control in config.portability.controls)}
    merged["failures"] = [row for row in merged["failures"] if row["name"] in names]
    return merged


def identities(session: Session, built: Built) -> dict[str, str | None]:
    """The identities of all images in the config. For an image that this run does not use, the lock gives it, so that
    earlier results on it stay."""
    nodes = {spec.name: image_node(spec.name) for spec in session.config.portability.images}
    return {
        name: image.identity if (image := built.report.images.get(node)) else built.lock.images.get(str(node))
        for name, node in nodes.items()
    }


def _has_mode(path: Path, built: str | None) -> bool:
    mode = file_mode(path)
    return built is None or mode is None or f"{mode:04o}" == built


_BASIS = {"artifacts": ("name", "sha256"), "cells": ("artifact", "image", "condition", "argv", "verdict")}


def write_evidence(session: Session, merged: Evidence) -> Path:
    """Write evidence.json. Earlier conclusions are kept as long as the artifacts and the cells are the same."""
    path = session.dist / "evidence.json"
    old = read(path) if path.exists() else {}
    if old.get("conclusions") and all(_what(old, name) == _what(merged, name) for name in _BASIS):
        merged = {**merged, "conclusions": old["conclusions"]}
    merge.write(path, merged)
    return path


def _what(told: Mapping[str, Any], name: str) -> list[tuple[Any, ...]]:
    return [tuple(row.get(key) for key in _BASIS[name]) for row in told.get(name, ())]


def _without_old_controls(part: Evidence, current: Mapping[str, str]) -> Evidence:
    """Drops controls whose artifact was built again, since a control is a variant of one build."""
    about = {row["name"]: row["sha256"] for row in part.get("artifacts", ())}
    cells = [
        cell
        for cell in part.get("cells", ())
        if not is_control(cell) or about.get(cell["artifact"]) == current.get(cell["artifact"])
    ]
    return {**part, "cells": cells}
