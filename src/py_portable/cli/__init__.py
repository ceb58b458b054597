"""The command line: the contract that every entry point shares."""

from __future__ import annotations

import functools
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from py_portable import __version__
from py_portable.base.process import end_all
from py_portable.base.redact import hide
from py_portable.cli import (
    benchmark,
    build,
    config,
    portability,
    prove,
    publish,
    report,
    streams,
    upkeep,
    wheels,
)
from py_portable.cli.show import clean, message
from py_portable.errors import ConfigError, MachineError, PortableError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="py-portable")
def cli() -> None:
    """Build a Python command-line app in portable formats, and prove that each artifact starts on a matrix of
    distributions.

    The usual order is: init, check, build, portability.

    \b
    Exit status:
      0    everything is as expected
      1    something failed that must not fail, or nothing can be said about it
      2    the config or the command line is wrong
      3    this machine lacks something (see: py-portable doctor)
      4    a build step failed
      130  the run was interrupted
    """


def _on_linux(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def wrapped(*args: Any, **options: Any) -> Any:
        if platform.system() != "Linux":
            from py_portable import doctor

            doctor.on_linux(doctor.observe())
        return callback(*args, **options)

    return wrapped


for room in (config, build, portability, prove, benchmark, report, wheels, publish, upkeep):
    for command in room.COMMANDS:
        if command.callback:
            command.callback = _on_linux(command.callback)
        cli.add_command(command)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with the contract's status; never a traceback for a user's mistake."""
    signal.signal(signal.SIGTERM, _terminated)
    streams.open_missing()
    streams.take_every_character()
    if platform.system() == "Linux":
        from py_portable.store.disk import keep_from_everybody  # Takes what other systems do not have.

        keep_from_everybody()
    try:
        status = _run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        streams.drop_stdout()
        status = 1
    except OSError as problem:
        # What is not foreseen elsewhere: a full disk, a folder that is gone, a stdout that takes no more.
        _say(_told(problem))
        status = MachineError.exit_code
        try:
            sys.stdout.flush()
        except OSError:
            streams.drop_stdout()
    # Worker threads that wait for an interrupted step must not keep the process, nor leave it behind.
    if status == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_all()
        os._exit(status)
    sys.exit(status)


def _run(args: list[str] | None) -> int:
    """The exit status. Raises OSError."""
    try:
        return cli.main(args, standalone_mode=False) or 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as problem:
        _show(problem)
        return ConfigError.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("Interrupted.")
        return INTERRUPTED
    except PortableError as problem:
        _say(message(problem))
        return problem.exit_code
    except OSError:
        raise
    except Exception:
        _say(traceback.format_exc())
        _say("Error: this is a bug in py-portable. Please report it, with the lines above.")
        return 70


def _show(problem: click.ClickException) -> None:
    """It quotes the command line, where a newline could begin a line that looks like a result."""
    shows_help = getattr(click.exceptions, "NoArgsIsHelpError", ())  # since click 8.2
    if isinstance(problem, click.UsageError) and not isinstance(problem, shows_help):
        problem = click.UsageError(clean(problem.format_message()), problem.ctx)
    problem.show()


def _told(problem: OSError) -> str:
    if problem.filename is None or not problem.strerror:
        return f"Error: {clean(str(problem))}"
    return f"Error: {clean(os.fsdecode(problem.filename))}: {problem.strerror}"


def _say(text: str) -> None:
    print(hide(text), file=sys.stderr)


def _terminated(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
