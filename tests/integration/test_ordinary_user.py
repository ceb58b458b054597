"""The kit as an ordinary user: an image of its own, real starts, nothing left that it cannot remove."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import REPOSITORY
from tests.integration.test_install_root import hand_made
from tests.integration.users import second_user

pytestmark = pytest.mark.integration

USER = "py-portable-t2"


@pytest.fixture
def home() -> Iterator[Path]:
    with second_user(USER, home=True) as user:
        yield Path(user.pw_dir)


def as_user(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line from a copy that the user can read, with a Python that the user can start."""
    who = pwd.getpwnam(USER)
    # setpriv itself may still look into folders of root at its exec; what `env` execs may not.
    prefix = ["setpriv", "--reuid", str(who.pw_uid), "--regid", str(who.pw_gid), "--init-groups", "--", "env"]
    env = {name: os.environ[name] for name in ("SSL_CERT_FILE", "http_proxy", "https_proxy") if name in os.environ}
    env |= {"HOME": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(home / "kit")}
    for python in (sys.executable, "/usr/bin/python3"):
        test = [*prefix, python, "-c", "import sys, yaml; sys.exit(sys.version_info < (3, 11))"]
        if subprocess.run(test, env=env, capture_output=True, cwd="/").returncode == 0:
            return subprocess.run(
                [*prefix, python, "-m", "py_portable", *words], env=env, cwd="/", capture_output=True, text=True
            )
    pytest.skip("no Python 3.11 that an ordinary user can start")


def test_an_image_of_its_own_and_cells_on_it(home: Path) -> None:
    kit = home / "kit"
    (site,) = {p for p in map(Path, sys.path) if p.name == "site-packages" and (p / "yaml").exists()}
    shutil.copytree(site, kit, symlinks=True, ignore=shutil.ignore_patterns("mypy*", "__pycache__", "ruff*"))
    shutil.copytree(REPOSITORY / "src" / "py_portable", kit / "py_portable", dirs_exist_ok=True)
    tool = home / "tool"
    tool.write_text(
        "#!/bin/sh\nid -u\nid -un 2>/dev/null\n! mount -o remount,rw / 2>/dev/null && ! echo x >/etc/shadow\n"
    )
    tool.chmod(0o755)
    package, older = hand_made(home, "2.0"), hand_made(home, "1.0")
    subprocess.run(["chown", "-R", USER, str(home)], check=True)
    home.chmod(0o755)
    words = ("prove", str(tool), "--image", "debian:12", "--probes", "read-only,no-home,no-passwd", "--json")

    done = as_user(home, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = json.loads(done.stdout)
    assert [(c["verdict"], c["isolation"]) for c in cells] == [("PASS", "full")] * 4
    assert [c["stdout_tail"] for c in cells] == ["10001\ncell\n"] * 3 + ["10001\n10001\n"]

    # The second run takes the image from the store, and what was made can be collected again.
    again = as_user(home, *words)
    assert again.returncode == 0 and all(c["cached"] for c in json.loads(again.stdout))
    assert {c["image_identity"] for c in json.loads(again.stdout)} == {cells[0]["image_identity"]}
    # A package is installed by root of that user's own ids, and what was kept of it can be removed.
    proved = as_user(home, *words[:1], str(package), *words[2:], "--upgrade-from", str(older))
    assert proved.returncode == 0, proved.stdout + proved.stderr
    packaged = json.loads(proved.stdout)
    assert [cell["verdict"] for cell in packaged] == ["PASS"] * 4
    assert "/usr/share/hand-made/owned 644 daemon" in packaged[0]["stdout_tail"].splitlines()
    beside = [f"as {name} in {name} beside hand-made" for name in ("cell", "cell", "cell", "10001")]
    assert [line for cell in packaged for line in cell["stdout_tail"].splitlines() if "beside" in line] == beside
    assert [stage["status"] for stage in packaged[0]["stages"]] == ["done"] * 3
    assert packaged[0]["stages"][-1]["left"] == ["/var/lib/hand-made", "/var/lib/hand-made/state"]
    assert not list((home / ".cache" / "py-portable" / "tmp").iterdir())

    collected = as_user(home, "gc", "--keep-days", "0")
    assert collected.returncode == 0, collected.stderr
    assert not list((home / ".cache" / "py-portable" / "objects").glob("*/*/out/root"))


def test_root_of_a_namespace_with_one_id_is_told_what_it_cannot_be(tmp_path: Path) -> None:
    """Such as a job in a container that maps a single id: there is no ordinary user to become."""
    shutil.copytree(REPOSITORY / "tests" / "ci" / "app", tmp_path / "app")
    alone = ("unshare", "--user", "--map-root-user", "--")
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces")
    words = (sys.executable, "-m", "py_portable", "portability", "--engine", "native")
    env = {**os.environ, "PY_PORTABLE_STORE": str(tmp_path / "store")}
    done = subprocess.run([*alone, *words], cwd=tmp_path / "app", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "setgroups: Operation not permitted" in done.stderr
    assert "Traceback" not in done.stderr
