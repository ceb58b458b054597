"""The stock machines are what tests/stock/machines.toml says, and no more."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.stock.kinds import kinds
from tests.stock.machine import recorded, stock

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", kinds())
def test_a_machine_is_what_its_list_says(name: str) -> None:
    kind = kinds()[name]
    with stock(name) as machine:
        assert machine.run(["id", "--user", "--name"]).stdout.strip() == kind.user
        assert machine.run(["hostname"]).stdout.strip() == name
        made = machine.run(["unshare", "--user", "--map-root-user", "true"], env={"PATH": "/usr/bin"})
        assert (made.status == 0) == (not kind.refuses), made.said
        asked = machine.run(["sudo", "-n", "id", "--user"]) if kind.sudo != "none" else None
        assert (asked is not None and asked.stdout.strip() == "0") == (kind.sudo == "without-password")
        if kind.docker:
            assert machine.run(["docker", "info", "--format", "{{.Driver}}"]).stdout.strip() == "overlay2"
        rule = machine.run(["cat", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"])
        assert (rule.stdout == "1\n") == kind.apparmor
        # Only its own processes, its own commands, and what its own configuration gives.
        seen = machine.run(["sh", "-c", "ls -d /proc/[0-9]* | wc -l"])
        assert int(seen.stdout) < 20
        assert machine.run(["ls", str(Path.cwd())]).status != 0
        assert set(machine.run(["env"]).stdout.split()) & {f"PATH={os.environ['PATH']}"} == set()


def test_root_of_an_unprivileged_job_may_not_do_what_docker_forbids() -> None:
    with stock("gitlab-unprivileged") as machine:
        for words in (
            ["mount", "-t", "tmpfs", "none", "/mnt"],
            ["unshare", "--mount", "true"],
            ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"],
        ):
            assert machine.run(words).status != 0, words
        assert machine.run(["chown", "1:1", "/mnt"]).status == 0
        told = machine.check(["sh", "-c", "grep CapEff /proc/self/status; ls -A /sys/firmware; ls /.dockerenv"])
        assert told.split() == ["CapEff:", "00000000a80425fb", "/.dockerenv"]


def test_what_is_installed_is_recorded_and_gone_with_the_machine(tmp_path: Path) -> None:
    with stock("hosted-ubuntu-like") as machine:
        work = machine.work
        with recorded(machine) as records:
            machine.check(["sudo", "-n", "apt-get", "--yes", "--quiet", "install", "hello"])
            machine.check(["python3", "-m", "venv", "/home/runner/venv"])
        (record,) = records
        assert [name.split()[0] for name in record.packages] == ["hello"]
        assert [name.split("-")[0] for name in record.python["/home/runner/venv"]] == ["pip"]
    assert not work.exists() and shutil.which("hello") is None
    with stock("hosted-ubuntu-like") as machine:
        assert not machine.which("hello")
