"""A cell and a build can neither read, replace nor find a key of whoever runs the kit, and leave none behind.

Keys live in keyrings that a session and a user id have in common (keyrings(7)), whatever root and namespaces a
process is put into: the caller's are inherited, those of a uid are every cell's that runs under it.
"""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest

from tests.integration.test_engines import CONTAINERS, Caller
from tests.promises.hostile import OF_BOTH_PROFILES, as_caller_with_a_key, run, won

pytestmark = pytest.mark.integration
pytest_plugins = ["tests.promises.hostile_plugin"]


@pytest.mark.parametrize(("caller", "engine", "profile"), OF_BOTH_PROFILES, indirect=["caller"])
def test_no_key_is_read_replaced_or_planted(
    caller: Caller, program: Path, common: Path, engine: str, profile: str
) -> None:
    key, secret = f"key-{uuid.uuid4().hex}", uuid.uuid4().hex
    theirs = as_caller_with_a_key(caller, program, key, secret, common)
    assert won(run(theirs, engine, profile, "keys", key, secret)) == []
    assert common.read_text() == "secret kept\n", "replaced, or another key was planted in the caller's keyrings"
    if engine not in CONTAINERS:
        # The next one of the same uid, on the same engine.
        assert won(run(caller, engine, profile, "look", key)) == []


def test_the_program_finds_keys_where_nothing_keeps_it_from_them(program: Path, common: Path) -> None:

    key, secret = f"key-{uuid.uuid4().hex}", uuid.uuid4().hex
    words = [program, "caller", key, secret, common, program, "keys", key, secret]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert {"THE", "replace", "plant", "request"} <= {line.split()[1] for line in won({"stdout": done.stdout})}
    assert common.read_text().startswith("secret changed\nplanted ")
