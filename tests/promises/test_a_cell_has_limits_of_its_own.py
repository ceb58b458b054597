"""Memory and processes of a cell are its own: one that takes all it can get hinders no other cell, and gets no more
than a cell may have. What a machine cannot limit is named in `lacks`, which the evidence shows.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_portable.engines import limits, owner
from tests.integration.test_engines import CONTAINERS, Caller, House
from tests.promises.hostile import CASES, PROGRAM, started, told_by

pytestmark = pytest.mark.integration
pytest_plugins = ["tests.promises.hostile_plugin"]
CROWD = 8191
"""What was enough: 8192 is what a uid may have, of which one is the program itself."""
SECONDS = 60


@contextlib.contextmanager
def crowd(caller: Caller, engine: str, house: House, common: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A cell that has started as many processes as it gets; it ends when `common` is empty."""
    common.write_text("")
    binds = [*house.binds, [str(common), "/common", True]]
    with started(caller, engine, "crowd", str(CROWD), "/common", binds=binds, timeout=SECONDS) as child:
        try:
            end = time.monotonic() + SECONDS
            while not common.read_text().endswith("\n"):
                assert child.poll() is None and time.monotonic() < end
                time.sleep(0.02)
            yield child
        finally:
            common.write_text("")


@pytest.mark.parametrize(("caller", "engine"), CASES, indirect=["caller"])
def test_a_crowd_in_one_cell_hinders_no_other(
    caller: Caller, program: Path, house: House, common: Path, engine: str
) -> None:
    with crowd(caller, engine, house, common) as child:
        made = int(common.read_text())
        beside = caller.ask(engine, "start", argv=[PROGRAM, "family"])
        common.write_text("")
        ended = told_by(child)
    assert (beside["stdout"], beside["record"]["exited"]) == ("10 children\n", 0), beside
    assert "processes" in beside["limits"], "neither a control group nor a user namespace of its own"
    # Half of them are the supervisor's children by then, and count as well.
    most = limits.PROCESSES_OF_A_UID if caller.prefix else limits.PROCESSES
    assert 1000 < made < most
    assert ended["record"]["left_behind"] >= made
    assert groups() == []


def groups() -> list[Path]:
    """Those of every run of the kit on this machine whose caller has ended."""
    found = [path for place in limits.places() for path in place.folder.glob("py-portable.*") if path.is_dir()]
    return [path for path in found if owner.is_dead(path.name.split(".", 1)[1].rpartition(".")[0].replace("_", "/"))]


@pytest.mark.parametrize(("caller", "engine"), CASES, indirect=["caller"])
def test_more_memory_than_a_cell_may_have(caller: Caller, program: Path, engine: str) -> None:
    if engine not in CONTAINERS:
        modest = caller.ask(engine, "start", argv=[PROGRAM, "fill", "512"])
        assert modest["stdout"] == "WON 512 MiB\n", "what a large program needs it gets"
        if "memory" not in modest["limits"]:
            # An ordinary user without control groups: it is said, and nothing else is promised.
            assert caller.prefix and "memory" in caller.ask(engine, "probe")["lacks"]
            return
    greedy = caller.ask(engine, "start", argv=[PROGRAM, "fill", "3072"])
    assert greedy["stdout"] == "" and greedy["record"]["signal"] == signal.SIGKILL, greedy
    assert greedy["out_of_memory"] == (engine not in CONTAINERS)


def test_a_killed_caller_leaves_no_group(house: House, program: Path, common: Path) -> None:
    caller = Caller("me", (), sys.executable, house, house.root)
    with crowd(caller, "bubblewrap", house, common) as child:
        child.kill()
        child.wait()
        end = time.monotonic() + 60
        while groups():  # those of cells that are still being ended
            assert caller.ask("bubblewrap", "start", argv=[PROGRAM, "family"])["stdout"] == "10 children\n"
            assert time.monotonic() < end, groups()
