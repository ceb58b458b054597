"""The only module that calls twine: for its check of the metadata that an index shows, and for the upload."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from py_portable.base import process
from py_portable.base.redact import hide, without
from py_portable.errors import ConfigError, MachineError, StepError, UnmetError

INSTALL = "pip install 'py-portable[publish]'"
CHECK_SECONDS = 120.0
UPLOAD_SECONDS = 1800.0
# Never shown: twine's own variables, and those with which a job gets its upload token.
SECRETS = (
    "TWINE_PASSWORD",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "PYPI_ID_TOKEN",
    "TESTPYPI_ID_TOKEN",
    "BUILDKITE_AGENT_ACCESS_TOKEN",
)
_WIDE = {"COLUMNS": "1000", "TERM": "xterm"}


def require(name: str) -> None:
    """Raises MachineError where the tool is not installed beside the kit."""
    if importlib.util.find_spec(name) is None:
        raise MachineError(f"{name} is not installed", hint=INSTALL)


def strict_check(files: Sequence[Path]) -> None:
    """`twine check --strict`. Raises UnmetError with what twine says of each bad file."""
    require("twine")
    words = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", "--", *map(str, files)]
    outcome = process.run(words, env={**os.environ, **_WIDE}, timeout=CHECK_SECONDS)
    if outcome.ok:
        return
    said = (outcome.stdout.text + outcome.stderr.text).splitlines()
    bad = [path.name for path in files if any(path.name in line and "FAILED" in line for line in said)]
    raise UnmetError(
        f"twine check --strict fails: {', '.join(bad) or f'exit status {outcome.status}'}",
        tail="\n".join(line for line in said if line.strip() and "PASSED" not in line),
        hint="correct the metadata in pyproject.toml: a readme that renders, with its content type",
    )


@dataclass(frozen=True)
class UploadTarget:
    """The address of an upload, without logins, and the source of its login."""

    url: str
    login: Literal["environment", "pypirc", "trusted-publishing", "none"]

    def told(self) -> str:
        return {
            "environment": "by TWINE_USERNAME and TWINE_PASSWORD of the environment",
            "pypirc": "by the password in ~/.pypirc",
            "trusted-publishing": "by trusted publishing: the job's identity for a short-lived token",
            "none": "none was found: twine would ask the keyring",
        }[self.login]


def target(repository: str | None, environ: Mapping[str, str]) -> UploadTarget:
    """The address and login that twine will use, from a name or URL, the environment and ~/.pypirc. No server is
    contacted.

    Raises ConfigError for a name that ~/.pypirc does not know and for a URL with a login in it.
    """
    require("twine")
    from twine import utils
    from twine.exceptions import TwineException

    name, url = environ.get("TWINE_REPOSITORY") or "pypi", environ.get("TWINE_REPOSITORY_URL") or None
    if repository and "://" in repository:
        url = repository
    elif repository:
        name, url = repository, None
    if url and "@" in urlsplit(url).netloc:
        raise ConfigError(
            "the repository's URL contains a login, which others on this machine could read",
            where=hide(url),
            hint="put it into TWINE_USERNAME and TWINE_PASSWORD",
        )
    try:
        known = utils.get_repository_from_config(utils.DEFAULT_CONFIG_FILE, name, url)
    except TwineException as problem:
        raise ConfigError(hide(str(problem.args[0]).splitlines()[0]), where="--repository") from None
    address = known["repository"] or ""
    index = address.startswith((utils.DEFAULT_REPOSITORY, utils.TEST_REPOSITORY))
    return UploadTarget(
        hide(address), _login(environ, bool(known.get("password")), index, known.get("username") or "")
    )


def _login(
    environ: Mapping[str, str], in_file: bool, index: bool, user: str
) -> Literal["environment", "pypirc", "trusted-publishing", "none"]:
    """In twine's order: the environment, ~/.pypirc, and for the public index the identity of the job."""
    if environ.get("TWINE_PASSWORD"):
        return "environment"
    if in_file:
        return "pypirc"
    named = environ.get("TWINE_USERNAME") or user or "__token__"
    if index and named == "__token__" and _has_identity(environ):
        return "trusted-publishing"
    return "none"


