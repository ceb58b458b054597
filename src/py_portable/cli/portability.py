"""portability, prove, merge."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from py_portable.cli.options import common, open_session
from py_portable.cli.show import clean, echo_cell, echo_failures, table

MAX_SECONDS = 86400


@click.command()
@click.option("--image", "images", multiple=True, help="Only this image (may be given again).")
@click.option("--artifact", "artifacts", multiple=True, help="Only this artifact (may be given again).")
@click.option("--probes", help="Instead of the config's: names with commas, or 'none'.")
@click.option("--controls/--no-controls", default=True, help="Start the controls too.  [default: controls]")
@click.option("--allow-unproven", is_flag=True, help="Exit 0 although cells are UNPROVEN.")
@common
def portability(
    images: tuple[str, ...],
    artifacts: tuple[str, ...],
    probes: str | None,
    controls: bool,
    allow_unproven: bool,
    common: dict[str, Any],
) -> None:
    """Start every artifact on every image, under every condition that the config names."""
    from py_portable import portability as proving

    session = open_session(common)
    wanted = proving.Wanted(artifacts, images, _probes(probes), controls)
    proved = proving.prove(
        session,
        wanted,
        (lambda cell: None) if common["as_json"] else echo_cell,
        allow_unproven=allow_unproven,
    )
    if common["as_json"]:
        told = {"cells": [cell.told() for cell in proved.cells], "conclusions": proved.conclusions.told()}
        click.echo(json.dumps(told, indent=1))
    else:
        _conclude(proved)
    if proved.failures:
        echo_failures(proved.failures)
        raise click.exceptions.Exit(4)
    if proved.conclusions.problems:
        raise click.exceptions.Exit(1)


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--image", "images", multiple=True, required=True, help="An image (may be given again).")
@click.option("--probes", default="", help="Names with commas.")
@click.option("--expect", default="pass", show_default=True, help="pass or fail:REASON.")
@click.option("--stdout", "stdout", multiple=True, help="A line that stdout must have (may be given again).")
@click.option("--exit", "exit_status", default=0, show_default=True, help="The exit status it must have.")
@click.option("--timeout", default=20.0, show_default=True, help="Seconds.")
@click.option("--engine", default="auto", envvar="PY_PORTABLE_ENGINE", show_default=True)
@click.option("--allow-unproven", is_flag=True, help="Exit 0 although cells are UNPROVEN.")
@click.option("--json", "as_json", is_flag=True, help="Results as JSON on stdout.")
@click.option("--quiet", "-q", is_flag=True)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def prove(
    path: Path,
    images: tuple[str, ...],
    probes: str,
    expect: str,
    stdout: tuple[str, ...],
    exit_status: int,
    timeout: float,
    engine: str,
    allow_unproven: bool,
    as_json: bool,
    quiet: bool,
    args: tuple[str, ...],
) -> None:
    """Start an executable or folder that somebody else built: prove PATH --image debian:11 -- ARGS."""
    from py_portable.config import Smoke
    from py_portable.foreign import Foreign, prove_foreign
    from py_portable.talk import Talk

    if not re.fullmatch(r"pass|fail:[A-Za-z0-9][A-Za-z0-9 ._:-]*", expect):
        raise click.UsageError(f"--expect {expect!r}: expected pass or fail:REASON, such as fail:musl")
    # Written so that "nan" fails too.
    if not 0 < timeout <= MAX_SECONDS:
        raise click.UsageError(f"--timeout {timeout:g}: expected seconds, more than 0, at most {MAX_SECONDS}")
    smoke = Smoke(args=args, stdout=stdout, exit=exit_status, timeout=timeout)
    proved = prove_foreign(
        Foreign(path, images, ("plain", *(_probes(probes) or ())), smoke, expect),
        engine,
        (lambda cell: None) if as_json else echo_cell,
        Talk(quiet or as_json),
    )
    if as_json:
        click.echo(json.dumps([cell.told() for cell in proved], indent=1))
    bad = {"FAIL", "XPASS"} | (set() if allow_unproven else {"UNPROVEN"})
    if any(cell.verdict in bad for cell in proved):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Where to. [default: stdout]")
def merge(files: tuple[Path, ...], output: Path | None) -> None:
    """Merge evidence of shards into one, and conclude from it."""
    from py_portable import evidence
    from py_portable.conclude import conclude

    merged = evidence.merge([evidence.read(path) for path in files])
    conclusions = conclude(merged)
    told = {**merged, "conclusions": conclusions.told()}
    if output:
        evidence.write(output, told)
    else:
        click.echo(json.dumps(told, indent=1, sort_keys=True))
    for problem in conclusions.problems:
        click.echo(clean(problem), err=True)
    if conclusions.problems:
        raise click.exceptions.Exit(1)


def _probes(text: str | None) -> tuple[str, ...] | None:
    from py_portable.prove.conditions import CONDITIONS

    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip() and name.strip() != "none")
    for name in names:
        if name not in CONDITIONS or name == "plain":
            known = ", ".join(n for n in CONDITIONS if n != "plain")
            raise click.UsageError(f"there is no probe named {name!r}; there are: {known}")
    return names


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
        click.echo(f"control {control.name}: {control.verdict}: {clean(control.detail)}")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(conclusions.counts.items()))
    click.echo(f"\n{conclusions.verdict}: {counts}; evidence: {proved.evidence}")
    for problem in conclusions.problems:
        click.echo(f"  {clean(problem)}")


COMMANDS = (portability, prove, merge)
