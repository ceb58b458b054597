"""publish."""

from __future__ import annotations

import os
from typing import Any

import click

from py_portable.cli.options import common, open_session
from py_portable.cli.show import clean, echo_json, size, table


@click.command()
@click.option("--dry-run", is_flag=True, help="Do everything except the upload. No repository is contacted.")
@click.option(
    "--repository",
    "-r",
    help="A repository named in ~/.pypirc, or a URL.  [default: the one that twine uses]",
)
@click.option("--skip-existing", is_flag=True, help="Skip files that the repository already has.")
@click.option("--allow-unproven", is_flag=True, help="Upload even if some wheels were not proven.")
@common
def publish(
    dry_run: bool,
    repository: str | None,
    skip_existing: bool,
    allow_unproven: bool,
    common: dict[str, Any],
) -> None:
    """Upload the app's own wheels, once proven.

    `portability` must have proven them first.

    The login comes from the environment (TWINE_USERNAME, TWINE_PASSWORD), from ~/.pypirc or from trusted
    publishing; it is never given on the command line.
    """
    from py_portable.commands import publish as publish_command
    from py_portable.wheels import twine

    repository = repository or None
    session = open_session(common)
    ready = publish_command.ready(session, repository, allow_unproven=allow_unproven)
    for line in ready.unproven:
        click.echo(clean(f"uploaded although it is not proven: {line}"), err=True)
    said: tuple[str, ...] = ()
    if not dry_run:
        paths = [file.path for file in ready.files]
        said = twine.upload(paths, repository, skip_existing=skip_existing, environ=os.environ)
    if common["as_json"]:
        told = {
            "files": [{"file": f.path.name, "sha256": f.sha256, "bytes": f.bytes} for f in ready.files],
            "repository": ready.target.url,
            "login": ready.target.login,
            "uploaded": not dry_run,
        }
        echo_json(told)
        return
    click.echo(
        table(("file", "size", "sha256"), [(f.path.name, size(f.bytes), f.sha256) for f in ready.files])
    )
    click.echo("")
    if dry_run:
        click.echo(clean(f"would upload {len(ready.files)} files to {ready.target.url}"))
        click.echo(clean(f"login: {ready.target.told()}"))
        return
    if not common["quiet"]:
        for line in said:
            click.echo(clean(line), err=True)
    click.echo(clean(f"uploaded {len(ready.files)} files to {ready.target.url}"))


COMMANDS = (publish,)
