"""The hostile program of the promises about keys, system calls and limits, and whoever runs the kit on it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.integration.test_engines import ENGINES, Caller

CASES = [*(("me", engine) for engine in ENGINES), ("ordinary", "bubblewrap"), ("ordinary", "chroot")]
"""Whoever starts, and by which engine: containers are a daemon's, whoever asks it."""
OF_BOTH_PROFILES = [
    *((who, engine, profile) for who, engine in CASES if engine != "podman" for profile in ("proof", "build")),
    ("me", "podman", "proof"),
]
PROGRAM = "/app/keys-and-limits"


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
