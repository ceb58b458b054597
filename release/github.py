"""What the server is asked for: the release with its files, and the tag that moves. By the program gh, which has the
login from GH_TOKEN."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from py_portable.base.process import check, run
from py_portable.errors import StepError
from release.version import key

Ask = Callable[[Sequence[str]], str]
"""Runs gh with these words and gives what it prints. Raises PortableError."""


def gh(words: Sequence[str]) -> str:
    done = check(
        ["gh", *words],
        what=f"gh {' '.join(words[:2])}",
        error=StepError,
        hint="run the job again: what is done already is found",
        timeout=600.0,
    )
    return done.stdout.text


def publish(tag: str, notes: Path, files: Sequence[Path], *, exists: bool, ask: Ask = gh) -> None:
    """The release of `tag`, which has to be there, with the files. One that exists already gets them anew."""
    names = [str(file) for file in files]
    if exists:
        ask(["release", "upload", tag, "--clobber", *names])
    else:
        ask(["release", "create", tag, "--verify-tag", "--title", tag, "--notes-file", str(notes), *names])


def is_released(tag: str) -> bool:
    return run(["gh", "release", "view", tag, "--json", "tagName"], timeout=60.0).ok


def move(tag: str, moving: str, commit: str, *, ask: Ask = gh) -> str:
    """Let `moving` point to the commit, unless a later version than `tag` is there. Returns what was done, to be shown.

    `{owner}` and `{repo}` are words of gh for the repository that it is in.
    """
    names = ask(["api", "--paginate", "repos/{owner}/{repo}/tags", "--jq", ".[].name"]).split()
    versions = [name[1:] for name in names if re.fullmatch(r"v\d+\.\d+\.\d+", name)]
    later = [version for version in versions if key(version) > key(tag[1:])]
    if later:
        return f"{moving} stays where it is: v{max(later, key=key)} is later than {tag}"
    if moving in names:
        where = ["--method", "PATCH", f"repos/{{owner}}/{{repo}}/git/refs/tags/{moving}", "-F", "force=true"]
    else:
        where = ["--method", "POST", "repos/{owner}/{repo}/git/refs", "-f", f"ref=refs/tags/{moving}"]
    ask(["api", *where, "-f", f"sha={commit}"])
    return f"{moving} is {tag}, commit {commit}"
