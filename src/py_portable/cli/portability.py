"""portability, merge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from py_portable.cli.options import GivenPath, common, given, open_session, probe_names, tier
from py_portable.cli.show import clean, echo_cell, echo_failures, echo_json, failure_status, table
from py_portable.errors import ConfigError


@click.command()
@click.option("--image", "images", multiple=True, help="Use only this image. Can be repeated.")
@click.option("--artifact", "artifacts", multiple=True, help="Use only this artifact. Can be repeated.")
@click.option(
    "--probes", help="Probes to run instead of those of the config: names separated by commas, or 'none'."
)
@click.option("--controls/--no-controls", default=True, help="Also start the controls.  [default: controls]")
@tier
@click.option("--allow-unproven", is_flag=True, help="Exit with 0 even if cells are UNPROVEN.")
@click.option(
    "--shard", envvar="PY_PORTABLE_SHARD", help="Run only the cells that the plan gives to this shard."
)
@click.option(
    "--plan",
    type=GivenPath(),
    envvar="PY_PORTABLE_PLAN",
    help="The plan that the shard belongs to. [default: DIST/plan.json]",
)
@click.option(
    "--as-made", is_flag=True, help="Build nothing. Use the DIST folder that `build` made on another machine."
)
@common
def portability(
    images: tuple[str, ...],
    artifacts: tuple[str, ...],
    probes: str | None,
    controls: bool,
    tier: str,
    allow_unproven: bool,
    shard: str | None,
    plan: Path | None,
    as_made: bool,
    common: dict[str, Any],
) -> None:
    """Start every artifact on every image, under every condition that the config names."""
    from py_portable.commands import portability as portability_command
    from py_portable.plan.select import Selection

    selection = Selection(
        given(artifacts, "artifact") or None, given(images, "image") or None, probe_names(probes), controls
    )
    if shard and selection != Selection():
        raise click.UsageError(
            "a shard is what the plan says: no --image, --artifact, --probes, --no-controls"
        )
    session = open_session(common)
    selection, pinned = replace(selection, tier=tier), None
    if shard:
        from py_portable.commands import plan as plan_command

        sharding = plan_command.read(session, plan, as_made=as_made)
        selection, pinned = Selection.of_shard(sharding, shard), sharding.helpers
    proved = portability_command.prove(
        session,
        selection,
        (lambda cell: None) if common["as_json"] else echo_cell,
        allow_unproven=allow_unproven,
        as_made=as_made,
        pinned=pinned,
    )
    if common["as_json"]:
        told = {"cells": [cell.told() for cell in proved.cells], "conclusions": proved.conclusions.told()}
        echo_json(told)
    else:
        _conclude(proved)
    if proved.failures:
        echo_failures(proved.failures)
        raise click.exceptions.Exit(failure_status(proved.failures))
    if proved.conclusions.problems:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", "-o", type=GivenPath(), help="The file to write. [default: stdout]")
@click.option("--allow-unproven", is_flag=True, help="Exit with 0 even if cells are UNPROVEN.")
def merge(files: tuple[Path, ...], output: Path | None, allow_unproven: bool) -> None:
    """Merge the evidence of shards into one file, and draw conclusions from it.

    Pass the plan of the shards (DIST/plan.json) as one of the FILES: cells that it names and that no shard started are
    UNPROVEN.
    """
    from py_portable.evidence import merge as evidence
    from py_portable.evidence.conclude import conclude
    from py_portable.evidence.model import Evidence
    from py_portable.evidence.reading import read

    # The result is put in the place of what is there, which must be no folder and no device.
    if output and output.exists() and not output.is_file():
        raise ConfigError(
            "is not a regular file", where=str(output), hint="name a file: --output merged.json"
        )
    # What an earlier call left is no result of this one, however this one ends.
    if output and output.is_file() and output.resolve() not in [path.resolve() for path in files]:
        output.unlink()
    merged = evidence.merge([read(path) for path in files], shards=True)
    conclusions = conclude(merged, allow_unproven=allow_unproven)
    told: Evidence = {**merged, "conclusions": conclusions.told()}
    if output:
        evidence.write(output, told)
    else:
        echo_json(told, sort_keys=True)
    for problem in conclusions.problems:
        click.echo(clean(problem), err=True)
    if conclusions.problems:
        raise click.exceptions.Exit(1)


def _conclude(proved: Any) -> None:
    conclusions = proved.conclusions
    rows = [
        (
            name,
            f"glibc {conclusions.measured[name] or '-'}",
            f"glibc {proven.floor or '-'}",
            ", ".join(proven.holes) or "-",
        )
        for name, proven in conclusions.proven.items()
    ]
    click.echo("")
    click.echo(table(("artifact", "measured floor", "proven floor", "holes"), rows))
    for control in conclusions.controls:
        click.echo(clean(f"control {control.name}: {control.verdict}: {control.detail}"))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(conclusions.counts.items()))
    counts = counts or "no cell was started"
    click.echo("")
    click.echo(clean(f"{conclusions.verdict}: {counts}; evidence: {proved.evidence}"))
    for problem in conclusions.problems:
        click.echo(f"  {clean(problem)}")


COMMANDS = (portability, merge)
