"""A second, ordinary user of this machine, for as long as a test takes."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_portable.engines import ids


@contextlib.contextmanager
def second_user(name: str, *, home: bool) -> Iterator[pwd.struct_passwd]:
    """With a range of subordinate ids. What it leaves running is ended, such as podman's holder of name spaces."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    if name in {user.pw_name for user in pwd.getpwall()}:
        _remove(pwd.getpwnam(name))  # a run was killed
    texts = [Path(file).read_text() for file in ("/etc/subuid", "/etc/subgid") if Path(file).exists()]
    first = ids.free_range(*texts)
    span = f"{first}-{first + ids.FULL_RANGE - 1}"
    words = ["--create-home" if home else "--no-create-home", "--shell", "/bin/sh", "--uid", str(_free_id())]
    subprocess.run(["useradd", *words, name], check=True)
    user = pwd.getpwnam(name)
    try:
        if not ids.subid_ranges(Path("/etc/subuid").read_text(), name, -1):
            subprocess.run(["usermod", "--add-subuids", span, "--add-subgids", span, name], check=True)
        yield user
    finally:
        _remove(user)


def _free_id() -> int:
    """One that no process has either: a container may have processes of any id, and they are not ours to end."""
    taken = {user.pw_uid for user in pwd.getpwall()} | {_owner(path) for path in Path("/proc").glob("[0-9]*")}
    return next(uid for uid in range(20000, 30000) if uid not in taken)


def _remove(user: pwd.struct_passwd) -> None:
    _end_processes(user.pw_uid)
    words = ["--remove"] if Path(user.pw_dir).is_dir() else []
    subprocess.run(["userdel", "--force", *words, user.pw_name], check=True, capture_output=True)


def _end_processes(uid: int) -> None:
    end = time.monotonic() + 60
    while found := [path for path in Path("/proc").glob("[0-9]*") if _owner(path) == uid]:
        for path in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.name), signal.SIGKILL)
        if time.monotonic() > end:
            break  # userdel says what it is
        time.sleep(0.05)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None
