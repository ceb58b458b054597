"""Lists the cells of a config. This is the only place that does so. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from py_portable.config import Config, Smoke
from py_portable.plan.asked import question
from py_portable.plan.cell import PLAIN, ConditionId, PlannedCell
from py_portable.plan.expected import expects, starts_on
from py_portable.steps.identity import NodeId


@dataclass(frozen=True)
class Control:
    """An artifact built wrongly on purpose: it must fail on `fails_on` for `reason` and pass on `passes_on`."""

    name: str
    artifact: str
    format: str
    node: NodeId
    fails_on: str
    passes_on: str
    reason: str


def matrix(config: Config, controls: Iterable[Control]) -> tuple[PlannedCell, ...]:
    """All cells in the order in which they are started."""
    conditions = (PLAIN.name, *config.portability.probes)
    glibcs = {spec.name: spec.glibc for spec in config.portability.images}
    asked = {
        (name, smoke.args): question(config, name, smoke)
        for name, artifact in config.artifacts.items()
        for smoke in artifact.smoke
    }

    def cell(
        name: str, image: str, condition: str, smoke: Smoke, expect: str, optional: bool = False
    ) -> PlannedCell:
        return PlannedCell(
            name,
            config.artifacts[name].format,
            image,
            condition,
            smoke.args,
            expect,
            optional,
            glibcs[image],
            asked[name, smoke.args],
            smoke.exit,
        )

    own = [
        cell(name, spec.name, condition, smoke, expects(artifact, spec), spec.optional)
        for name, artifact in config.artifacts.items()
        for spec in starts_on(config, name)
        for condition in conditions
        for smoke in artifact.smoke
    ]
    pairs = [
        cell(
            control.artifact,
            image,
            str(ConditionId(control.name, control=True)),
            config.artifacts[control.artifact].smoke[0],
            expect,
        )
        for control in controls
        for image, expect in ((control.fails_on, f"fail:{control.reason}"), (control.passes_on, "pass"))
    ]
    return (*own, *pairs)
