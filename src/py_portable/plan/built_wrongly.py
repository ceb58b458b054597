"""A control as nodes of the plan: an artifact whose steps are the same but for the one thing that is wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from py_portable.config import Artifact
from py_portable.formats import FORMATS, House, Parent
from py_portable.lock.lockfile import Lock
from py_portable.plan.controls import UNREPAIRED
from py_portable.plan.matrix import Control
from py_portable.steps.graph import ImageNode, Node, Step
from py_portable.steps.identity import NodeId
from py_portable.wheels import making


def built_wrongly(
    control: Control,
    artifact: Artifact,
    house: House | None,
    parent: Parent | None,
    lock: Lock,
    nodes: Mapping[NodeId, Node],
) -> list[Node]:
    """The nodes that the control has beside those of the plan; the last one is the control itself."""
    made: list[Node] = []
    steps = FORMATS[artifact.format].wrong_steps(control.name, artifact, parent)
    if not steps:
        assert house is not None
        wrong = (
            _unrepaired(control, house, nodes)
            if control.name == UNREPAIRED
            else _too_new(control, house, lock)
        )
        made, house = wrong
        steps = FORMATS[artifact.format].steps(artifact, house, parent)
    # What the change reaches is the control's own; the artifact keeps what it is made of.
    changed = [step.name for step in steps if nodes.get(step.name) != step]
    own = {name: replace(name, control=control.node) for name in changed}
    own[steps[-1].name] = control.node
    renamed = (
        replace(
            step, name=own.get(step.name, step.name), needs=tuple(own.get(need, need) for need in step.needs)
        )
        for step in steps
    )
    return [*made, *renamed]


def _too_new(control: Control, house: House, lock: Lock) -> tuple[list[Node], House]:
    """Its compiler's image alone is changed: the newest image of the matrix for the baseline."""
    newest = control.passes_on
    name = NodeId("control baseline", newest)
    image = ImageNode(
        name,
        newest,
        locked=lock.images.get(str(name)),
        origin=lock.origins.get(newest),
        archive=lock.archives.get(newest),
        needs=("compilers",),
    )
    return [image], replace(house, image=name)


def soname_of(package: str) -> str | None:
    """`libpq5` -> `libpq.so.5`: how Debian names the package of a library (Policy, 8.1); None for other names."""
    found = re.fullmatch(r"(lib[a-z0-9+.-]*?[a-z+])-?([0-9]+(?:\.[0-9]+)*)(?:t64)?", package)
    return f"{found[1]}.so.{found[2]}" if found else None


def _unrepaired(control: Control, house: House, nodes: Mapping[NodeId, Node]) -> tuple[list[Node], House]:
    """Its wheels alone are changed, in each of its wheelhouses: their repair leaves out the libraries of the packages
    that the image has where it must pass. If it is not known which these are, there is no repair at all.
    """
    made: list[Node] = []
    lacks = [soname for soname in map(soname_of, control.brings) if soname]

    def wrong(one: House) -> House:
        step, name = nodes[one.wheelhouse], replace(one.wheelhouse, control=control.node)
        assert isinstance(step, Step)
        if lacks:
            params = {**step.params, "lacks": lacks}
            made.append(replace(step, name=name, action=making.repair_without, params=params))
        else:
            made.append(replace(step, name=name, action=making.as_compiled, scripts=()))
        return replace(one, wheelhouse=name)

    return made, replace(wrong(house), others=tuple(map(wrong, house.others)))
