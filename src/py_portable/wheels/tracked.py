"""The files that git tracks in a source folder: some build systems include them although nothing else names them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from py_portable.base import process
from py_portable.errors import MachineError

FINDERS = frozenset(("setuptools-scm", "setuptools-git", "setuptools-vcs", "pbr"))
"""The build requirements that ask version control which files belong to the app."""
MANIFEST = "MANIFEST.in"
_SPECIAL = re.compile(r"[][*?#\\\s]")
_NO_TRANSPORT = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}
"""The second setting works with every git, and against the folder's own `protocol.allow`: no transport has this
name.
"""
_SECONDS = 60
_MOST_BYTES = 64 << 20


def asked_for(source: Path, build: Iterable[str]) -> tuple[str, ...]:
    """The tracked files of `source`, if one of the build requirements (names) asks for them.

    Raises MachineError if git is needed, but is not installed or cannot answer.
    """
    finders = sorted(FINDERS & set(build))
    if not finders or not source.is_dir() or not _checkout(source):
        return ()
    found = files(source, ".", ":(exclude,attr:export-ignore)")
    if found is None:
        raise MachineError(
            f"{finders[0]} takes the list of the wheel's files from git, and git does not answer",
            where=str(source),
            hint="install git (Debian: apt-get install git), or name the files in the build system's own options",
        )
    return tuple(name for name in found if (source / name).is_file())


def files(source: Path, *pathspecs: str) -> tuple[str, ...] | None:
    """Names that git tracks, relative to `source`, sorted. None: git cannot answer, or this is not a checkout.

    Nothing that the folder's own configuration names is started: no fsmonitor, no hook, and no transport, which a
    repository with missing objects would have git fetch them by.
    """
    if not _checkout(source):
        return None
    words = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*"]
    words += ["ls-files", "-z", "--cached", "--", *pathspecs]
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _NO_TRANSPORT
    try:
        told = process.run(words, cwd=source, env=env, timeout=_SECONDS, capture_bytes=_MOST_BYTES)
    except MachineError:
        return None
    if not told.ok or told.stdout.total > _MOST_BYTES // 2:
        return None
    names = (os.fsdecode(name) for name in told.stdout.data.split(b"\0") if name)
    # If somebody else wrote the index, git lists any name in it, also one that it would never check out.
    return tuple(sorted(name for name in names if not name.startswith("/") and ".." not in name.split("/")))


def _checkout(source: Path) -> bool:
    return any((folder / ".git").exists() for folder in (source.absolute(), *source.absolute().parents))


def manifest(names: Iterable[str], text: str) -> str:
    """MANIFEST.in with the tracked files first, as setuptools takes them, so that the project's own lines may exclude.

    A name becomes a pattern: what the file's syntax knows (blanks, wildcards, `#`) matches as any letter.
    https://setuptools.pypa.io/en/latest/userguide/miscellaneous.html
    """
    lines = ["include " + _SPECIAL.sub("?", name) for name in names if name.isprintable()]
    return "".join(f"{line}\n" for line in lines) + text
