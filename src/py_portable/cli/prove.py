"""prove: cells for what somebody else built."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from py_portable.cli.options import (
    GivenPath,
    engine_option,
    given,
    json_option,
    probe_names,
    quiet_option,
    verbose_option,
)
from py_portable.cli.show import echo_cell, echo_json

LEAST_SECONDS = 0.01
MOST_SECONDS = 86400


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("path", type=GivenPath(must=True))
@click.option(
    "--image",
    "images",
    multiple=True,
    required=True,
    help="An image in which to start it. Can be given several times.",
)
@click.option("--program", help="The program to start, where PATH is a folder or a package that has several.")
@click.option(
    "--upgrade-from",
    "older",
    type=GivenPath(must=True),
    help="An older version of the package at PATH: it is installed first and then upgraded.",
)
@click.option("--probes", default="", help="Probes to run: names separated by commas.")
@click.option(
    "--expect",
    default="pass",
    show_default=True,
    help="The expected result of the start: `pass` or `fail:REASON`.",
)
@click.option(
    "--stdout", "stdout", multiple=True, help="A line that stdout must contain. Can be given several times."
)
@click.option(
    "--exit",
    "exit_status",
    type=click.IntRange(0, 255),
    default=0,
    show_default=True,
    help="The exit status that the program must have.",
)
@click.option("--timeout", default=20.0, show_default=True, help="The time limit of a start, in seconds.")
@engine_option
@click.option("--allow-unproven", is_flag=True, help="Exit with 0 even if some cells are UNPROVEN.")
@json_option
@quiet_option
@verbose_option
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def prove(
    path: Path,
    images: tuple[str, ...],
    program: str | None,
    older: Path | None,
    probes: str,
    expect: str,
    stdout: tuple[str, ...],
    exit_status: int,
    timeout: float,
    engine: str,
    allow_unproven: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    args: tuple[str, ...],
) -> None:
    """Start a program that was built elsewhere.

    PATH is an executable, a folder with one, or a package (.deb or .rpm), which is installed first and removed at the
    end. No config is needed. ARGS are passed to the program.

    \b
    Example:
      py-portable prove vendor/tool --image debian:11 --image debian:13 -- --version
    """
    from py_portable.base.talk import Talk
    from py_portable.commands.prove import ForeignApp, prove_foreign
    from py_portable.config import Smoke
    from py_portable.plan import verdicts

    if expect not in verdicts.EXPECTATIONS:
        known = ", ".join(verdicts.EXPECTED)
        raise click.UsageError(
            f"--expect {expect!r}: expected pass or fail:REASON, where REASON is one of: {known}"
        )
    # Written so that "nan" fails too.
    if not LEAST_SECONDS <= timeout <= MOST_SECONDS:
        raise click.UsageError(
            f"--timeout {timeout:g}: expected seconds, at least {LEAST_SECONDS}, at most {MOST_SECONDS}"
        )
    smoke = Smoke(args=args, stdout=stdout, exit=exit_status, timeout=timeout)
    proved = prove_foreign(
        ForeignApp(
            path, image_names(images), ("plain", *(probe_names(probes) or ())), smoke, expect, program, older
        ),
        engine,
        (lambda cell: None) if as_json else echo_cell,
        Talk(quiet or as_json, verbose),
    )
    if as_json:
        echo_json([cell.told() for cell in proved])
    bad = {"FAIL", "XPASS"} | (set() if allow_unproven else {"UNPROVEN"})
    if any(cell.verdict in bad for cell in proved) or all(
        cell.verdict == "NOT-APPLICABLE" for cell in proved
    ):
        raise click.exceptions.Exit(1)


def image_names(names: Iterable[str]) -> tuple[str, ...]:
    """Each image once, by the first of its names. Raises UsageError for none, and for one that is not printable."""
    from py_portable.config.glibc import canonical_image

    first: dict[str, str] = {}
    for name in given(names, "image"):
        first.setdefault(canonical_image(name), name)
    if not first:
        raise click.UsageError("--image is empty: name at least one, such as --image debian:11")
    return tuple(first.values())


COMMANDS = (prove,)
