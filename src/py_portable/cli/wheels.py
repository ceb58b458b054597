"""tags."""

from __future__ import annotations

from pathlib import Path

import click

from py_portable.cli.options import GivenPath


@click.command()
@click.argument("directory", type=GivenPath(must=True))
@click.argument("tags", nargs=-1, required=True)
@click.option("--exact", is_flag=True, help="Accept only these tags, not the tags of older glibc versions.")
@click.option("--names-only", is_flag=True, help="Check only the file names, without opening any wheel.")
def tags(directory: Path, tags: tuple[str, ...], exact: bool, names_only: bool) -> None:
    """Check the platform tags of wheels.

    Every wheel in DIRECTORY must have one of the TAGS, and its contents must keep the promise of its tag.

    \b
    Example:
      py-portable tags dist/wheels manylinux_2_28_x86_64 any
    """
    from py_portable.inspect.wheel_check import check_folder

    checked = check_folder(directory, tags, exact, names_only=names_only)
    click.echo(checked.render())
    if checked.exit_status:
        raise click.exceptions.Exit(checked.exit_status)


COMMANDS = (tags,)
