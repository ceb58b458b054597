"""Lists the cells of a config. This is the only place that does so. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    brings: tuple[str, ...] = ()
    """The packages that the image where it must pass has more."""
    asked_to_pass: tuple[str, ...] = ()
    """What stands before the arguments of its twin; empty if the image alone makes the difference."""

    def smokes(self, smoke: Smoke) -> tuple[Smoke, Smoke]:
        """The start that must fail, and the one of its twin."""
        return smoke, replace(smoke, args=(*self.asked_to_pass, *smoke.args))


def matrix(config: Config, controls: Sequence[Control]) -> tuple[PlannedCell, ...]:
    """All cells in the order in which they are started."""
    conditions = (PLAIN.name, *config.portability.probes)
    glibcs = {spec.name: spec.glibc for spec in config.portability.images}
    asked = {
        (name, smoke.args): question(config, name, smoke)
        for name, artifact in config.artifacts.items()
        for smoke in artifact.smoke
    }
    for control in controls:
        for smoke in control.smokes(config.artifacts[control.artifact].smoke[0]):
            asked[control.artifact, smoke.args] = question(config, control.artifact, smoke)

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
        cell(name, spec.name, condition, smoke, expects(artifact, spec, condition), spec.optional)
        for name, artifact in config.artifacts.items()
        for spec in starts_on(config, name)
        for condition in conditions
        for smoke in artifact.smoke
    ]
    pairs = [
        cell(control.artifact, image, str(ConditionId(control.name, control=True)), smoke, expect)
        for control in controls
        for image, expect, smoke in zip(
            (control.fails_on, control.passes_on),
            (f"fail:{control.reason}", "pass"),
            control.smokes(config.artifacts[control.artifact].smoke[0]),
            strict=True,
        )
    ]
    return (*own, *pairs)
