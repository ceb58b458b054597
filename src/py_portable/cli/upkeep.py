"""doctor, gc, bring."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from py_portable.cli.options import GivenPath, common, config_option
from py_portable.cli.show import clean, lines, tell_ended

if TYPE_CHECKING:
    from py_portable.config import Config
    from py_portable.engines.engine import Engine


@click.command()
@click.option("--fix", is_flag=True, help="Install what is missing, as root or with sudo.")
@click.option("--yes", "-y", is_flag=True, help="With --fix: use sudo without asking.")
@click.option("--store", "stored", is_flag=True, help="Check the store for damage, and nothing else.")
@click.option("--quiet", "-q", is_flag=True, help="Print only what is wrong.")
@config_option
def doctor(fix: bool, yes: bool, stored: bool, quiet: bool, config: Path) -> None:
    """Say what this machine lacks, and how to get it.

    Each engine is tried with a small test program. The exit status is 3 if something is missing that py-portable,
    or a format of the config, needs. If docker or podman works, nothing else has to be installed.

    --fix lists the missing packages and installs them with apt, dnf, zypper or pacman. On a terminal an ordinary user
    is asked before sudo is used. In a CI job (CI=true) sudo is used if it asks for no password. Otherwise the line to
    paste is printed. PY_PORTABLE_NO_FIX=1 forbids any installation.

    --store reads every byte of the store instead. Damaged results are moved aside, and the next run that needs them
    makes them again. The exit status is 1 if there were any.
    """
    from py_portable import doctor as room

    if stored:
        if fix:
            raise click.UsageError(
                "--store and --fix cannot be combined: the next run makes again what is damaged"
            )
        _check_store(quiet)
        return
    told = _config(config)
    if fix:
        findings = room.ensure(_engines, _say, yes=yes, agreed=_agreed)
    else:
        formats = {artifact.format for artifact in told.artifacts.values()} if told else set()
        findings = room.examine(_engines, formats=formats)
    lacking = room.lacking(findings)
    if shown := lacking if quiet else findings:
        click.echo(lines(room.render(shown)))
    if told and not quiet:
        tell_ended(told)
    if lacking:
        if line := room.line(room.observe(), findings):
            click.echo(lines(f"\nPaste this line into a shell to get everything that is missing:\n{line}"))
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


def _config(path: Path) -> Config | None:
    """None for one that does not exist or is not valid: it says nothing about the machine."""
    from py_portable.errors import ConfigError
    from py_portable.formats import load_config

    try:
        return load_config(path)
    except ConfigError:
        return None


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
    help="Keep everything that was used within this number of days.",
)
def gc(keep_days: float) -> None:
    """Remove old results from the store.

    Images that py-portable made for docker and podman are removed, too.
    """
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
@click.option("--sha256", default="", help="The SHA-256 of the archive. Required if --bundle is a URL.")
def bring(folder: Path, bundle: str, sha256: str) -> None:
    """Unpack py-portable for images without Python.

    The bundle of py-portable itself is unpacked into FOLDER. CI jobs that run inside the images themselves use it:
    FOLDER/py-portable portability --engine native.
    """
    from py_portable.commands import bring as bring_command

    bring_command.bring(bundle, sha256, folder)


@click.command(hidden=True)
@click.argument("verb", type=click.Choice(["hand-on", "take", "store-in", "store-out", "look"]))
@click.argument("job", type=click.Choice(["plan", "build"]), default="build")
@common
def gitlab(verb: str, job: str, common: dict[str, Any]) -> None:
    """The steps of GitLab's jobs: pass files to later jobs, and use the cache."""
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
