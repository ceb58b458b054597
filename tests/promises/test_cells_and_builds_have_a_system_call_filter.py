"""No cell and no build gets at what docker's filter of system calls keeps from a container, on any engine: keys,
mounts, namespaces, bpf, io_uring, sockets to the machine's host, calls of another architecture. Calls that came after
the filter was written do not exist, so that C libraries fall back; what ordinary programs do goes on working.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_engines import Caller
from tests.promises.hostile import OF_BOTH_PROFILES, run, won

pytestmark = pytest.mark.integration
pytest_plugins = ["tests.promises.hostile_plugin"]


@pytest.mark.parametrize(("caller", "engine", "profile"), OF_BOTH_PROFILES, indirect=["caller"])
def test_every_kind_of_call_is_refused(caller: Caller, program: Path, engine: str, profile: str) -> None:
    assert won(run(caller, engine, profile, "calls")) == []
