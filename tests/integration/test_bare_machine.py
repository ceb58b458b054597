"""The first start on a bare Debian: Python without venv, no bubblewrap, no compiler; all really installed.

The machine is a throw-away root of this machine's own suite, with this machine's apt configuration.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_portable.doctor.machine import os_release
from tests.integration.test_launcher import small_lock

pytestmark = pytest.mark.integration
REPOSITORY = Path(__file__).parents[2]
COPIED = ("LICENSE", "noxfile.py", "pyproject.toml", "scripts", "src")
FIX = """
from py_portable import doctor
from py_portable.doctor.needs import system
machine = doctor.observe()
print("LACKED", [finding.name for finding in doctor.lacking(system(machine))])
print("INSTALLED", doctor.fix(system(machine), machine))
print("LACKS", [finding.name for finding in doctor.lacking(system(doctor.observe()))])
"""
# What belongs to this machine's folders and not to the bare one's.
OUTSIDE = (
    "HOME",
    "PATH",
    "LANG",
    "TMPDIR",
    "XDG_",
    "PY_PORTABLE_",
    "VIRTUAL_ENV",
    "PYTHON",
    "PIP_FIND_LINKS",
)
# Without manuals and without waiting for the disk: a throw-away root.
LEAN = (
    "force-unsafe-io",
    *(f"path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
)
MMDEBSTRAP = (
    "mmdebstrap",
    "--mode=root",
    "--variant=minbase",
    "--include=python3,ca-certificates",
    *(f"--dpkgopt={option}" for option in LEAN),
)
# /tmp stays the root's own: apt's user may write there, and not to a tmpfs of bubblewrap's.
BWRAP = ("--dev", "/dev", "--proc", "/proc", "--unshare-pid", "--die-with-parent")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(OUTSIDE)},
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    system = os_release(Path("/etc/os-release").read_text(encoding="utf-8"))
    if os.geteuid() != 0 or system.get("ID") != "debian":
        pytest.skip("needs root on Debian: packages are installed into a throw-away root")
    root = tmp_path_factory.mktemp("bare") / "root"
    sources = [str(file) for file in sorted(Path("/etc/apt/sources.list.d").glob("debian*.sources"))]
    if Path("/etc/apt/sources.list").is_file():
        sources.insert(0, "/etc/apt/sources.list")
    made = subprocess.run(
        [*MMDEBSTRAP, system["VERSION_CODENAME"], str(root), *sources],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    (root / "project").mkdir()
    (root / "project" / "README.md").write_text("The package's description is read from here.\n")
    # CI itself sets up the whole lock; here the part will do that nox and an editable install need.
    (root / "project" / "requirements").mkdir()
    (root / "project" / "requirements" / "dev.txt").write_text(small_lock(), encoding="utf-8")
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, root / "project" / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        else:
            shutil.copy2(source, root / "project" / name)
    yield root
    shutil.rmtree(root)


def inside(root: Path, *argv: str, **extra: str) -> subprocess.CompletedProcess[str]:
    shown = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs")
    shown += tuple(str(file) for file in Path("/etc/apt/apt.conf.d").iterdir())
    binds = [word for name in shown if Path(name).exists() for word in ("--ro-bind", name, name)]
    # The files that the caller's variables name, at the same place.
    named = {value for name, value in ENVIRONMENT.items() if name.endswith(("_CERT", "_BUNDLE", "_CERT_FILE"))}
    for value in named:
        if value.startswith("/") and not value.startswith("/etc/ssl/certs/") and Path(value).is_file():
            binds += ["--ro-bind", value, value]
    return subprocess.run(
        ["bwrap", "--bind", str(root), "/", *binds, *BWRAP, "--", *argv],
        env={**ENVIRONMENT, **extra},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_the_bare_machine_gets_what_it_lacks(bare: Path) -> None:
    refused = inside(bare, "/project/scripts/nox", "--ensure", PY_PORTABLE_NO_FIX="1")
    assert refused.returncode == 3, refused.stderr
    assert "next: apt-get install --yes --no-install-recommends python3." in refused.stderr
    assert not (bare / "project" / ".venv").exists()

    ensured = inside(bare, "/project/scripts/nox", "--ensure")
    assert ensured.returncode == 0, ensured.stderr[-3000:]
    assert "Installing python3." in ensured.stderr
    assert "Set up in" in ensured.stderr

    python = "/project/.venv/bin/python"
    refused = inside(bare, python, "-c", FIX, PY_PORTABLE_NO_FIX="1")
    assert refused.returncode == 1
    assert "this machine lacks bubblewrap, mmdebstrap" in refused.stderr
    assert not (bare / "usr/bin/bwrap").exists()

    fixed = inside(bare, python, "-c", FIX)
    assert fixed.returncode == 0, fixed.stderr[-3000:]
    assert fixed.stdout.splitlines() == [
        "LACKED ['bubblewrap', 'mmdebstrap']",
        "INSTALLED True",
        "LACKS []",
    ]
    assert "To be installed by apt-get: bubblewrap " in fixed.stderr
    assert (bare / "usr/bin/bwrap").exists()
    version = inside(bare, "/project/.venv/bin/nox", "--version")
    assert version.returncode == 0


def test_a_package_that_does_not_exist_is_an_error_with_apts_own_words(bare: Path) -> None:
    code = (
        "from py_portable.doctor import consent, managers, provision\n"
        "from py_portable.errors import MachineError\n"
        "apt = managers.MANAGERS['apt-get']\n"
        "work = provision.Provisioning(apt, ('no-such-thing-at-all',), (), 'the cure')\n"
        "try:\n    provision.do(work, consent.May(), print, bool)\n"
        "except MachineError as problem:\n    print(problem.render())\n"
    )
    told = inside(bare, "/usr/bin/python3", "-c", code, PYTHONPATH="/project/src")
    assert "E: Unable to locate package no-such-thing-at-all" in told.stdout
    assert ": this system's repositories have no such package\n" in told.stdout
    assert told.stdout.endswith("or update the system\n        the cure\n")


def test_an_ordinary_user_without_a_range_of_ids_is_told_what_to_type() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: becomes a user who has no range of ids")
    # Imported before the ids are dropped: nobody may not read every checkout.
    code = (
        "import os\n"
        "from py_portable.doctor import machine, needs\n"
        "from py_portable.engines import ids\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "seen = machine.observe()\n"
        "print(needs.cure(seen, needs.system(seen)))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
    )
    assert told.returncode == 0, told.stderr
    line = r"usermod --add-subuids (\d+-\d+) --add-subgids \1 nobody"
    how = r"sudo {}" if shutil.which("sudo") else r"su -c '{}'"
    assert re.fullmatch(how.format(line), told.stdout.splitlines()[-1]), told.stdout
