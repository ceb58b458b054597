"""The hostile program of the promises about keys, system calls and limits, and whoever runs the kit on it.

A plugin of those tests (`pytest_plugins`), so that they share what it makes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable import native
from tests.integration import test_engines as engines
from tests.integration.test_engines import Caller, House
from tests.integration.users import second_user

CASES = [*(("me", engine) for engine in engines.ENGINES), ("ordinary", "bubblewrap"), ("ordinary", "chroot")]
"""Whoever starts, and by which engine: containers are a daemon's, whoever asks it."""
OF_BOTH_PROFILES = [
    *((who, engine, profile) for who, engine in CASES if engine != "podman" for profile in ("proof", "build")),
    ("me", "podman", "proof"),
]
PROGRAM = "/app/keys-and-limits"
USER = "py-portable-promises"
house = engines.house


@pytest.fixture(scope="session")
def ordinary(house: House) -> Iterator[Caller]:
    with second_user(USER, home=False):
        yield engines.as_user(house, USER)


@pytest.fixture
def caller(
    request: pytest.FixtureRequest, house: House, docker: dict[str, str], podman: dict[str, str]
) -> Caller:
    """Root, or an ordinary user with a range of ids: `param`."""
    if request.param == "ordinary":
        found: Caller = request.getfixturevalue("ordinary")
        return found
    return Caller("me", (), sys.executable, house, house.root, docker | podman)


@pytest.fixture(scope="session")
def program(house: House) -> Path:
    """Compiled into the folder that every cell has as /app."""
    made = house.app / Path(PROGRAM).name
    source = Path(__file__).with_name("keys_and_limits.c")
    subprocess.run([*native.compiler(), "-std=c11", "-static", "-Os", "-o", made, source], check=True)
    made.chmod(0o755)
    return made


def run(who: Caller, engine: str, profile: str, *argv: str, **order: Any) -> dict[str, Any]:
    """The program as a cell (`proof`) or as a build's own command."""
    do = "start" if profile == "proof" else "build"
    found: dict[str, Any] = who.ask(engine, do, argv=[PROGRAM, *argv], **order)
    return found


def won(told: dict[str, Any]) -> list[str]:
    """What it got; it has to say that it came to its end, and how often it tried."""
    lines = str(told["stdout"]).splitlines()
    assert lines and lines[-1].startswith("tried "), told
    assert int(lines[-1].split()[1]) > 3
    return [line for line in lines if line.startswith(("WON", "LOST"))]


def as_caller_with_a_key(who: Caller, program: Path, key: str, secret: str, report: Path) -> Caller:
    """The same caller, whose session and user keyrings hold a key."""
    # The Python of a .venv may lie where only root gets, and setpriv's first program just so.
    python = "/usr/bin/python3" if who.prefix else who.python
    return replace(who, prefix=(*who.prefix, str(program), "caller", key, secret, str(report)), python=python)


def started(who: Caller, engine: str, *argv: str, **order: Any) -> subprocess.Popen[bytes]:
    words = who.words(engine, "start", argv=[PROGRAM, *argv], **order)
    return subprocess.Popen(words, env=who.env(), cwd="/", stdout=subprocess.PIPE)


def told_by(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, _ = child.communicate(timeout=60)
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture
def common(house: House) -> Iterator[Path]:
    """A file that every cell and every caller can write."""
    path = house.work / "common"
    path.touch()
    path.chmod(0o666)
    yield path
    path.unlink()
