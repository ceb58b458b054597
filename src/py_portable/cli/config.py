"""init, check, lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from py_portable.cli.options import common, open_session
from py_portable.errors import ConfigError


@click.command()
@click.option(
    "--config", "-c", type=click.Path(path_type=Path), default=Path("portable.yaml"), show_default=True
)
@click.option("--force", is_flag=True, help="Replace a config that is there.")
def init(config: Path, force: bool) -> None:
    """Write a commented portable.yaml from what pyproject.toml says."""
    from py_portable import config as configs

    if config.exists() and not force:
        raise ConfigError("is there already", where=str(config), hint="replace it: py-portable init --force")
    config.write_text(configs.render(config.absolute().parent))
    click.echo(f"wrote {config}; next: py-portable check, then py-portable build")


@click.command()
@click.option("--print-schema", is_flag=True, help="Print the JSON schema of portable.yaml and end.")
@common
def check(print_schema: bool, common: dict[str, Any]) -> None:
    """Validate the config and its lock."""
    from py_portable import config as configs

    if print_schema:
        click.echo(configs.schema_text(), nl=False)
        return
    from py_portable.lock import model
    from py_portable.lock.resolve import Resolver, Target
    from py_portable.plan.assemble import houses, target

    session = open_session(common)
    lock = model.load(session.lock_path)
    stale = []
    for baseline, python in houses(session.config):
        name = f"{baseline}/{python}"
        resolver = Resolver(
            session.config, session.store, Target(**target(session.config, baseline, python)), {}
        )
        if name not in lock.houses:
            stale.append(f"{name} is not locked yet")
        elif lock.houses[name].inputs != resolver.inputs():
            stale.append(f"{name} is out of date")
    click.echo(f"{session.config.path.name}: valid; {len(session.config.artifacts)} artifacts")
    click.echo(f"{session.lock_path.name}: {'; '.join(stale) if stale else 'up to date'}")
    if stale and common["locked"]:
        raise ConfigError("; ".join(stale), where=session.lock_path.name, hint="run: py-portable lock")


@click.command()
@click.option("--update", multiple=True, metavar="NAME", help="Take the newest version of NAME; '*' for all.")
@common
def lock(update: tuple[str, ...], common: dict[str, Any]) -> None:
    """Resolve every name once and write the digests into portable.lock."""
    session = open_session(common)
    made = session.lock(update, force=bool(update))
    for name, house in sorted(made.houses.items()):
        click.echo(
            f"{name}: {len(house.packages)} packages, {sum(not p.file.is_wheel for p in house.packages)} to compile"
        )
        for package in house.packages:
            click.echo(f"  {package.file.file}  sha256:{package.file.sha256[:16]}…")
    click.echo(f"wrote {session.lock_path}")


COMMANDS = (init, check, lock)
