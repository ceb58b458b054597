"""scripts/nox where it has to refuse: with a Python, a user or a permission that is not enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TOOLS = ("cat", "cmp", "date", "dirname", "id", "mkdir", "mv", "readlink", "rm", "sh")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As much of a project as the launcher looks at, in a folder whose name has spaces."""
    folder = tmp_path / "my project"
    (folder / "scripts").mkdir(parents=True)
    (folder / "requirements").mkdir()
    shutil.copy2(REPOSITORY / "scripts" / "nox", folder / "scripts" / "nox")
    (folder / "requirements" / "dev.txt").write_text("nothing==1\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with the usual tools and no Python at all."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


def program(file: Path, text: str) -> Path:
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def too_old(file: Path) -> Path:
    """A Python whose version check fails, as that of 3.9 does."""
    return program(file, f"exec {sys.executable} -c 'import sys; sys.exit(1)'")


def without(file: Path, *modules: str) -> Path:
    """This Python, except that importing `modules` fails: Debian leaves ensurepip out that way."""
    folder = file.parent / f"{file.name}-lacks"
    folder.mkdir()
    for module in modules:
        (folder / f"{module}.py").write_text(f"raise ImportError({module!r})\n", encoding="utf-8")
    return program(file, f'PYTHONPATH="{folder}" exec {sys.executable} "$@"')


def start(project: Path, path: Path | str, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [project / "scripts" / "nox", *words],
        env={"PATH": str(path), "HOME": str(project), **extra},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=60,
    )


def test_a_named_python_that_is_too_old_is_refused_even_if_others_are_there(project: Path, path: Path) -> None:
    old = too_old(path / "old-python")
    result = start(project, f"{path}:{os.environ['PATH']}", "--ensure", PY_PORTABLE_PYTHON=str(old))
    assert result.returncode == 3
    assert f"{old} (from PY_PORTABLE_PYTHON) is not a Python >= 3.11" in result.stderr
    assert result.stdout == ""
    assert not (project / ".venv").exists()


def test_no_ensurepip_and_no_permission_to_fix(project: Path, path: Path) -> None:
    bare = without(path / "bare-python", "ensurepip", "pip")
    program(path / "apt-get", f"touch {project}/apt-was-called")
    result = start(project, path, "--ensure", PY_PORTABLE_PYTHON=str(bare), PY_PORTABLE_NO_FIX="1")
    assert result.returncode == 3
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert f"Python {version} without its venv and ensurepip modules" in result.stderr
    assert f"apt-get install --yes --no-install-recommends python{version}-venv" in result.stderr
    assert not (project / "apt-was-called").exists()
    assert not (project / ".venv" / "py-portable.stamp").exists()


SUDO = """
[ "$1" = -n ] && shift
echo "sudo $*" >>"{calls}"
[ "{free}" = yes ] || {{ echo "sudo: a password is required" >&2; exit 1; }}
exec "$@"
"""


@pytest.mark.parametrize(("ci", "free", "installs"), [("true", "yes", True), ("true", "no", False), ("", "yes", False)])
def test_an_ordinary_user_of_a_ci_installs_by_sudo(
    project: Path, path: Path, ci: str, free: str, installs: bool
) -> None:
    """Where it asks for no password; nobody else does without being asked, and here is no terminal."""
    bare, calls = without(path / "bare-python", "ensurepip", "pip"), project / "calls"
    (path / "id").unlink()
    program(path / "id", "echo 1000")
    program(path / "sudo", SUDO.format(calls=calls, free=free))
    program(path / "true", "exit 0")
    program(path / "env", f'exec {shutil.which("env")} "$@"')
    # What it brings in truth makes ensurepip importable.
    program(path / "apt-get", f'rm "{path}/bare-python-lacks/ensurepip.py"; echo "apt-get $*" >>"{calls}"')
    result = start(project, path, "--ensure", PY_PORTABLE_PYTHON=str(bare), CI=ci, PIP_NO_INDEX="1")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    line = f"apt-get install --yes --no-install-recommends {version}"
    said = calls.read_text().splitlines() if calls.exists() else []
    if installs:
        assert said == ["sudo true", f"sudo env DEBIAN_FRONTEND=noninteractive {line}", line]
        assert f"Installing {version}: {line}" in result.stderr
    else:
        assert line not in said and result.returncode == 3
        assert f"next: sudo {line}\n" in result.stderr


def test_an_install_that_fails_is_told_and_leaves_no_stamp(project: Path, path: Path) -> None:
    result = start(project, os.environ["PATH"], "--ensure", PIP_NO_INDEX="1", PY_PORTABLE_PYTHON=sys.executable)
    assert result.returncode == 3
    assert "could not be set up (see above)" in result.stderr
    assert "nothing" in result.stderr
    assert not (project / ".venv" / "py-portable.stamp").exists()


def test_a_moved_project_does_not_trust_its_stamp(project: Path, path: Path) -> None:
    venv = project / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    lock, pyproject = (project / "requirements" / "dev.txt", project / "pyproject.toml")
    stamp = f"{project.resolve()}\n" + lock.read_text() + pyproject.read_text()
    (venv / "py-portable.stamp").write_text(stamp, encoding="utf-8")
    # Nothing is missing, so no Python is looked for: this PATH has none.
    assert start(project, path, "--ensure").returncode == 0
    moved = project.rename(project.parent / "moved")
    result = start(moved, path, "--ensure", PIP_NO_INDEX="1", PY_PORTABLE_PYTHON=sys.executable)
    assert result.returncode == 3
    assert not (moved / ".venv" / "py-portable.stamp").exists()


@pytest.mark.parametrize("changed", ["requirements/dev.txt", "pyproject.toml"])
def test_a_changed_lock_or_project_is_noticed(project: Path, path: Path, changed: str) -> None:
    venv = project / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    lock, pyproject = (project / "requirements" / "dev.txt", project / "pyproject.toml")
    stamp = f"{project.resolve()}\n" + lock.read_text() + pyproject.read_text()
    (venv / "py-portable.stamp").write_text(stamp, encoding="utf-8")
    assert start(project, path, "--ensure").returncode == 0
    with (project / changed).open("a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    too_old(path / "old-python")
    result = start(project, path, "--ensure", PY_PORTABLE_PYTHON=str(path / "old-python"))
    assert result.returncode == 3


def test_the_lock_files_name_no_index() -> None:
    locked = [REPOSITORY / "requirements/dev.txt", REPOSITORY / "src/py_portable/resources/tools.txt"]
    for file in locked:
        text = file.read_text(encoding="utf-8")
        assert "index-url" not in text
        assert "://" not in text
        names = [line for line in text.splitlines() if "==" in line and not line.startswith("#")]
        assert names
        assert all(line.endswith("\\") for line in names), "every name has hashes"
