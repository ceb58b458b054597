"""One commit of a git repository as a folder. The machine's own git fetches it, with the user's logins and proxies.

Nothing in the repository is run: hooks, filters and submodules play no part when objects are read.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

from py_portable.base import process
from py_portable.base.redact import hide
from py_portable.base.untar import extract
from py_portable.errors import MachineError, StepError

SECONDS = 600.0
SCHEMES = ("file", "git", "http", "https", "ssh")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
MAX_LISTING = 64 << 20
_OF_A_REPOSITORY = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"),
)


def commit_of(url: str, ref: str | None, repository: Path, environ: Mapping[str, str]) -> str:
    """Fetch `ref` (None: what the repository's HEAD names) of `url` into the new bare `repository`; its commit.

    Raises StepError where the repository or the ref is not available, MachineError where there is no git.
    """
    if not shutil.which("git", path=environ.get("PATH")):
        raise MachineError("git is not installed", hint="apt-get install git")
    _git(environ, "init", "--quiet", "--bare", str(repository))
    wanted = ref or "HEAD"
    if _fetched(repository, environ, url, wanted):
        return _git(environ, "rev-parse", "--verify", "FETCH_HEAD^{commit}", at=repository).strip()
    # A server may refuse to send a commit by its id, and no server knows a shortened id.
    _git(environ, *_fetch(url, "+refs/*:refs/*"), at=repository)
    return _git(
        environ, "rev-parse", "--verify", "--end-of-options", f"{wanted}^{{commit}}", at=repository
    ).strip()


def _fetched(repository: Path, environ: Mapping[str, str], url: str, ref: str) -> bool:
    try:
        _git(environ, *_fetch(url, ref, "--depth=1"), at=repository)
    except StepError:
        return False
    return True


def _fetch(url: str, ref: str, *options: str) -> tuple[str, ...]:
    return ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", *options, "--", url, ref)


def write_out(
    repository: Path, commit: str, subdirectory: str, into: Path, environ: Mapping[str, str]
) -> None:
    """The files of `commit` below `subdirectory`, with their modes and links, into the new folder `into`.

    Raises StepError for submodules, for a path that leads out, and where there is no such subdirectory.
    """
    tree = f"{commit}:{subdirectory.strip('/')}" if subdirectory else commit
    listing = _git(environ, "ls-tree", "-r", "-z", tree, at=repository)
    inner = [entry.partition("\t")[2] for entry in listing.split("\0") if entry.split(" ")[1:2] == ["commit"]]
    if inner:
        raise StepError(
            f"the commit {commit[:12]} has the submodule {inner[0]!r}, and submodules are not supported"
        )
    # These win over the repository's own: all files as they are committed, and no program of a filter is run.
    attributes = "* -export-ignore -export-subst -text -eol -ident -filter -working-tree-encoding\n"
    (repository / "info").mkdir(exist_ok=True)
    (repository / "info" / "attributes").write_text(attributes)
    archive = repository / "commit.tar"
    _git(environ, "archive", "--format=tar", f"--output={archive}", tree, at=repository)
    into.mkdir()
    try:
        with tarfile.open(archive) as tar:
            extract(tar, into, links_out=True)
    except (tarfile.TarError, OSError) as problem:
        raise StepError(f"the commit {commit[:12]} cannot be unpacked: {problem}") from None


def _git(environ: Mapping[str, str], *words: str, at: Path | None = None) -> str:
    # If git itself started us as a hook, they name another repository.
    kept = {name: value for name, value in environ.items() if name not in _OF_A_REPOSITORY}
    env = {
        **kept,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(SCHEMES),
        "LC_ALL": "C.UTF-8",
    }
    outcome = process.run(["git", *words], cwd=at, env=env, timeout=SECONDS, capture_bytes=MAX_LISTING)
    if not outcome.ok:
        raise StepError(
            f"git {words[0]} failed",
            tail=hide(outcome.stderr.text),
            hint="check the address, and the name of the commit, branch or tag: git ls-remote ADDRESS",
        )
    return outcome.stdout.text
