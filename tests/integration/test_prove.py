"""`prove` on things that somebody else built, well-behaved and not."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path

import pytest

from py_portable.store import default_root
from tests.integration.conftest import MainJob, Ran, portable

pytestmark = pytest.mark.integration


def script(folder: Path, text: str, name: str = "tool") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def prove(path: Path, *words: str) -> tuple[Ran, list[dict[str, object]]]:
    ran = portable("prove", path, "--image", "debian:12", "--json", *words)
    return ran, json.loads(ran.stdout) if ran.stdout else []


def one(path: Path, *words: str) -> dict[str, object]:
    (cell,) = prove(path, *words)[1]
    return cell


def test_a_pass_under_every_condition(tmp_path: Path) -> None:
    tool = script(tmp_path, 'echo "hello $1"')
    ran = portable(
        "prove", tool, "--image", "debian:11", "--image", "debian:13", "--probes", "read-only,no-home",
        "--stdout", "hello you", "--", "you",
    )  # fmt: skip
    assert ran.status == 0, ran.stdout + ran.stderr
    assert sum(line.startswith("Success: tool passed on debian:1") for line in ran.stdout.splitlines()) == 6


def test_a_folder_is_started_by_the_executable_called_like_it(tmp_path: Path) -> None:
    folder = tmp_path / "tool"
    folder.mkdir()
    script(folder, 'cat "$(dirname "$0")/data"')
    (folder / "data").write_text("its data\n")
    assert one(folder, "--stdout", "its data")["verdict"] == "PASS"


@pytest.mark.parametrize(
    ("text", "words", "reason", "detail"),
    [
        ("echo oh dear >&2; exit 3", (), "exit", "exit status 3, expected 0: oh dear"),
        ("sleep 60", ("--timeout", "1"), "timeout", "did not end within 1 s"),
        (
            "trap '' TERM INT HUP; while :; do :; done",
            ("--timeout", "1"),
            "timeout",
            "did not end within 1 s",
        ),
        ("kill -SEGV $$", (), "signal", "killed by SIGSEGV"),
        (
            "echo something else",
            ("--stdout", "hello"),
            "output",
            "stdout lacks the line 'hello'; its last line is 'something else'",
        ),
    ],
    ids=["fails", "hangs", "ignores signals", "dies", "says something else"],
)
def test_a_failing_smoke_is_a_fail_with_its_reason(
    tmp_path: Path, text: str, words: tuple[str, ...], reason: str, detail: str
) -> None:
    ran, (cell,) = prove(script(tmp_path, text), *words)
    assert ran.status == 1
    assert (cell["verdict"], cell["reason"], cell["detail"]) == ("FAIL", reason, detail)


def test_a_fail_is_reproduced_by_the_line_it_prints(tmp_path: Path) -> None:
    tool = script(tmp_path, 'echo "to be seen by $(id -un)" >&2; exit 7')
    cell = one(tool)
    line = portable("prove", tool, "--image", "debian:12").stdout.splitlines()[0]
    printed = line.partition("; reproduce: ")[2]
    assert printed.startswith("sh ") and len(printed.split()) == 2, line
    for command in (str(cell["reproduce"]), printed):
        again = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        assert again.returncode == 7 and "to be seen by cell" in again.stderr


def test_100_mb_of_output_and_binary_output_do_no_harm(tmp_path: Path) -> None:
    cell = one(script(tmp_path, "head -c 100000000 /dev/zero; echo; echo the end"), "--stdout", "the end")
    assert cell["verdict"] == "PASS" and len(str(cell["stdout_tail"])) <= 2000
    noisy = script(tmp_path, r"printf '\377\000\033[31m\r\007'; exit 9")
    line = portable("prove", noisy, "--image", "debian:12").stdout
    assert "exit status 9" in line and "\x1b" not in line and "\x07" not in line


def test_a_daemon_that_is_left_behind_is_ended(tmp_path: Path) -> None:
    mark = f"86{os.getpid()}"
    tool = script(tmp_path, f"(setsid sleep {mark} >/dev/null 2>&1 &) ; (setsid sleep {mark} &) ; echo started")
    began = time.monotonic()
    assert one(tool, "--stdout", "started", "--timeout", "15")["verdict"] == "PASS"
    assert time.monotonic() - began < 15
    commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if _readable(p)]
    assert not [c for c in commands if c.split(b"\0")[:2] == [b"sleep", mark.encode()]]


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_an_image_that_cannot_be_had_is_unproven_with_its_reason(tmp_path: Path) -> None:
    tool = script(tmp_path, "exit 0")
    name = "localhost:1/nothing:1"
    ran = portable("prove", tool, "--image", name)
    assert ran.status == 1
    assert ran.stdout.startswith(f"Unproven: tool on {name}: the registry refuses connections")
    assert portable("prove", tool, "--image", name, "--allow-unproven").status == 0


def test_an_executable_without_a_loader_says_so(tmp_path: Path, main_job: MainJob) -> None:
    binary = (main_job.project.folder / "dist" / "binary" / "myapp").read_bytes()
    foreign = tmp_path / "foreign"
    foreign.write_bytes(binary.replace(b"/lib64/ld-linux-x86-64.so.2", b"/lib64/ld-musl0-x86-64.so.1", 1))
    foreign.chmod(0o755)
    cell = one(foreign)
    assert (cell["verdict"], cell["reason"]) == ("FAIL", "loader")
    assert one(foreign, "--expect", "fail:musl")["verdict"] == "XFAIL"
    assert one(foreign, "--expect", "fail:glibc")["verdict"] == "FAIL"


def test_an_expected_failure_that_passes_is_an_xpass(tmp_path: Path) -> None:
    ran, (cell,) = prove(script(tmp_path, "exit 0"), "--expect", "fail:glibc")
    assert (ran.status, cell["verdict"]) == (1, "XPASS")


@pytest.mark.parametrize("path", ["missing", "plain"])
def test_what_cannot_be_started_is_a_usage_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "plain").write_text("no program")
    ran = portable("prove", tmp_path / path, "--image", "debian:12")
    assert ran.status == 2 and ran.stderr.startswith("Error: ") and "Traceback" not in ran.stderr


HOSTILE = """
mount -o remount,rw / 2>&1
echo changed > /usr/bin/marker; echo changed >> /etc/passwd; rm -rf /bin/ls
mknod /tmp/disk b 254 0 2>&1 && cat /tmp/disk > /dev/null
unshare -Ur sh -c 'mount -t tmpfs none /usr; echo changed > /usr/marker' 2>&1
for fd in 3 4 5 6 7 8 9; do eval "echo forged >&$fd" 2>/dev/null; done
echo 1 > /proc/sys/kernel/sysrq 2>/dev/null
chroot / true 2>/dev/null
exit 0
"""


def test_a_hostile_artifact_changes_nothing_outside_of_its_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = script(tmp_path, HOSTILE)
    (tmp_path / "tmp").mkdir(mode=0o755)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    before = _everything(tmp_path)
    for condition in ("none", "read-only"):
        assert prove(tool, "--probes", condition)[0].status in (0, 1)
    assert _everything(tmp_path) == before


def _everything(folder: Path) -> dict[str, object]:
    """Processes, mounts and files, as far as a cell could have touched them; another worker's tests run beside it."""
    from py_portable.store import Store

    store = Store(default_root(os.environ))
    objects = Path(default_root(os.environ), "objects")
    for path in objects.glob("*/*/out/root"):
        entry = store.get(path.parents[1].name)
        assert entry is not None
        store.verify(entry)
    commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if _readable(p)]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        "mounts": [line for line in mounts if str(folder) in line or str(objects) in line],
        "cells": sorted(words for words in commands if os.fsencode(folder) in words),
        "files": sorted((str(p.relative_to(folder)), p.read_bytes()) for p in folder.iterdir() if p.is_file()),
        "ours": sorted(p.name for p in (folder / "tmp").iterdir()),
        "scratch": sorted(p.name for p in Path(default_root(os.environ), "tmp").iterdir() if _ownerless(p)),
    }


def _ownerless(scratch: Path) -> bool:
    """A work folder of the store, called NAME-PID-WORD, whose process has ended."""
    return not Path("/proc", scratch.name.removesuffix(".lock").split("-")[-2]).exists()


def test_the_engine_native_starts_on_this_machine_and_says_so(tmp_path: Path) -> None:
    here = platform.freedesktop_os_release()
    name = f"{here['ID']}:{here['VERSION_ID']}"
    tool = script(tmp_path, 'echo "$HOME"; id -u')
    words = ("--engine", "native", "--json", "--image")
    (cell,) = json.loads(portable("prove", tool, *words, name).stdout)
    assert (cell["verdict"], cell["isolation"], cell["image_source"]) == ("PASS", "partial", "host")
    if os.geteuid() == 0:
        assert cell["stdout_tail"].splitlines()[-1] == "10001"
    (cell,) = json.loads(portable("prove", tool, *words, "debian:99").stdout)
    assert cell["verdict"] == "UNPROVEN" and "only on this machine itself" in cell["detail"]
    (_, closed) = json.loads(portable("prove", tool, *words, name, "--probes", "read-only").stdout)
    assert closed["verdict"] == "UNPROVEN" and "condition not achieved" in closed["detail"]
