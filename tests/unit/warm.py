"""Command lines in processes of their own that need not import the kit first: each is forked from one that has.

A start takes half a second of a core, nearly all of it for imports, and the unit tests make hundreds. The process that
forks has done nothing but these imports, so a command meets what it meets in a fresh one: its own environment, folder,
streams, signals and exit status. What is about the start itself (streams that are closed, variables that Python reads)
is started by `subprocess`.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

SECONDS = 60
IMPORTED = (
    "cli",
    "project.session",
    "project.building",
    "commands.portability",
    "commands.prove",
    "commands.publish",
    "report",
)
FORKER = """
import importlib, json, os, signal, sys
for name in sys.argv[1:]:
    importlib.import_module(f"py_portable.{name}")
from py_portable.cli import main
for line in sys.stdin:
    told = json.loads(line)
    pid = os.fork()
    if not pid:
        os.setsid()
        os.chdir(told["cwd"])
        os.environ.clear()
        os.environ.update(told["environ"])
        for fd, name in enumerate((os.devnull, told["out"], told["err"])):
            opened = os.open(name, os.O_WRONLY if fd else os.O_RDONLY)
            os.dup2(opened, fd)
            os.close(opened)
        sys.stdin = open(0, closefd=False)
        signal.alarm(told["seconds"])
        main(told["words"])
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@cache
def _forker(environ: tuple[tuple[str, str], ...]) -> subprocess.Popen[str]:
    """One for each environment that decides how Python starts."""
    argv = [sys.executable, "-c", FORKER, *IMPORTED]
    child = subprocess.Popen(argv, env=dict(environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(child.communicate)
    return child


def run(words: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`py-portable WORDS…`; it is ended after SECONDS, by SIGALRM."""
    begins = tuple(
        sorted((name, value) for name, value in environ.items() if name.startswith(("PYTHON", "LANG", "LC_")))
    )
    child = _forker(begins)
    assert child.stdin and child.stdout
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        told = {"words": words, "cwd": str(cwd), "environ": dict(environ), "out": out.name, "err": err.name}
        child.stdin.write(json.dumps({**told, "seconds": SECONDS}) + "\n")
        child.stdin.flush()
        status = int(child.stdout.readline())
        return subprocess.CompletedProcess(list(words), status, out.read(), err.read())
