"""The command line: the contract that every entry point shares."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback

import click

from py_portable import __version__
from py_portable.cli import build, config, machine, portability, wheels
from py_portable.cli.show import lines
from py_portable.command import end_all
from py_portable.errors import MachineError, PortableError
from py_portable.redact import hide

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="py-portable")
def cli() -> None:
    """Build a Python command-line app in portable formats, and prove on a matrix of distributions that each
    artifact starts.

    Exit status: 0 all as expected; 1 something that was to hold does not; 2 config or command line wrong;
    3 the machine lacks something; 4 a build step failed; 130 interrupted.
    """


for room in (config, build, portability, wheels, machine):
    for command in room.COMMANDS:
        cli.add_command(command)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with the contract's status; never a traceback for a user's mistake."""
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding is no reason to stop half way.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(args, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        status = ended.exit_code
    except click.ClickException as problem:
        problem.show()
        status = 2
    except (click.Abort, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr)
        status = INTERRUPTED
    except PortableError as problem:
        print(hide(lines(problem.render())), file=sys.stderr)
        status = problem.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 1
    except OSError as problem:
        # What is not foreseen elsewhere: a folder that may not be written, a full disk, a folder that is gone.
        print(hide(lines(f"Error: {problem}")), file=sys.stderr)
        status = MachineError.exit_code
    except Exception:
        print(hide(traceback.format_exc()), file=sys.stderr)
        print(
            "Error: this is a defect of py-portable: please report it with the lines above", file=sys.stderr
        )
        status = 70
    # Worker threads that wait for an interrupted step must not keep the process, nor leave it behind.
    if status == INTERRUPTED:
        end_all()
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status or 0)


def _terminated(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
