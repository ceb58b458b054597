"""The static helpers that come with the kit are what their sources say, whoever compiles them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.config import Smoke
from py_portable.engines import static_helpers
from py_portable.engines.engine import Bind, Job
from py_portable.engines.guard import HELPERS
from py_portable.engines.trial import TMP_BYTES, UID, trial
from tests.integration.conftest import REPOSITORY
from tests.integration.test_elf import needs
from tests.promises import starts

pytestmark = pytest.mark.integration


def behaviour(folder: Path, helpers: Path) -> Mapping[str, Any]:
    """What an engine, a canary, a build and three cells are seen to do with these helpers."""
    folder.mkdir()
    root, say = starts.empty_root(folder / "root"), starts.compile_say(folder)
    engine = starts.engine("bubblewrap", helpers)
    job = Job(
        "proof",
        root,
        (f"{HELPERS}/canary",),
        {"HOME": "/home/me"},
        helpers=helpers,
        home="/home/me",
        uid=UID,
        tmp_bytes=TMP_BYTES,
    )
    canary = engine.run(job, timeout=60)
    (folder / "out").mkdir()
    shutil.copy(say, folder / "out" / "built")
    (folder / "out" / "built.out").write_bytes(b"built\n")
    # It starts only after build-canary has seen what it must, with own-ids before it where the machine gives ids.
    build = engine.run(
        Job("build", root, ("/out/built", "7"), {}, binds=(Bind(folder / "out", "/out", writable=True),)), timeout=60
    )
    apps = (
        (starts.app(folder, say, "good", b"hello\n"), Smoke((), ("hello",))),
        (starts.app(folder, say, "silent"), Smoke((), ("hello",))),
        (starts.app(folder, say, "broken", err=b"oh\n"), Smoke(("3",), ())),
    )
    cells = starts.prove(folder, "bubblewrap", helpers, root, apps)
    return {
        "lacks": trial(engine, helpers),
        "canary": json.loads(canary.stdout.data),
        "build": (build.status, build.stdout.data),
        "cells": [
            replace(cell, seconds=None, overhead_seconds=None, when="", reproduce=None, sha256="", argv=()).told()
            for cell in cells
        ],
    }


@needs("musl-gcc")
def test_another_compiler_has_no_complaint_and_makes_helpers_that_do_the_same(tmp_path: Path) -> None:
    static_helpers.compile(tmp_path / "musl", ("musl-gcc", "-Wextra", "-Werror"))
    static_helpers.put(tmp_path / "kit")
    kit, musl = (behaviour(tmp_path / f"of-{name}", tmp_path / name) for name in ("kit", "musl"))
    assert kit == musl
    assert kit["build"] == (7, b"built\n")
    assert [cell["verdict"] for cell in kit["cells"]] == ["PASS", "FAIL", "FAIL"]


@pytest.mark.nightly
def test_the_pinned_compiler_makes_the_same_bytes(tmp_path: Path) -> None:
    """Of the same sources in another folder, with another home, at another time than those that were committed."""
    kit = tmp_path / "another" / "kit"
    for name in ("scripts/make-helpers", "requirements/helpers.txt", "requirements/zstd.txt"):
        (kit / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, kit / name)
    shutil.copytree(REPOSITORY / "src", kit / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    words = [sys.executable, kit / "scripts/make-helpers", "--check"]
    done = subprocess.run(
        words, env={**os.environ, "TMPDIR": str(tmp_path)}, umask=0o077, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
