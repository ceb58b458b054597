"""Whose a container is, and whether that one still lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.engines import owner

MINE = "from py_portable.engines import owner; print(owner.mine(), flush=True); input()"


def parts() -> tuple[str, str, str]:
    place, pid, started = owner.mine().split(":")
    return place, pid, started


def test_a_living_process_and_its_end() -> None:
    assert not owner.is_dead(owner.mine())
    with subprocess.Popen(
        [sys.executable, "-c", MINE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin and other.stdout
        label = other.stdout.readline().strip()
        assert label.split(":")[1] == str(other.pid)
        assert not owner.is_dead(label)
        other.stdin.close()
        # Ended, and not yet waited for: its number is taken still.
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert owner.is_dead(label)
    assert owner.is_dead(label)


def test_a_pid_that_somebody_else_got() -> None:
    place, pid, started = parts()
    assert owner.is_dead(f"{place}:{pid}:{int(started) - 1}")
    assert owner.is_dead(f"{place}:{pid}:")


def test_another_boot_or_namespace_cannot_be_seen_from_here() -> None:
    place, pid, started = parts()
    boot, namespace = place.split("/")
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() == boot
    for elsewhere in (f"{boot[::-1]}/{namespace}", f"{boot}/1{namespace}", boot, ""):
        assert not owner.is_dead(f"{elsewhere}:{pid}:{int(started) - 1}")


@pytest.mark.parametrize("pid", ["", "x", "-1", "+1", " 1", "1 ", "1.0", "\N{SUPERSCRIPT TWO}", "٣", "9" * 5000])
def test_a_pid_that_is_none_is_nobody_dead(pid: str) -> None:
    assert not owner.is_dead(f"{parts()[0]}:{pid}:1")


@given(st.text())
def test_garbage_is_nobody_dead(label: str) -> None:
    assert not owner.is_dead(label)
    assert owner.is_dead(f"{parts()[0]}:{label}") in (True, False)


def test_a_process_that_proc_hides_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    label = f"{parts()[0]}:{gone.pid}:1"
    assert owner.is_dead(label)

    def hidepid(pid: int, signal: int) -> None:
        assert (pid, signal) == (gone.pid, 0)
        raise PermissionError

    monkeypatch.setattr(os, "kill", hidepid)
    assert not owner.is_dead(label)
