"""Foreign code on this machine without a sandbox: an environment by allow-list, and Landlock where there is.

Landlock (https://docs.kernel.org/userspace-api/landlock.html) needs no privilege and no namespace, so that it holds
in most containers too: the code reads programs and libraries only and writes into one folder. What it cannot take is
the right to change modes and times of files of the same user, and networks other than TCP.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from py_portable import resources
from py_portable.base import process
from py_portable.base.process import Outcome

NO_LANDLOCK = 117
_READ = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt"),
    *("/etc/alternatives", "/dev/zero", "/dev/random", "/dev/urandom"),
)


def _for_everybody() -> list[str]:
    """The files of /etc that every user may read: root could read the others, too."""
    found = (path for path in Path("/etc").iterdir() if path.is_file())
    return [str(path) for path in found if path.stat().st_mode & 0o004]


def environment(work: Path, epoch: int, more: Mapping[str, str]) -> dict[str, str]:
    """All that foreign code on this machine gets to see of an environment; `more` is what the config says."""
    home = work / "home"
    home.mkdir(exist_ok=True)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "SOURCE_DATE_EPOCH": str(epoch),
        **more,
    }


def run(
    argv: Sequence[str],
    *,
    work: Path,
    read: Sequence[Path],
    env: Mapping[str, str],
    log: Path,
    timeout: float,
) -> tuple[Outcome, bool]:
    """Run `argv`, which may write below `work` only and read that, `read` and the system's programs; and whether
    the kernel held it to that: without Landlock only the environment is kept from it."""
    python = [sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent)]
    places = [*_READ, *_for_everybody(), *python, *map(str, read)]
    spec = json.dumps({"read": places, "write": [str(work), "/dev/null"]})
    words = [*_start(spec), *argv] if has_landlock() else argv
    return process.run(words, cwd=work, env=env, timeout=timeout, log=log), has_landlock()


@functools.cache
def has_landlock() -> bool:
    """Asked before anything foreign runs: what that ends with must not decide whether it is held to its place."""
    return process.run(_start("{}"), timeout=60).status != NO_LANDLOCK


def _start(spec: str) -> list[str]:
    return [sys.executable, "-I", str(resources.path("build/apart.py")), spec]
