"""init, check, lock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from py_portable.cli.options import CONFIG, GivenPath, common, given, open_session
from py_portable.cli.show import clean, echo_json, ended_rows, tell_ended
from py_portable.errors import ConfigError

if TYPE_CHECKING:
    from py_portable.lock.lockfile import Lock
    from py_portable.project.session import Session


@click.command()
@click.option("--config", "-c", type=GivenPath(CONFIG), default=CONFIG, show_default=True)
@click.option("--force", is_flag=True, help="Overwrite an existing config.")
def init(config: Path, force: bool) -> None:
    """Write a first portable.yaml, with comments.

    It is made from what pyproject.toml says.
    """
    from py_portable.config.init import render

    if not config.parent.is_dir():
        raise ConfigError(
            "its folder does not exist",
            where=str(config),
            hint="make the folder first, or name another file: --config",
        )
    if config.is_symlink() and not config.exists():
        raise ConfigError(
            "is a link to a file that does not exist",
            where=str(config),
            hint="remove it, or name another file: --config",
        )
    if config.exists() and not config.is_file():
        raise ConfigError("is not a regular file", where=str(config), hint="name another file: --config")
    if config.exists() and not force:
        raise ConfigError("exists already", where=str(config), hint="replace it: py-portable init --force")
    config.write_text(render(config.absolute().parent), encoding="utf-8")
    click.echo(clean(f"wrote {config}; next: py-portable check, then py-portable build"))


@click.command()
@click.option("--print-schema", is_flag=True, help="Print the JSON schema of portable.yaml and exit.")
@common
def check(print_schema: bool, common: dict[str, Any]) -> None:
    """Check the config and its lock.

    The config must be valid, and the lock complete and up to date.
    """
    from py_portable import formats

    if print_schema:
        click.echo(formats.schema_text(), nl=False)
        return
    from py_portable.lock import lockfile

    session = open_session(common)
    stale = _stale(session, lockfile.load(session.lock_path))
    problems = "; ".join(f"{name} {why}" for name, why in stale.items())
    file, lock_file = session.config.path.name, session.lock_path.name
    if common["as_json"]:
        told = {
            "config": {"file": file, "valid": True, "artifacts": list(session.config.artifacts)},
            "lock": {"file": lock_file, "up_to_date": not stale, "stale": stale},
            "ended": ended_rows(session.config),
        }
        echo_json(told)
    else:
        click.echo(clean(f"{file}: valid; {len(session.config.artifacts)} artifacts"))
        click.echo(clean(f"{lock_file}: {problems or 'up to date'}"))
        tell_ended(session.config)
    if stale and common["locked"]:
        raise ConfigError(problems, where=lock_file, hint="run: py-portable lock")


def _stale(session: Session, lock: Lock) -> dict[str, str]:
    """What the lock lacks for the config, and why."""
    from py_portable.lock.backend import Unasked
    from py_portable.plan.assemble import houses

    stale = {}
    for baseline, python in houses(session.config):
        name = f"{baseline}/{python}"
        # Made of every house, locked or not: a Python that nothing here brings is wrong before anything is locked.
        resolver = session.resolver(lock, baseline, python, may_run=False)
        if name not in lock.houses:
            stale[name] = "is not locked yet"
            continue
        try:
            if not resolver.holds(lock.houses[name]):
                stale[name] = "is out of date"
        except Unasked as problem:
            stale[name] = f"may be out of date: {problem.what}"
    return stale


@click.command()
@click.option(
    "--update",
    multiple=True,
    metavar="NAME",
    help="Look up the package or image NAME again; '*' means all of them.",
)
@click.option(
    "--images",
    is_flag=True,
    help="Also make all images now, so that other jobs can take them from this store.",
)
@common
def lock(update: tuple[str, ...], images: bool, common: dict[str, Any]) -> None:
    """Write portable.lock: all versions and digests.

    Every package and image is looked up once. Commit the file: later runs then use exactly the same packages and
    images.
    """
    from py_portable.lock import lockfile

    update = given(update, "package")
    session = open_session(common)
    made = session.lock(update, force=bool(update))
    if update:
        made = session.update_images(update, made)
    made, lost = session.lock_images(made, make_all=images)
    for node, problem in lost.items():
        session.talk.say(f"{node} is not locked: {problem.what}")
    if common["as_json"]:
        echo_json({"file": str(session.lock_path), **json.loads(lockfile.dumps(made))})
        return
    for name, house in sorted(made.houses.items()):
        compiled = sum(not package.file.is_wheel for package in house.packages)
        click.echo(clean(f"{name}: {len(house.packages)} packages, {compiled} to compile"))
        for package in house.packages:
            click.echo(clean(f"  {package.file.file}  sha256:{package.file.sha256[:16]}…"))
    for name, identity in sorted(made.images.items()):
        click.echo(clean(f"{name}: {identity}"))
    click.echo(clean(f"wrote {session.lock_path}"))


COMMANDS = (init, check, lock)
