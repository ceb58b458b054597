"""doctor, gc, bring."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from py_portable.cli.options import GivenPath, common, config_option
from py_portable.cli.show import clean, lines

if TYPE_CHECKING:
    from py_portable.engines.engine import Engine


@click.command()
@click.option("--fix", is_flag=True, help="Install what is missing: as root, or by sudo after asking.")
@click.option("--yes", "-y", is_flag=True, help="With --fix: use sudo without asking.")
@click.option("--store", "stored", is_flag=True, help="Check everything in the store, and nothing else.")
@click.option("--quiet", "-q", is_flag=True, help="Print only what is wrong.")
@config_option
def doctor(fix: bool, yes: bool, stored: bool, quiet: bool, config: Path) -> None:
    """Say what this machine lacks, start a canary on each engine, and name cause and cure.

    Exit status 3 where something is lacking that the kit, or a format of the config, cannot do without. Without a
    config only what all formats need has to be there. Where docker or podman works, nothing else has to be installed.

    --fix installs it through apt, dnf, zypper or pacman, and lists it before. An ordinary user is asked on a
    terminal before sudo is used; in a job of a CI (CI=true) sudo is used where it asks for no password. Elsewhere the
    line to paste is printed. PY_PORTABLE_NO_FIX=1 forbids it.

    With --store every byte of the store is read instead. What is damaged is moved aside and made again by the next run
    that needs it; exit status 1 says that there was some.
    """
    from py_portable import doctor as room

    if stored:
        if fix:
            raise click.UsageError("--store needs no --fix: what is damaged is made again by the next run")
        _check_store(quiet)
        return
    if fix:
        findings = room.ensure(_engines, _say, yes=yes, agreed=_agreed)
    else:
        findings = room.examine(_engines, formats=_formats(config))
    lacking = room.lacking(findings)
    if shown := lacking if quiet else findings:
        click.echo(lines(room.render(shown)))
    if lacking:
        if line := room.line(room.observe(), findings):
            click.echo(lines(f"\nTo paste into a shell, for all that is lacking:\n{line}"))
        raise click.exceptions.Exit(3)


def _say(text: str) -> None:
    click.echo(clean(text), err=True)


def _agreed(question: str) -> bool:
    return click.confirm(question, default=False, err=True)


def _check_store(quiet: bool) -> None:
    from py_portable.doctor import store_check
    from py_portable.store import Store, default_root

    def say(text: str) -> None:
        if not quiet:
            _say(text)

    checked = store_check.examine(Store(default_root(os.environ)), say)
    if told := store_check.render(checked, quiet=quiet):
        click.echo(lines("\n".join(told)))
    if not checked.sound:
        raise click.exceptions.Exit(1)


def _formats(path: Path) -> set[str]:
    """Those of the config. One that is not there, or not valid, says nothing of the machine."""
    from py_portable.errors import ConfigError
    from py_portable.formats import load_config

    try:
        return {artifact.format for artifact in load_config(path).artifacts.values()}
    except ConfigError:
        return set()


def _engines() -> Iterable[Engine]:
    from py_portable.engines.select import every
    from py_portable.engines.static_helpers.stored import helpers
    from py_portable.store import Store, default_root

    return every(helpers(Store(default_root(os.environ))))


@click.command()
@click.option(
    "--keep-days",
    default=30.0,
    show_default=True,
    help="Keep entries that were used within this number of days.",
)
def gc(keep_days: float) -> None:
    """Remove from the store, and from docker and podman, what has not been used for a while."""
    from py_portable.engines import daemon
    from py_portable.store import Store, default_root

    count = Store(default_root(os.environ)).gc(keep_days=keep_days)
    click.echo(f"removed {count} objects")
    for program in daemon.answering():
        daemon.sweep(program)
        daemon.forget_images(program, keep_days)
        click.echo(f"{program}: removed root file systems older than {keep_days:g} days")


@click.command()
@click.argument("folder", type=GivenPath(must=True))
@click.option(
    "--bundle",
    default="",
    help="The bundle of py-portable itself: a .tar.zst file, its URL, or its unpacked folder.",
)
@click.option("--sha256", default="", help="The SHA-256 of the archive. Required for a URL.")
def bring(folder: Path, bundle: str, sha256: str) -> None:
    """Make FOLDER a kit that starts in an image which has neither Python nor compiler.

    For jobs of a CI that run inside the images themselves: FOLDER/py-portable portability --engine native.
    """
    from py_portable.commands import bring as bring_command

    bring_command.bring(bundle, sha256, folder)


@click.command(hidden=True)
@click.argument("verb", type=click.Choice(["hand-on", "take", "store-in", "store-out", "look"]))
@click.argument("job", type=click.Choice(["plan", "build"]), default="build")
@common
def gitlab(verb: str, job: str, common: dict[str, Any]) -> None:
    """What GitLab's jobs call between two steps: what they hand on, and the cache."""
    from py_portable.ci.gitlab import job_files

    dist = common["dist"] or common["config"].parent / "dist"
    match verb:
        case "hand-on":
            baseline = os.environ.get("PY_PORTABLE_BASELINE", "")
            job_files.hand_on(job, common["config"], dist, _say, baseline=baseline)
        case "take":
            job_files.take(common["config"], dist, _say)
        case "store-in":
            job_files.store_in(os.environ, _say)
        case "store-out":
            job_files.store_out(os.environ, _say)
        case "look":
            from py_portable.ci.gitlab.look import choose

            click.echo(choose(common["config"], common["build_engine"], _say))


COMMANDS = (doctor, gc, bring, gitlab)
