"""report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from py_portable.cli.options import GivenPath, common
from py_portable.cli.show import clean


@click.command()
@click.argument("file", required=False, type=GivenPath())
@click.option("--allow-unproven", is_flag=True, help="Exit 0 although cells are UNPROVEN.")
@common
def report(file: Path | None, allow_unproven: bool, common: dict[str, Any]) -> None:
    """Write DIST/report.md and DIST/junit.xml from evidence, and print the scorecard.

    FILE is the evidence, as `merge` writes it; DIST/evidence.json where none is given. Nothing is built or started,
    and neither config nor lock is read.
    """
    from py_portable import evidence
    from py_portable.conclude import conclude
    from py_portable.report import junit, markdown, text
    from py_portable.report.findings import find
    from py_portable.report.scorecard import scorecard

    dist = (common["dist"] or common["config"].absolute().parent / "dist").absolute()
    told = evidence.read(file or dist / "evidence.json")
    conclusions = conclude(told, allow_unproven=allow_unproven)
    found = find(told, conclusions)
    blocks = scorecard(found)
    files = {"markdown": dist / "report.md", "junit": dist / "junit.xml"}
    dist.mkdir(parents=True, exist_ok=True)
    _write(files["markdown"], markdown.render(blocks).encode())
    _write(files["junit"], junit.render(found))
    if common["as_json"]:
        paths = {name: str(path) for name, path in files.items()}
        click.echo(json.dumps({"conclusions": conclusions.told(), "files": paths}, indent=1))
    else:
        click.echo(text.render(blocks))
        if not common["quiet"]:
            click.echo(clean(f"written: {files['markdown']} and {files['junit']}"), err=True)
    if conclusions.problems:
        raise click.exceptions.Exit(1)


def _write(path: Path, data: bytes) -> None:
    """In the place of what is there, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(data)
    fresh.replace(path)


COMMANDS = (report,)
