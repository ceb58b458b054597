"""What the tests of keys, system calls and limits share: a plugin of theirs, so that it is made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_portable.engines import static_helpers
from tests.integration import test_engines as engines
from tests.integration.test_engines import Caller, House
from tests.integration.users import second_user
from tests.promises.hostile import PROGRAM

USER = "py-portable-promises"
house = engines.house


@pytest.fixture(scope="session")
def ordinary(house: House) -> Iterator[Caller]:
    with second_user(USER, home=False):
        yield engines.as_user(house, USER)


@pytest.fixture
def caller(request: pytest.FixtureRequest, house: House, docker: dict[str, str], podman: dict[str, str]) -> Caller:
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
    subprocess.run([*static_helpers.compiler(), "-std=c11", "-static", "-Os", "-o", made, source], check=True)
    made.chmod(0o755)
    return made


@pytest.fixture
def common(house: House) -> Iterator[Path]:
    """A file that every cell and every caller can write."""
    path = house.work / "common"
    path.touch()
    path.chmod(0o666)
    yield path
    path.unlink()
