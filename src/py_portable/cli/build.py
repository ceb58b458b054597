"""plan, build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from py_portable.cli.options import common, given, open_session
from py_portable.cli.show import clean, echo_failures, failure_status, size, table

if TYPE_CHECKING:
    from py_portable.config import Config
    from py_portable.plan.assemble import Plan


@click.command()
@click.argument("artifacts", nargs=-1)
@common
def plan(artifacts: tuple[str, ...], common: dict[str, Any]) -> None:
    """Show the steps that a build and a proof come to, and what is left out and why."""
    from py_portable.steps.graph import ImageNode, ordered

    artifacts = given(artifacts, "artifact")
    session = open_session(common)
    made = session.plan(session.lock(), artifacts)
    nodes = ordered(made.nodes, [*(n for n in made.artifacts.values() if n), *made.nodes])
    if common["as_json"]:
        told = [
            {
                "name": n.name,
                "needs": list(n.all_needs),
                "kind": "image" if isinstance(n, ImageNode) else "step",
            }
            for n in nodes
        ]
        click.echo(json.dumps({"steps": told, "left_out": [list(pair) for pair in made.left_out]}, indent=1))
        return
    rows = [(n.name, "image" if isinstance(n, ImageNode) else "step", ", ".join(n.all_needs)) for n in nodes]
    click.echo(table(("step", "kind", "needs"), rows))
    click.echo("")
    click.echo(_cells(session.config, made))
    for what, why in made.left_out:
        click.echo(clean(f"left out: {what}: {why}"))


@click.command()
@click.argument("artifacts", nargs=-1)
@common
def build(artifacts: tuple[str, ...], common: dict[str, Any]) -> None:
    """Build the artifacts (all, or those that are named) into dist/."""
    from py_portable import build as building

    artifacts = given(artifacts, "artifact")
    session = open_session(common)
    built = building.build(session, artifacts)
    known = {name: built.lock.images.get(node) for name, node in built.plan.images.items()}
    building.write_evidence(session, building.refresh(session, known))
    if common["as_json"]:
        click.echo(json.dumps(list(built.rows), indent=1))
    else:
        rows = [
            (
                r["name"],
                r["format"],
                _shown(r["path"]),
                size(r["bytes"]),
                f"glibc {r['measured_floor']}" if r["measured_floor"] else "-",
                "cached" if r["cached"] else f"{r['seconds']:.0f} s",
            )
            for r in built.rows
        ]
        click.echo(table(("artifact", "format", "path", "size", "measured floor", "built"), rows))
    if built.failures:
        echo_failures(built.failures)
        raise click.exceptions.Exit(failure_status(built.failures))


def _cells(config: Config, plan: Plan) -> str:
    """What the matrix comes to: each smoke command of an artifact is a cell of its own; a control takes one."""
    starts = sum(len(config.artifacts[name].smoke) for name in plan.artifacts)
    images, conditions = len(config.portability.images), 1 + len(config.portability.probes)
    commands = f" ({starts} smoke commands)" if starts != len(plan.artifacts) else ""
    return (
        f"{len(plan.artifacts)} artifacts{commands} x {images} images x {conditions} conditions = "
        f"{starts * images * conditions} cells, {2 * len(plan.controls)} more for controls"
    )


def _shown(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


COMMANDS = (plan, build)