def _has_identity(environ: Mapping[str, str]) -> bool:
    """Whether the environment says that this job can get an identity token."""
    if environ.get("GITHUB_ACTIONS"):
        return bool(
            environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN") and environ.get("ACTIONS_ID_TOKEN_REQUEST_URL")
        )
    if environ.get("GITLAB_CI"):
        return bool(environ.get("PYPI_ID_TOKEN") or environ.get("TESTPYPI_ID_TOKEN"))
    return bool(environ.get("BUILDKITE") or environ.get("CIRCLECI"))


def upload(
    files: Sequence[Path], repository: str | None, *, skip_existing: bool, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Upload the files. Returns twine's own lines. twine finds the login itself, so none is in a command line.

    Raises StepError that names the cause, MachineError where there is no login.
    """
    aim = target(repository, environ)
    words = [
        sys.executable,
        "-m",
        "twine",
        "--no-color",
        "upload",
        "--non-interactive",
        "--disable-progress-bar",
    ]
    words += ["--skip-existing"] if skip_existing else []
    if repository:
        words += ["--repository-url" if "://" in repository else "--repository", repository]
    env = {name: value for name, value in environ.items() if value or not name.startswith("TWINE_")} | _WIDE
    if repository:
        # A URL that the environment sets would win over a name that is given here.
        env = {n: v for n, v in env.items() if n not in ("TWINE_REPOSITORY", "TWINE_REPOSITORY_URL")}
    outcome = process.run([*words, "--", *map(str, files)], env=env, timeout=UPLOAD_SECONDS)
    secrets = [environ[name] for name in SECRETS if name in environ]
    said = without(outcome.stdout.text + outcome.stderr.text, secrets)
    lines = tuple(line.rstrip() for line in said.splitlines() if line.strip())
    if outcome.ok:
        return lines
    if outcome.timed_out:
        raise StepError(
            f"the upload did not end within {UPLOAD_SECONDS:.0f} s", where=aim.url, tail="\n".join(lines)
        )
    if re.search(r"NonInteractive|Credential not found", said):
        raise MachineError(
            "there is no login for this repository",
            where=aim.url,
            hint="set TWINE_USERNAME and TWINE_PASSWORD, or run where trusted publishing works",
        )
    what, hint = cause(lines)
    raise StepError(f"the upload failed: {what}", where=aim.url, tail="\n".join(_short(lines)), hint=hint)


_CAUSES = (
    (
        r"SSLError|CERTIFICATE_VERIFY",
        "the repository's certificate is not trusted",
        "TWINE_CERT names a CA bundle",
    ),
    (
        r"ConnectionError|Max retries|Timeout",
        "the repository cannot be reached",
        "check the address, the network and the proxy",
    ),
    (r"UnsupportedConfiguration", "the repository does not know --skip-existing", "leave out this option"),
    (
        r"TrustedPublishing",
        "trusted publishing gave no token",
        "check that the repository names this job as a trusted publisher",
    ),
    (r"HTTPError: 40[13]\b", "the repository refused the login", "look at TWINE_USERNAME and TWINE_PASSWORD"),
    (
        r"HTTPError: 40[45]\b",
        "this address does not accept uploads",
        "check that it is the address for uploads",
    ),
    (
        r"HTTPError: 409\b|already exist",
        "a file of this name exists already",
        "raise the version, or use --skip-existing",
    ),
    (r"HTTPError: 400\b", "the repository refused a file", None),
    (r"HTTPError: 413\b", "a file is larger than the repository allows", None),
    (r"HTTPError: 5\d\d\b", "the repository itself failed", "try again later"),
)


def cause(lines: Iterable[str]) -> tuple[str, str | None]:
    """Why an upload failed, and what to do, from the output of twine: its last error and everything after it."""
    said = ""
    for line in lines:
        begins = re.match(r"ERROR\b|[\w.]+(Error|Exception|Timeout)\b", line)
        said = line if begins else f"{said} {line}" if said else ""
    for pattern, what, hint in _CAUSES:
        if re.search(pattern, said):
            return what, hint
    return "twine's output above says why", None


def _short(lines: Sequence[str]) -> Sequence[str]:
    """The lines without the frames of a traceback, which do not show the cause."""
    if not any(line.startswith("Traceback") for line in lines):
        return lines
    return [line for line in lines if not line.startswith((" ", "Traceback", "The above", "During"))]
