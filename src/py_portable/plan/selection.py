"""Selects the part of the plan that a run does. It is decided only here; everything later follows that plan. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from py_portable.config import Config
from py_portable.config.glibc import canonical_image
from py_portable.errors import ConfigError
from py_portable.plan.assemble import LeftOut, OfShard, Plan
from py_portable.plan.cell import PLAIN, PlannedCell
from py_portable.plan.matrix import Control
from py_portable.plan.shards import Sharding
from py_portable.plan.tiers import PR, RELEASE
from py_portable.steps.graph import ordered

_Node = TypeVar("_Node")


@dataclass(frozen=True)
class Selection:
    """What the user asks for. None means everything that the config names, `()` means nothing of it."""

    artifacts: tuple[str, ...] | None = None
    images: tuple[str, ...] | None = None
    probes: tuple[str, ...] | None = None
    controls: bool = True
    tier: str = RELEASE
    shard: OfShard | None = None
    """The shard whose cells are started, and no others."""

    @classmethod
    def of_shard(cls, sharding: Sharding, name: str) -> Selection:
        """Raises ConfigError where the plan has no such shard."""
        shard = sharding.shard(name)
        return cls(shard.artifacts, shard.images, shard=OfShard(shard, sharding.digest))


def known(config: Config, selection: Selection) -> Selection:
    """The selection with the names of images as in the config: `debian:bullseye` becomes its `debian:11`.

    Raises ConfigError for an artifact or an image that the config does not name.
    """
    for name in selection.artifacts or ():
        if name not in config.artifacts:
            raise _unknown(f"no artifact is named {name}", config, ("artifacts",), config.artifacts)
    names = {canonical_image(spec.name): spec.name for spec in config.portability.images}
    for name in selection.images or ():
        if canonical_image(name) not in names:
            raise _unknown(f"no image is named {name}", config, ("portability", "images"), names.values())
    images = selection.images and tuple(names[canonical_image(name)] for name in selection.images)
    return replace(selection, images=images)


def _unknown(what: str, config: Config, path: tuple[str, ...], there: Iterable[str]) -> ConfigError:
    return ConfigError(what, where=config.where(path), hint=f"there are: {', '.join(there)}")


def narrow(plan: Plan, selection: Selection) -> Plan:
    """The selected part of the plan. All names exist in it. To narrow it twice gives the same as once."""
    artifacts = _only(plan.artifacts, selection.artifacts)
    images = _only(plan.images, selection.images)
    without = {control: _without_control(control, artifacts, selection) for control in plan.controls}
    left_out = [LeftOut(name, "not asked for") for name in plan.artifacts if name not in artifacts]
    left_out += [LeftOut(control.name, why, control=True) for control, why in without.items() if why]
    whole = selection.artifacts is None and selection.images is None and not selection.shard
    whole = whole and selection.controls and selection.tier != PR
    part = replace(
        plan,
        artifacts=artifacts,
        images=images,
        controls=tuple(control for control, why in without.items() if why is None),
        left_out=(*plan.left_out, *left_out),
        whole=plan.whole and whole,
        shard=selection.shard or plan.shard,
    )
    # A control that was built elsewhere has no node here.
    there = [node for node in part.targets if node in plan.nodes]
    return replace(
        part,
        cells=_cells(part, selection),
        scope=_scope(part, selection),
        nodes={node.name: node for node in ordered(plan.nodes, there)},
    )


def _only(named: Mapping[str, _Node], wanted: Collection[str] | None) -> dict[str, _Node]:
    return {name: node for name, node in named.items() if wanted is None or name in wanted}


def _without_control(control: Control, artifacts: Collection[str], selection: Selection) -> str | None:
    """The reason why a control is not started; None if it is."""
    if selection.shard:
        own = {(cell.control, cell.artifact) for cell in selection.shard.shard.cells}
        return None if (control.name, control.artifact) in own else "its cells are of another shard"
    if not selection.controls:
        return "not asked for"
    if selection.tier == PR:
        return f"the tier {PR} has none"
    if control.artifact not in artifacts:
        return f"it is a variant of {control.artifact}, which is not asked for"
    return None if selection.images is None else "it has images of its own, and others were named"


def _probes(selection: Selection) -> tuple[str, ...] | None:
    return () if selection.tier == PR and selection.probes is None else selection.probes


def _cells(part: Plan, selection: Selection) -> tuple[PlannedCell, ...]:
    """The cells of the selected artifacts, images and controls, in the order of the plan. A probe may be selected
    that is not in the config."""
    if selection.shard:
        return selection.shard.shard.cells
    controls = {(control.name, control.artifact) for control in part.controls}
    own = [c for c in part.cells if not c.control and c.artifact in part.artifacts and c.image in part.images]
    pairs = [c for c in part.cells if c.control and (c.control, c.artifact) in controls]
    probes = _probes(selection)
    if probes is not None:
        plain: dict[tuple[str, str], list[PlannedCell]] = {}
        for cell in own:
            if cell.condition == PLAIN.name:
                plain.setdefault((cell.artifact, cell.image), []).append(cell)
        conditions = (PLAIN.name, *probes)
        wanted = [
            replace(c, condition=name) for cells in plain.values() for name in conditions for c in cells
        ]
        # What a probe of the config expects may be another thing.
        there = {cell.id: cell for cell in own}
        own = [there.get(cell.id, cell) for cell in wanted]
    return (*own, *pairs)


def _scope(part: Plan, selection: Selection) -> tuple[str, ...]:
    """The scope of its evidence: a later run over the same scope replaces it."""
    if selection.shard:
        return (f"shard {selection.shard.shard.name}",)
    probes = _probes(selection)
    return (
        *(f"artifact {name}" for name in part.artifacts),
        *(f"image {name}" for name in selection.images or ()),
        *(("all probes",) if probes is None else (f"probe {name}" for name in probes)),
        *(("controls",) if selection.controls and selection.tier != PR else ()),
    )
