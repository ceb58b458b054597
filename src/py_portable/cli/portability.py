"""portability, merge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from py_portable.cli.options import GivenPath, common, given, open_session, probe_names, tier
from py_portable.cli.show import clean, echo_cell, echo_failures, echo_json, failure_status, table
from py_portable.errors import ConfigError

if TYPE_CHECKING:
    from py_portable.evidence.typed import CellResult


@click.command()
@click.option(
    "--image", "images", multiple=True, help="Start cells only on this image. Can be given several times."
)
@click.option(
    "--artifact", "artifacts", multiple=True, help="Start only this artifact. Can be given several times."
)
@click.option(
    "--probes", help="Probes to run instead of those of the config: names separated by commas, or 'none'."
)
@click.option("--controls/--no-controls", default=True, help="Also start the controls.  [default: controls]")
@tier
@click.option("--allow-unproven", is_flag=True, help="Exit with 0 even if some cells are UNPROVEN.")
@click.option(
    "--shard",
    envvar="PY_PORTABLE_SHARD",
    show_envvar=True,
    help="Start only the cells of this shard of the plan.",
)
@click.option(
    "--plan",
    type=GivenPath(),
    envvar="PY_PORTABLE_PLAN",
    show_envvar=True,
    help="The plan to which the shard belongs. [default: DIST/plan.json]",
)
@click.option(
    "--as-made",
    is_flag=True,
    help="Build nothing: start the artifacts as they were made on another machine, from a DIST folder that"
    " `build --carry` wrote there.",
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
    """Start every artifact on every image.

    Each is started under every condition that the config names, and its result is printed. Artifacts that are
    missing are built first.

    \b
    Example:
      py-portable portability --artifact binary --image debian:12
    """
    from py_portable.commands import portability as portability_command
    from py_portable.plan.selection import Selection

    selection = Selection(
        given(artifacts, "artifact") or None, given(images, "image") or None, probe_names(probes), controls
    )
    if shard and selection != Selection():
        raise click.UsageError(
            "--shard cannot be combined with --image, --artifact, --probes or --no-controls: the "
            "plan says what a shard starts"
        )
    session = open_session(common)
    selection, pinned = replace(selection, tier=tier), None
    if shard:
        from py_portable.commands import plan as plan_command

        sharding = plan_command.read(session, plan, as_made=as_made)
        selection, pinned = Selection.of_shard(sharding, shard), sharding.helpers
    several = {name for name, artifact in session.config.artifacts.items() if len(artifact.smoke) > 1}

    def tell(cell: CellResult) -> None:
        echo_cell(cell, one_of_several=cell.artifact in several)

    proved = portability_command.prove(
        session,
        selection,
        (lambda cell: None) if common["as_json"] else tell,
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
@click.option("--allow-unproven", is_flag=True, help="Exit with 0 even if some cells are UNPROVEN.")
def merge(files: tuple[Path, ...], output: Path | None, allow_unproven: bool) -> None:
    """Merge the evidence of several jobs.

    All FILES must belong to one run. The result is written to one file, and conclusions are drawn from it. Name the
    plan of the run (DIST/plan.json) as one of the FILES. Cells that the plan names and that no job started are then
    reported as UNPROVEN.

    \b
    Example:
      py-portable merge -o merged.json dist/plan.json parts/*.json
    """
    from py_portable.evidence import merge as evidence
    from py_portable.evidence.conclude import conclude
    from py_portable.evidence.reading import read
    from py_portable.evidence.typed import Evidence

    # The result is put in the place of what is there, which must be no folder and no device.
    if output and output.exists() and not output.is_file():
        raise ConfigError(
            "is not a regular file", where=str(output), hint="name a file: --output merged.json"
        )
    # What an earlier call left is not a result of this one, however this one ends.
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
