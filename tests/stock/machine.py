"""A stock machine for as long as a test takes: a system of its own that shares this machine's kernel and network.

It has its own root, processes, mounts and names, and a docker daemon of its own where the kind has one. Each starts
from the kind's stock state and is thrown away. Making one needs root.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stock import roots
from tests.stock.booting import booted
from tests.stock.inside import PATH, Machine, Ran, Record
from tests.stock.kinds import kinds

__all__ = ["Machine", "Ran", "Record", "assert_stock", "recorded", "stock"]
DAEMON = ("dockerd", "--iptables=false", "--bridge=none", "--group", "docker")
DAEMON_SECONDS = 60.0


@contextlib.contextmanager
def stock(name: str) -> Iterator[Machine]:
    """A fresh machine of that kind. Skips where this machine may make none."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make a machine")
    kind = kinds()[name]
    with booted(roots.lowers(kind), kind.name, kind) as machine:
        if kind.docker:
            _docker(machine)
        assert_stock(machine)
        yield machine


def assert_stock(machine: Machine) -> None:
    """The machine has what machines.toml says, and nothing that it finds is this machine's."""
    kind = machine.kind
    found = machine.which(*kind.present, *kind.absent)
    missing = set(kind.present) - set(found)
    assert not missing, f"{kind.name} has no {', '.join(sorted(missing))}"
    assert set(found) == set(kind.present), f"{kind.name} has {sorted(set(found) - set(kind.present))}"
    ours = {(status.st_dev, status.st_ino) for status in map(os.stat, _own_folders())}
    for path in {*PATH.split(":"), kind.home, "/opt"}:
        place = machine.path(path)
        if place.exists():
            assert (place.stat().st_dev, place.stat().st_ino) not in ours, f"{path} is this machine's own"
    told = machine.check(["sh", "-c", "printenv; cat /proc/self/mountinfo"], cwd="/")
    for word in {sys.prefix, sys.base_prefix, ".pyenv", os.environ.get("VIRTUAL_ENV") or sys.prefix} - {"/usr"}:
        assert word not in told, f"{kind.name} sees {word}"


def _own_folders() -> list[str]:
    words = [*os.environ.get("PATH", "").split(":"), str(Path.home()), "/opt", *PATH.split(":")]
    return [word for word in words if word and Path(word).is_dir()]


@contextlib.contextmanager
def recorded(machine: Machine) -> Iterator[list[Record]]:
    """The list holds one record afterwards: what was installed in between."""
    packages, python = machine.packages(), machine.python_packages()
    told: list[Record] = []
    yield told
    fresh = {name: found for name, found in machine.python_packages().items() if python.get(name) != found}
    told.append(Record(tuple(sorted(machine.packages() - packages)), fresh))


def _docker(machine: Machine) -> None:
    log = machine.start("dockerd", DAEMON)
    end = time.monotonic() + DAEMON_SECONDS
    while (asked := machine.run(["docker", "version"])).status:
        alive = machine.started["dockerd"].poll() is None
        assert alive and time.monotonic() < end, asked.said + log.read_text("utf-8", "replace")[-4000:]
        time.sleep(0.2)
