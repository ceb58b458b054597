"""What a start of the command line imports: half a second of imports would be paid by each of a job's many commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "asyncio", "argparse", "email", "fractions", "http.client", "importlib.metadata", "jsonschema",
    "multiprocessing", "packaging", "pip", "rich", "ssl", "tarfile", "tomllib", "unittest", "urllib.request", "uv",
    "xml", "yaml", "zipfile", "zstandard",
}  # fmt: skip
NETWORK = {"asyncio", "http.client", "pip", "rich", "ssl", "urllib.request", "uv"}
ROOMS = ("benchmark", "commands", "config", "evidence", "formats", "lock", "project", "prove", "report", "steps")
WARM = ("project.building", "project.refreshing", "commands.portability")


def imported(code: str) -> set[str]:
    """The modules that are there after this code has run, in a process of its own."""
    told = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('\\n'.join(sys.modules))"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(told.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import py_portable.cli",
        "from py_portable.cli import main\ntry:\n    main(['--version'])\nexcept SystemExit: pass",
        "from py_portable.cli import main\ntry:\n    main(['build', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_the_command_line_imports_no_more_than_it_shows(code: str) -> None:
    found = imported(code)
    assert not found & HEAVY
    assert not found & {f"py_portable.{room}" for room in ROOMS}


def test_what_a_warm_build_imports_does_not_talk_to_the_network() -> None:
    assert not imported("".join(f"import py_portable.{name}\n" for name in WARM)) & NETWORK
