"""Thin: every session calls the CLI of the kit that scripts/nox puts into .venv."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

HERE = Path(__file__).parent.resolve()
BIN = HERE / ".venv" / "bin"
DEPENDABOT = ".github/dependabot.yml"
WORKERS = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
"""Three on two cores: while one waits for a machine or a daemon, others compute. tests/conftest.py has the order."""

nox.options.sessions = ["lint", "tests"]
nox.options.stop_on_first_error = True


def run(*argv: str | Path, **variables: str) -> None:
    """Run a command; where it fails, end nox at once with the command's own exit status (nox would say 1)."""
    with subprocess.Popen([str(word) for word in argv], cwd=HERE, env=os.environ | variables) as child:
        while True:
            try:
                status = child.wait()
                break
            except KeyboardInterrupt:
                # The child got it too and puts its things in order first.
                continue
    if status:
        raise SystemExit(status if status > 0 else 128 - status)


@functools.cache
def ensure_venv() -> None:
    """Make the .venv where this nox is not its own, as one that the system or pipx installed."""
    if Path(sys.prefix) != BIN.parent:
        run(HERE / "scripts" / "nox", "--ensure")


@functools.cache
def prepare(for_tests: bool = False) -> None:
    """Once a nox run: the .venv, then what else the machine lacks (the test suite needs a little more)."""
    ensure_venv()
    run(BIN / "py-portable", "doctor", "--fix", "-q", PY_PORTABLE_TESTS=str(int(for_tests)))


@nox.session(venv_backend="none")
def build(session: nox.Session) -> None:
    """Build every artifact of portable.yaml into dist/."""
    prepare()
    # Images are made while compilers run, where this run of nox starts cells on them next.
    ahead = ("--ahead",) if "portability" in sys.argv else ()
    run(BIN / "py-portable", "build", *ahead, *session.posargs)


@nox.session(venv_backend="none")
def portability(session: nox.Session) -> None:
    """Start every artifact on every image and say what came of it."""
    prepare()
    run(BIN / "py-portable", "portability", *session.posargs)


@nox.session(venv_backend="none")
def benchmark(session: nox.Session) -> None:
    """Measure how long every artifact takes to start, against the bare interpreter."""
    prepare()
    run(BIN / "py-portable", "benchmark", *session.posargs)


@nox.session(venv_backend="none")
def report(session: nox.Session) -> None:
    """The scorecard, report.md and junit.xml from the evidence in dist/."""
    ensure_venv()
    run(BIN / "py-portable", "report", *session.posargs)


@nox.session(venv_backend="none")
def tags(session: nox.Session) -> None:
    """Check the platform tags of a folder of wheels: nox -s tags -- DIR TAG…"""
    ensure_venv()
    run(BIN / "py-portable", "tags", *session.posargs)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The whole test suite: unit tests, real builds and real starts, in as many workers as WORKERS says."""
    prepare(for_tests=True)
    run(BIN / "python", "-m", "pytest", *WORKERS, *session.posargs)


@nox.session(venv_backend="none")
def nightly(session: nox.Session) -> None:
    """What takes too long for every change, such as compiling the static helpers anew."""
    prepare(for_tests=True)
    run(BIN / "python", "-m", "pytest", *WORKERS, "-m", "nightly", *session.posargs, PY_PORTABLE_NIGHTLY="1")


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The docs as a site, in site/; it can be read from there, without a server."""
    ensure_venv()
    run(BIN / "mkdocs", "build", *session.posargs)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style, types, the docs, and what GitHub will read."""
    ensure_venv()
    run(BIN / "ruff", "check")
    run(BIN / "ruff", "format", "--check", "--quiet")
    run(BIN / "mypy")
    run(BIN / "lint-imports", "--no-logo", "--no-cache")
    with tempfile.TemporaryDirectory() as folder:
        run(BIN / "mkdocs", "build", "--site-dir", folder)
    workflows = files(".github/workflows/*.yml", "ci-templates/github/*.yml")
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml")
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.dependabot", DEPENDABOT)
    run(BIN / "actionlint", *workflows)
    run(
        BIN / "zizmor",
        "--offline",
        "--quiet",
        "--pedantic",
        "--config",
        ".github/zizmor.yml",
        "action.yml",
        DEPENDABOT,
        *workflows,
    )
    run(
        BIN / "shellcheck",
        ".ci/run",
        "scripts/nox",
        "scripts/ci-github",
        "scripts/refresh-pins",
        "scripts/release",
    )


def files(*patterns: str) -> list[Path]:
    return [path.relative_to(HERE) for pattern in patterns for path in sorted(HERE.glob(pattern))]
