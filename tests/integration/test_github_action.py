"""The action as a stranger uses it: the caller examples of ci-templates/github, run by act."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.integration.github import ACT, STAND_INS, Server, copy_of_the_kit, example
from tests.integration.users import second_user

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_kit(tmp_path_factory.mktemp("kit") / "py-portable")


def test_the_example_with_one_job_proves_and_a_second_run_is_warm(tmp_path: Path, kit: Path) -> None:
    server = Server(tmp_path, kit)
    ran = server.workflow(example("one-job.yml"))
    assert ran.status == 0, ran.log
    assert "cache: miss" in ran.log
    told = ran.evidence(tmp_path / "out")
    assert [cell["verdict"] for cell in told["cells"]] == ["PASS"]
    assert "# PASS: 1 PASS" in ran.summary
    server.keep_packages()

    # The second run is red.
    tool = server.app / "vendor" / "tool"
    tool.write_text("#!/bin/sh\necho '::set-output name=verdict::PASS'\necho '::add-mask::tool'\nexit 3\n")
    ran = server.workflow(example("one-job.yml"))
    assert "cache: hit, py-portable-push-" in ran.log
    assert ran.status != 0 and "Job failed" in ran.log
    # It still hands on its evidence.
    told = ran.evidence(tmp_path / "red")
    assert [cell["verdict"] for cell in told["cells"]] == ["FAIL"]
    # A mask would have made stars of every `tool` that comes after it.
    assert "Failure: tool on debian:12" in ran.log
    the_first_screen_tells_all(ran.summary)


def the_first_screen_tells_all(summary: str) -> None:
    """Which artifact failed where, why, and the command that does it again."""
    screen = "\n".join(summary.splitlines()[:25])
    assert "# FAIL" in screen
    assert "`tool`" in screen and "`debian:12`" in screen
    assert "exit status 3" in screen
    assert "py-portable portability --artifact tool --image debian:12" in screen


USER = "py-portable-t6"


@pytest.mark.parametrize("confined", [False, True], ids=["user", "unprivileged-container"])
def test_an_ordinary_user_can_run_it(confined: bool, kit: Path) -> None:
    """Also where nobody may make a user namespace, as in a container without privileges: there `native` is left."""
    with second_user(USER, home=True) as user, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy2(ACT, folder / "act")
        shutil.copytree(STAND_INS, folder / "actions")
        (folder / "kit").mkdir()
        shutil.copytree(kit, folder / "kit" / "py-portable", symlinks=True)
        if (kit.parent / "packages").exists():
            shutil.copytree(kit.parent / "packages", folder / "kit" / "packages")
        become = ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--init-groups", "--"]
        if confined:
            own = ["--bind", folder, folder, "--tmpfs", "/root", "--tmpfs", "/home"]
            become = [
                "bwrap",
                "--ro-bind",
                "/",
                "/",
                "--dev",
                "/dev",
                "--proc",
                "/proc",
                "--tmpfs",
                "/tmp",
                *map(str, own),
            ]
            become += ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--uid", str(user.pw_uid), "--gid"]
            become += [str(user.pw_gid), "--disable-userns", "--die-with-parent", "--"]
        path = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        server = Server(
            folder / "server",
            folder / "kit" / "py-portable",
            prefix=("env", path, *become),
            act=folder / "act",
            stand_ins=folder / "actions",
        )
        server.owner = user.pw_uid if not confined else None
        look = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
        words = ["env", path, *become, "/usr/bin/python3", "-c", look]
        if subprocess.run(words, capture_output=True, cwd="/").returncode:
            pytest.skip("no Python 3.11 that an ordinary user can start")
        ran = server.workflow(example("one-job.yml"))
        told = ran.evidence(folder / "out")
        (cell,) = told["cells"]
        if confined:
            # What cannot be isolated there is not claimed.
            assert (ran.status != 0, cell["verdict"]) == (True, "UNPROVEN"), ran.log
            assert cell["reason"] == "condition"
            assert "UNPROVEN" in ran.summary
        else:
            assert (ran.status, cell["verdict"]) == (0, "PASS"), ran.log
