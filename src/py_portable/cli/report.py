"""report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from py_portable.base.atomic import write_whole
from py_portable.base.regular import sha256_of
from py_portable.cli.options import GivenPath, common
from py_portable.cli.show import clean, echo_json
from py_portable.errors import ConfigError

if TYPE_CHECKING:
    from py_portable.evidence.typed import Evidence
    from py_portable.report.annotations import Where


@click.command()
@click.argument("file", required=False, type=GivenPath())
@click.option("--allow-unproven", is_flag=True, help="Exit with 0 even if some cells are UNPROVEN.")
@click.option("--github", is_flag=True, help="Also print annotations for GitHub on stdout.")
@click.option("--gitlab", is_flag=True, help="Also write DIST/codequality.json for GitLab.")
@common
def report(
    file: Path | None, allow_unproven: bool, github: bool, gitlab: bool, common: dict[str, Any]
) -> None:
    """Write reports from the evidence.

    The files are DIST/report.md and DIST/junit.xml, and the scorecard is printed.

    FILE is evidence that `merge` wrote. The default is DIST/evidence.json. Nothing is built or started. The config only
    tells where files are, and gives annotations their line numbers and wheels.
    """
    from py_portable.evidence.conclude import conclude
    from py_portable.evidence.reading import read
    from py_portable.report import annotations, junit, markdown, text
    from py_portable.report.scorecard import scorecard
    from py_portable.report.summary import find

    dist = (common["dist"] or common["config"].absolute().parent / "dist").absolute()
    files = {"markdown": dist / "report.md", "junit": dist / "junit.xml"}
    if gitlab:
        files["codequality"] = dist / "codequality.json"
    # Of an earlier call: where this one gets no further, there is none.
    for path in files.values():
        if path.is_file():
            path.unlink()
    told = read(file or dist / "evidence.json")
    if file is None or file.absolute().is_relative_to(dist):
        told = _of_today(told, common["config"])
    conclusions = conclude(told, allow_unproven=allow_unproven)
    found = find(told, conclusions, _known(common["config"], told))
    blocks = scorecard(found)
    dist.mkdir(parents=True, exist_ok=True)
    write_whole(files["markdown"], markdown.render(blocks).encode())
    write_whole(files["junit"], junit.render(found))
    notes = annotations.notes(found)
    if gitlab:
        write_whole(files["codequality"], annotations.codequality(notes, _lines(common["config"])).encode())
    if common["as_json"]:
        paths = {name: str(path) for name, path in files.items()}
        echo_json({"conclusions": conclusions.told(), "files": paths})
    else:
        click.echo(text.render(blocks))
        if github:
            for line in annotations.github(notes, _lines(common["config"])):
                click.echo(line)
        if not common["quiet"]:
            click.echo(clean(f"written: {', '.join(str(path) for path in files.values())}"), err=True)
    if conclusions.problems:
        raise click.exceptions.Exit(1)


def _of_today(told: Evidence, path: Path) -> Evidence:
    """The evidence of this config, with all marked that answers another question than the config asks now."""
    from py_portable.formats import load_config
    from py_portable.project import stale

    of_run = told.get("config")
    try:
        if not of_run or of_run.get("file") != path.name or of_run["sha256"] == sha256_of(path):
            return told
        return stale.marked(told, load_config(path))
    except (OSError, ConfigError):
        return told


def _known(path: Path, told: Evidence) -> str | None:
    """The config's path from here, where it is the one that the evidence speaks of."""
    of_run = told.get("config")
    try:
        sha256 = sha256_of(path)
    except OSError:
        return None
    return os.path.relpath(path) if isinstance(of_run, dict) and of_run.get("sha256") == sha256 else None


def _lines(path: Path) -> Where:
    """The wheel that was given, else where the config speaks of the artifact; its first line where there is no config
    here, or a broken one."""
    from py_portable.formats import load_config

    # Both providers want a path below the repository's root, which is where their jobs begin.
    file = os.path.relpath(path)
    try:
        read = load_config(path)
    except ConfigError:
        return lambda _artifact, _wheel: (file, 1)

    def where(artifact: str | None, wheel: str | None) -> tuple[str, int]:
        own = [read.wheels.use / wheel] if read.wheels.use and wheel else [read.app.source]
        for given in filter(None, own):
            if given.name == wheel and given.is_file() and given.resolve().is_relative_to(Path.cwd()):
                return os.path.relpath(given), 1
        mark = read.marks.find(("artifacts", artifact) if artifact is not None else ("artifacts",))
        return file, mark.key_line if mark else 1

    return where


COMMANDS = (report,)
