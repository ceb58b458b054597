"""plan, build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from py_portable.cli.options import GivenCount, GivenPath, common, given, open_session, tier
from py_portable.cli.show import (
    clean,
    echo_failures,
    echo_json,
    ended_rows,
    failure_status,
    size,
    table,
    tell_ended,
)

if TYPE_CHECKING:
    from py_portable.config import Config
    from py_portable.plan.assemble import Plan
    from py_portable.project.handover import Carry


@click.command()
@click.argument("artifacts", nargs=-1, envvar="PY_PORTABLE_ARTIFACTS")
@click.option("--github", is_flag=True, help="Print the matrix of a GitHub workflow as one line of JSON.")
@click.option(
    "--gitlab",
    is_flag=True,
    help="Print a GitLab child pipeline. With --engine native it has one job for each image.",
)
@click.option(
    "--shards", type=GivenCount(1), help="The largest number of jobs. [default: as many as save time]"
)
@click.option(
    "--costs",
    type=GivenPath(),
    help="Evidence of an earlier run. Its times are used to give all jobs the same amount of work. [default:"
    " DIST/evidence.json]",
)
@click.option(
    "--job-prefix",
    default="py-portable",
    show_default=True,
    help="The beginning of the names of all GitLab jobs.",
)
@click.option(
    "--job-image",
    help="The image in which GitLab jobs run, except jobs that run inside the image that they test.",
)
@tier
@common
def plan(
    artifacts: tuple[str, ...],
    github: bool,
    gitlab: bool,
    shards: int | None,
    costs: Path | None,
    job_prefix: str,
    job_image: str | None,
    tier: str,
    common: dict[str, Any],
) -> None:
    """Show what would be built and started.

    The steps of `build` and `portability` are listed, and what is left out and why.

    With --github or --gitlab the cells are divided among several jobs: the jobs are printed, and DIST/plan.json says
    which job starts which cells.
    """
    from py_portable.plan.selection import Selection, known, narrow
    from py_portable.steps.graph import ImageNode, ordered

    if github + gitlab + common["as_json"] > 1:
        raise click.UsageError("use only one of --github, --gitlab and --json")
    if (shards or costs) and not (github or gitlab):
        raise click.UsageError("--shards and --costs need --github or --gitlab")
    artifacts = given(artifacts, "artifact")
    builds = gitlab and common["build_engine"] == "native"
    # Other jobs build: this one is in no baseline's image, and needs none.
    session = open_session({**common, "build_engine": ""} if builds else common)
    lock = session.lock()
    selection = known(session.config, Selection(artifacts or None, tier=tier))
    made = narrow(session.plan(lock), selection)
    if github or gitlab:
        from py_portable.commands import plan as plan_command

        jobs = plan_command.Jobs(
            "gitlab" if gitlab else "github",
            shards,
            inside=common["engine"] == "native",
            prefix=job_prefix or "py-portable",
            job_image=job_image or None,
            builds=builds,
        )
        told = plan_command.write(session, lock, made, jobs, costs)
        click.echo(told, nl=not told.endswith("\n"))
        return
    nodes = ordered(made.nodes, [*made.made, *made.nodes])
    if common["as_json"]:
        steps = [
            {
                "name": str(n.name),
                "needs": [str(need) for need in n.all_needs],
                "kind": "image" if isinstance(n, ImageNode) else "step",
            }
            for n in nodes
        ]
        left_out = [[str(one), one.why] for one in made.left_out]
        echo_json({"steps": steps, "left_out": left_out, "ended": ended_rows(session.config)})
        return
    rows = [
        (str(n.name), "image" if isinstance(n, ImageNode) else "step", ", ".join(map(str, n.all_needs)))
        for n in nodes
    ]
    click.echo(table(("step", "kind", "needs"), rows))
    click.echo("")
    click.echo(_cells(session.config, made))
    for one in made.left_out:
        click.echo(clean(f"left out: {one}: {one.why}"))
    tell_ended(session.config)


@click.command()
@click.argument("artifacts", nargs=-1, envvar="PY_PORTABLE_ARTIFACTS")
@click.option(
    "--carry",
    is_flag=True,
    help="Also put into DIST everything that another machine needs to start the cells (portability --as-made).",
)
@click.option(
    "--carry-all", is_flag=True, help="Like --carry, and also add what `benchmark --as-made` needs."
)
@click.option(
    "--ahead",
    is_flag=True,
    help="Also make what `portability` will need, images and controls, while compilers run.",
)
@click.option(
    "--baseline",
    default="",
    envvar="PY_PORTABLE_BASELINE",
    show_envvar=True,
    help="Build only the artifacts of this baseline. Give its name in the config, or its image.",
)
@tier
@common
def build(
    artifacts: tuple[str, ...],
    carry: bool,
    carry_all: bool,
    ahead: bool,
    baseline: str,
    tier: str,
    common: dict[str, Any],
) -> None:
    """Build the artifacts and put them into DIST.

    Without ARTIFACTS all of them are built. Nothing is built again that has not changed. The tier changes no
    artifact. It only decides whether --carry adds the controls.

    \b
    Example:
      py-portable build binary
    """
    from py_portable.plan.selection import Selection
    from py_portable.project import building, refreshing

    artifacts = given(artifacts, "artifact")
    session = open_session(common)
    if baseline:
        from py_portable.plan.baselines import of_baseline

        artifacts = of_baseline(session.config, baseline, artifacts)
    what: Carry = "all" if carry_all else "cells" if carry else "nothing"
    selection = Selection(artifacts or None, controls=ahead or what != "nothing", tier=tier)
    built = building.build(session, selection, ahead=ahead, carry=what)
    identities = refreshing.identities(session, built)
    refreshing.write_evidence(session, refreshing.refresh(session, identities, hashed=built.made.values()))
    if common["as_json"]:
        echo_json(list(built.rows))
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
    failures = {node: problem for node, problem in built.failures.items() if node not in built.plan.beside}
    # Its cells are UNPROVEN, and say so themselves.
    for name in built.failures.keys() - failures.keys():
        session.talk.say(f"{name}: {built.failures[name].what}")
    if failures:
        echo_failures(failures)
        raise click.exceptions.Exit(failure_status(failures))


def _cells(config: Config, plan: Plan) -> str:
    """What the matrix comes to: each smoke command of an artifact is a cell of its own; a control takes one."""
    starts = sum(len(config.artifacts[name].smoke) for name in plan.artifacts)
    own = [cell for cell in plan.cells if not cell.control]
    conditions = len({cell.condition for cell in own})
    commands = f" ({starts} smoke commands)" if starts != len(plan.artifacts) else ""
    return (
        f"{len(plan.artifacts)} artifacts{commands} x {len(plan.images)} images x {conditions} conditions = "
        f"{len(own)} cells, {len(plan.cells) - len(own)} more for controls"
    )


def _shown(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


COMMANDS = (plan, build)
