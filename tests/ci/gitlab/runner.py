"""gitlab-ci-local, and a repository that uses the template as a caller would."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from py_portable import __version__
from py_portable.formats.folder_archive import pack

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
TEMPLATE = "ci-templates/gitlab/py-portable.yml"
IMAGE = "debian:12"


def program(folder: Path) -> Path:
    """Installed into `folder` by npm from the lock, which holds digests. Skips where the machine can't."""
    told = platform.freedesktop_os_release()
    if f"{told.get('ID')}:{told.get('VERSION_ID')}" != IMAGE:
        pytest.skip(f"this machine is not {IMAGE}")
    for name in ("node", "npm", "rsync"):
        if not shutil.which(name):
            pytest.skip(f"no {name}")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "node_modules/.bin/gitlab-ci-local"


def kit(folder: Path) -> None:
    """What a bundle of the kit looks like from outside, with the interpreter and the packages of these tests."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(os.path.realpath(sys.executable))
    (folder / "pyvenv.cfg").write_text(f"home = {Path(os.path.realpath(sys.executable)).parent}\n")
    packages = folder / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    packages.mkdir(parents=True)
    (packages / "kit.pth").write_text(f"{REPOSITORY / 'src'}\n{sysconfig.get_path('purelib')}\n")
    launcher = folder / "py-portable"
    launcher.write_text('#!/bin/sh\nexec "$(dirname "$0")/bin/python" -I -B -m py_portable "$@"\n')
    launcher.chmod(0o755)


def wheel(folder: Path) -> dict[str, str]:
    """The kit of this repository as something that pip installs; the variables by which pip finds it, and nothing
    else."""
    name = f"py_portable-{__version__}"
    lines = f"{REPOSITORY / 'src'}\n{sysconfig.get_path('purelib')}\n"
    files = {
        "py_portable_of_tests.pth": lines,
        f"{name}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: py-portable\nVersion: {__version__}\n",
        f"{name}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}.dist-info/entry_points.txt": "[console_scripts]\npy-portable = py_portable.cli:main\n",
    }
    folder.mkdir()
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as packed:
        for file, text in files.items():
            packed.writestr(file, text)
        record = f"{name}.dist-info/RECORD"
        packed.writestr(record, "".join(f"{file},,\n" for file in (*files, record)))
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


def packed_kit(folder: Path) -> None:
    """`folder`.tar.zst."""
    kit(folder)
    pack(folder, folder.with_name(f"{folder.name}.tar.zst"), epoch=0)
    shutil.rmtree(folder)


def fetched(caller: Caller, ref: str, path: str) -> None:
    """The template, where the tool puts what it gets from the kit's project; there is no server."""
    place = caller.folder / ".gitlab-ci-local/includes/gitlab.example/GROUP/py-portable" / ref / path
    place.parent.mkdir(parents=True)
    place.write_text(for_this_tool((REPOSITORY / path).read_text("utf-8"), shell=False))


@dataclass(frozen=True)
class Ran:
    status: int
    text: str


@dataclass(frozen=True)
class Caller:
    """A repository with an app of its own, the template copied into it, and one of the examples as it stands."""

    folder: Path
    runner: Path
    prefix: tuple[str, ...] = ()

    def run(
        self, *words: str, env: Mapping[str, str] | None = None, containers: bool = False, seconds: int = 300
    ) -> Ran:
        """`containers`: jobs with an image run in it."""
        words = words if containers else ("--force-shell-executor", *words)
        done = subprocess.run(
            [*self.prefix, str(self.runner), *words],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        return Ran(done.returncode, done.stdout + done.stderr)


def make(
    folder: Path,
    runner: Path,
    example: str,
    artifacts: Mapping[str, str],
    *,
    probes: Sequence[str] = (),
    inputs: Mapping[str, Any] | None = None,
    branch: str = "main",
    kit: Callable[[Path], None] = kit,
    shell: bool = False,
    files: Mapping[str, str] | None = None,
) -> Caller:
    """`artifacts`: name -> shell script; without one it cannot be built. `inputs`: more than the example gives; without
    them it stays as it is. `shell`: jobs that prove nothing name no image. `files`: text by path, in place of what would
    be there."""
    folder.mkdir()
    for name, script in artifacts.items():
        path = folder / "tools" / name
        path.parent.mkdir(exist_ok=True)
        if script:
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
    (folder / "portable.yaml").write_text(yaml.safe_dump(config(artifacts, probes)))
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / ".gitignore").write_text("/dist/\n/.py-portable/\n/.gitlab-ci-local/\n")
    kit(folder / "vendor/py-portable")
    target = folder / TEMPLATE
    target.parent.mkdir(parents=True)
    target.write_text(for_this_tool((REPOSITORY / TEMPLATE).read_text("utf-8"), shell=shell))
    caller = folder / ".gitlab-ci.yml"
    shutil.copy(REPOSITORY / "ci-templates/gitlab/examples" / example, caller)
    if inputs:
        told = yaml.safe_load(caller.read_text("utf-8"))
        told["include"][0]["inputs"] |= inputs
        caller.write_text(yaml.safe_dump(told))
    for words in (
        ["init", "--quiet", f"--initial-branch={branch}"],
        ["config", "core.compression", "0"],
        ["remote", "add", "origin", "git@gitlab.example:group/app.git"],
        ["add", "--all"],
        ["-c", "user.name=x", "-c", "user.email=x@example.invalid", "commit", "--quiet", "--message=x"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return Caller(folder, runner)


def config(artifacts: Mapping[str, str], probes: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "version": 1,
        "python": "3.13",
        "baselines": {"default": {"image": IMAGE}},
        "app": {"source": ".", "smoke": [{"args": ["hello"], "stdout": ["hello"]}]},
        "artifacts": {name: {"format": "file", "path": f"tools/{name}"} for name in artifacts},
        "portability": {"images": [IMAGE], "probes": list(probes)},
    }


def for_this_tool(text: str, *, shell: bool) -> str:
    """gitlab-ci-local knows no `expand: false` in a job: the value stands for itself there."""
    header, jobs = yaml.safe_load_all(text)
    for name, job in jobs.items():
        for variable, value in job.get("variables", {}).items():
            job["variables"][variable] = value["value"] if isinstance(value, dict) else value
        if shell and name.endswith(" kit"):
            del job["image"]
    return yaml.safe_dump_all([header, jobs], sort_keys=False)
