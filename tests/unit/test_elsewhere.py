"""macOS and Windows: the command line starts there and says what is possible, instead of a traceback.

Neither is at hand. A Python of Linux stands in for theirs, without the modules and names that theirs lack.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from py_portable.doctor import ELSEWHERE

STAND_IN = """
import importlib.abc, os, platform, signal, socket, sys

class Lacks(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

import click, encodings.idna, jsonschema, logging.handlers, multiprocessing.util, rich.console, selectors
import shutil, subprocess, tarfile, tempfile, urllib.request, yaml, zipfile  # noqa: they would ask for what is hidden
for name in MODULES:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Lacks())
for name in NAMES:
    where, _, attribute = name.partition(".")
    vars(sys.modules[where]).pop(attribute, None)
platform.system = lambda: SYSTEM
sys.argv[0] = "py-portable"
from py_portable.cli import main
main()
"""
UNIX_ONLY = ["fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"]
LINUX_ONLY = [
    *("os.pidfd_open", "os.memfd_create", "os.MFD_CLOEXEC", "os.setxattr", "os.getxattr", "os.listxattr"),
    *("os.removexattr", "os.unshare", "os.O_PATH", "os.O_TMPFILE", "os.copy_file_range", "os.sched_getaffinity"),
    *("signal.pidfd_send_signal", "socket.AF_NETLINK"),
]
POSIX_ONLY = [
    *("os.geteuid", "os.getuid", "os.getegid", "os.getgid", "os.setsid", "os.killpg", "os.mkfifo", "os.fchown"),
    *("os.chown", "os.lchown", "os.fork", "os.uname", "os.statvfs", "os.pread", "os.O_DIRECTORY", "os.O_NOFOLLOW"),
    *("os.O_CLOEXEC", "os.O_NONBLOCK", "os.sync", "os.getpgid", "os.WNOHANG", "os.fdatasync"),
    *("signal.SIGKILL", "signal.SIGHUP", "signal.SIGPIPE", "signal.SIGALRM", "signal.pthread_sigmask"),
]
SYSTEMS = {"Darwin": ([], LINUX_ONLY), "Windows": (UNIX_ONLY, [*LINUX_ONLY, *POSIX_ONLY])}


def start(system: str, *words: str) -> subprocess.CompletedProcess[str]:
    modules, names = SYSTEMS[system]
    head = f"SYSTEM, MODULES, NAMES = {system!r}, {modules!r}, {names!r}\n"
    return subprocess.run(
        [sys.executable, "-c", head + STAND_IN, *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["doctor", "--help"], ["build", "--help"]])
def test_help_is_shown(system: str, words: list[str]) -> None:
    done = start(system, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "py-portable" in done.stdout


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--fix"], ["doctor", "--fix", "--yes", "-q"]])
def test_the_doctor_says_what_is_possible_there(system: str, words: list[str]) -> None:
    done = start(system, *words)
    assert done.returncode == 3
    assert done.stderr == f"Error: this machine runs {system}\n  next: {ELSEWHERE}\n"
    assert done.stdout == ""


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "words", [["check"], ["build"], ["portability"], ["prove", "x", "--image", "debian:12"], ["gc"]]
)
def test_so_does_every_other_command(system: str, words: list[str]) -> None:
    done = start(system, *words)
    assert done.returncode == 3
    assert done.stderr == f"Error: this machine runs {system}\n  next: {ELSEWHERE}\n"
