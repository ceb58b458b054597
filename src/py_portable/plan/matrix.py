"""Which cells a config and its plan come to: the one enumeration that runs and shards share. Pure."""

from __future__ import annotations

from collections.abc import Collection

from py_portable.config import Config
from py_portable.config.glibc import known_glibc
from py_portable.plan.asked import question
from py_portable.plan.assemble import Plan
from py_portable.plan.cell import PlannedCell
from py_portable.plan.expected import expects, starts_on


def matrix(
    config: Config,
    plan: Plan,
    *,
    images: Collection[str] = (),
    probes: Collection[str] | None = None,
    controls: bool = True,
) -> tuple[PlannedCell, ...]:
    """All cells in the order they are started in: of all images where none is named, with the config's probes
    where they are None."""
    conditions = ("plain", *(config.portability.probes if probes is None else probes))
    own = [
        PlannedCell(
            name,
            config.artifacts[name].format,
            spec.name,
            condition,
            smoke.args,
            expects(config.artifacts[name], spec),
            spec.optional,
            known_glibc(spec.name),
            question(config, name, smoke),
            smoke.exit,
        )
        for name in plan.artifacts
        for spec in starts_on(config, name)
        if not images or spec.name in images
        for condition in conditions
        for smoke in config.artifacts[name].smoke
    ]
    pairs = [
        PlannedCell(
            control.artifact,
            control.format,
            image,
            f"control:{control.name}",
            config.artifacts[control.artifact].smoke[0].args,
            expect,
            image_glibc=known_glibc(image),
            smoke=question(config, control.artifact, config.artifacts[control.artifact].smoke[0]),
            exit=config.artifacts[control.artifact].smoke[0].exit,
        )
        for control in (plan.controls if controls else ())
        for image, expect in ((control.fails_on, f"fail:{control.reason}"), (control.passes_on, "pass"))
    ]
    return (*own, *pairs)
