"""Programs that are files in the scripts folder of a wheel, in Python, in sh, and an ELF file; and a plugin beside one."""

from __future__ import annotations

import json
import platform
import stat
import zipfile
from pathlib import Path

import pytest

from py_portable.engines import static_helpers
from tests.integration.conftest import MainJob, Project

pytestmark = pytest.mark.integration

TOOL = '''#!python
"""Usage: old-tool"""
from __future__ import annotations

import importlib.metadata
import os
import sys

import oldtool

if __name__ == "__main__":
    plugins = [entry.load()() for entry in importlib.metadata.entry_points(group="oldtool")]
    print(__doc__, oldtool.answer(), *sys.argv[1:], *plugins)
    print(os.path.basename(sys.argv[0]), os.path.isdir(sys.path[0]), os.path.isabs(__file__))
    print("file:", os.path.basename(__file__))
    sys.exit(0 if sys.modules["__main__"].oldtool is oldtool else 1)
'''
SHELL = '#!/bin/sh\necho "shell tool works: $# arguments"\n'
SAID = ["Usage: old-tool 42 one two words plugged in", "old-tool True True"]
PROJECT = {
    "version": 1,
    "python": "3.13",
    "baselines": {
        "default": {
            "image": "debian:11",
            "packages": ["libpq-dev", "libcurl4-openssl-dev", "libssl-dev"],
            "libraries": ["openssl"],
        }
    },
    "wheels": {"max-glibc": "2.31"},
    "portability": {"images": ["debian:12"], "probes": ["read-only"]},
}


def wheels(folder: Path) -> None:
    """An app that has no console scripts, one that is an ELF file, and a plugin that nothing requires or imports."""
    static_helpers.put(folder / "helpers")
    wheel(
        folder,
        "oldtool",
        **{
            "oldtool.py": b"def answer():\n    return 42\n",
            "oldtool-1.0.data/scripts/old-tool": TOOL.encode(),
            "oldtool-1.0.data/scripts/shell-tool": SHELL.encode(),
        },
    )
    native = {"native-1.0.data/scripts/native": (folder / "helpers/canary").read_bytes()}
    wheel(folder, "native", f"py3-none-manylinux_2_17_{platform.machine()}", **native)
    points = b"[oldtool]\nplug = plug.inner:tell\n"
    text = b"def tell():\n    return 'plugged in'\n"
    wheel(
        folder,
        "plug",
        **{"plug/__init__.py": b"", "plug/inner.py": text, "plug-1.0.dist-info/entry_points.txt": points},
    )


def wheel(folder: Path, name: str, tag: str = "py3-none-any", **files: bytes) -> None:
    info = f"{name}-1.0.dist-info"
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nProvides-Extra: more\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as archive:
        for path, data in files.items():
            member = zipfile.ZipInfo(path)
            member.external_attr = (stat.S_IFREG | (0o755 if "/scripts/" in path else 0o644)) << 16
            archive.writestr(member, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n")


def build(folder: Path, app: str, script: str, smoke: dict[str, object], artifacts: object) -> Project:
    wheels(folder)
    told = {"requirement": f"{app}==1.0", "with": ["plug[more]==1.0"], "smoke": [smoke], "script": script}
    (folder / "portable.yaml").write_text(json.dumps({**PROJECT, "app": told, "artifacts": artifacts}))
    project = Project(folder)
    done = project.run("portability", "-v", env={"PIP_FIND_LINKS": str(folder)})
    assert done.status == 0, done.stdout + done.stderr
    assert {cell["verdict"] for cell in project.evidence["cells"]} == {"PASS"}
    return project


def test_a_script_in_python_is_the_main_module_and_finds_a_plugin_that_is_beside_the_app(
    tmp_path: Path, main_job: MainJob
) -> None:
    args = ["one", "two words"]
    # Nuitka has its own name for the file of a program.
    compiled = {"format": "nuitka-standalone", "smoke": [{"args": args, "stdout": SAID}]}
    artifacts = {"house": {"format": "wheelhouse"}, "tree": {"format": "bundle"}, "folder": compiled}
    build(tmp_path, "oldtool", "old-tool", {"args": args, "stdout": [*SAID, "file: old-tool"]}, artifacts)


@pytest.mark.parametrize(
    ("app", "script", "said"),
    [("oldtool", "shell-tool", ["shell tool works: 2 arguments"]), ("native", "native", [])],
)
def test_another_program_is_started_as_it_is(
    app: str, script: str, said: list[str], tmp_path: Path, main_job: MainJob
) -> None:
    build(tmp_path, app, script, {"args": ["a", "b c"], "stdout": said}, ["wheelhouse", "bundle"])


def test_a_program_that_is_not_there_is_told_with_all_that_are(tmp_path: Path, main_job: MainJob) -> None:
    wheels(tmp_path)
    app = {"requirement": "oldtool==1.0", "script": "missing", "smoke": [{"args": []}]}
    (tmp_path / "portable.yaml").write_text(json.dumps({**PROJECT, "app": app, "artifacts": ["bundle"]}))
    done = Project(tmp_path).run("build", env={"PIP_FIND_LINKS": str(tmp_path)})
    assert done.status == 4
    told = "old-tool (Python script of oldtool), shell-tool (script of oldtool)"
    assert f"oldtool has no program 'missing'. There are: {told}. " in done.stderr, done.stderr
