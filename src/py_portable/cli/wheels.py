"""tags, explain."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("tags", nargs=-1, required=True)
@click.option("--exact", is_flag=True, help="Plain set membership: older glibc is not admitted.")
def tags(directory: Path, tags: tuple[str, ...], exact: bool) -> None:
    """Check the platform tags of the wheels in DIRECTORY, and that their insides keep the promise."""
    from py_portable.wheels.check import check_folder

    checked = check_folder(directory, tags, exact)
    click.echo(checked.render())
    if checked.exit_status:
        raise click.exceptions.Exit(checked.exit_status)


COMMANDS = (tags,)
