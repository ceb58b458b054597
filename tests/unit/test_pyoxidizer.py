"""The format pyoxidizer: its archive, its configuration, the toolchain it asks for, what a config may say."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from py_portable import resources
from py_portable.config import load
from py_portable.errors import ConfigError, MachineError
from py_portable.formats.pyoxidizer import toolchain


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, resources.path(f"build/{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


archive = script("oxide_archive")
driver = script("pyoxidizer")


@given(st.lists(st.binary(max_size=3 * 1024), max_size=8), st.integers(0, 300 * 1024))
def test_what_is_stored_is_what_zstd_reads(parts: list[bytes], zeros: int) -> None:
    target = io.BytesIO()
    data = [*parts, bytes(zeros)]
    with archive.ZstdStored(target) as stream:
        for part in data:
            stream.write(part)
    assert zstandard.ZstdDecompressor().stream_reader(target.getvalue()).read() == b"".join(data)


def test_modules_of_the_archive() -> None:
    config = 'struct _inittab x[] = {\n {"_io", PyInit__io},\n {"sys", NULL},\n};'
    shared = [
        "_ssl.cpython-311-x86_64-linux-gnu.so",
        "_crypt.cpython-311-x86_64-linux-gnu.so",
        "_testcapi.so",
    ]
    found = archive.extensions(config, shared)
    assert sorted(found) == ["_io", "_ssl", "sys"]
    assert found["_io"][0]["in_core"] and found["_io"][0]["init_fn"] == "PyInit__io"
    assert found["_ssl"][0]["shared_lib"] == f"build/extensions/{shared[0]}"
    assert not found["_ssl"][0]["required"]


def test_the_record_is_of_the_version_that_the_driver_takes() -> None:
    told = archive.python_json(["a.o"], "", [])
    assert told["version"] == "7"
    assert told["build_info"]["core"]["objs"] == ["build/core/a.o"]


def test_members_say_nothing_of_who_made_them() -> None:
    member = tarfile.TarInfo("python/install/bin/python3.11")
    member.uid, member.uname, member.mtime, member.mode = 1000, "me", 99, 0o4770
    plain = archive.plain(member)
    assert (plain.uid, plain.uname, plain.mtime, plain.mode) == (0, "", 0, 0o755)
    assert archive.plain(tarfile.TarInfo("python/install/lib/__pycache__/a.pyc")) is None


@given(st.text())
def test_words_cannot_leave_their_literal(text: str) -> None:
    literal = driver.quoted(text)
    assert "\n" not in literal
    body = literal[1:-1].replace("\\\\", "")
    assert '"' not in body.replace('\\"', "")


def test_the_generated_configuration() -> None:
    run = driver.command("pkg.cli", "main")
    text = driver.bzl("my-app", run, ['/in/wheels/a"b.whl', "/in/wheels/@NAME@.whl"])
    assert 'name="my-app"' in text
    assert r'"/in/wheels/a\"b.whl"' in text
    assert '"/in/wheels/@NAME@.whl"' in text, "what was filled in is not filled in again"
    compile(text, "pyoxidizer.bzl", "exec")
    assert run.endswith("from pkg.cli import main\nsys.exit(main())\n")
    assert driver.quoted(run) in text


@pytest.mark.parametrize(
    ("words", "theirs"),
    [
        ((), False),
        (("--multiprocessing-fork", "tracker_fd=5", "pipe_handle=7"), True),
        (("run", "--multiprocessing-fork"), False),
        (("-I", "-c", "from multiprocessing.resource_tracker import main;main(4)"), True),
        (("-c", "from multiprocessing.forkserver import main; main(4, 5, [])"), True),
        (("-c", "from multiprocessing.forkserver import main"), False),
        (("-c", "print(1)"), False),
    ],
)
def test_multiprocessing_starts_its_own_helpers_and_nothing_else(words: tuple[str, ...], theirs: bool) -> None:
    """Its modules are replaced by ones that only say that they were there."""
    program = (
        "import sys, types\n"
        "for name in ('spawn', 'resource_tracker', 'forkserver'):\n"
        "    module = types.ModuleType(name)\n"
        "    module.freeze_support = lambda: sys.exit('theirs')\n"
        "    module.main = lambda *told: sys.exit('theirs')\n"
        "    sys.modules[f'multiprocessing.{name}'] = module\n"
        f"{driver.WORKERS}sys.exit('the app')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ("theirs" if theirs else "the app")


def rustc(folder: Path, version: str, sysroot: str) -> dict[str, str]:
    program = folder / "rustc"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "rustc {version} (abc 2026-01-01)" || echo "{sysroot}"\n'
    )
    program.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}/usr/bin:/bin"}


def test_no_rust(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="not on PATH") as caught:
        toolchain({"PATH": str(tmp_path)})
    assert caught.value.hint and "rustup" in caught.value.hint
    assert caught.value.exit_code == 3


def test_rust_that_is_too_old(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="too old") as caught:
        toolchain(rustc(tmp_path, "1.63.0", str(tmp_path)))
    assert caught.value.hint and "rustup toolchain install" in caught.value.hint


def test_rust_of_the_system_does_not_start_in_a_baseline(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="system's own"):
        toolchain(rustc(tmp_path, "1.95.0", "/usr"))


def test_rust_that_fits(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cargo").touch()
    found = toolchain(rustc(tmp_path, "1.95.0", str(tmp_path)))
    assert found.sysroot == tmp_path and "1.95.0" in found.version


CONFIG = """version: 1
app: {requirement: "tiny==1.0"}
python: "3.13"
artifacts:
  oxide: {format: pyoxidizer, PYTHON}
"""


@pytest.mark.parametrize(
    ("words", "place"), [('python: "3.12"', "5:39"), ("args: []", "5:3")], ids=["own", "of the config"]
)
def test_a_python_that_the_driver_cannot_carry(tmp_path: Path, words: str, place: str) -> None:
    path = tmp_path / "portable.yaml"
    path.write_text(CONFIG.replace("PYTHON", words))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert f"portable.yaml:{place}" in caught.value.render()
    assert 'say python: "3.11" here, or choose nuitka-standalone' in caught.value.render()


def test_a_python_that_it_can(tmp_path: Path) -> None:
    path = tmp_path / "portable.yaml"
    (tmp_path / "own.bzl").touch()
    path.write_text(CONFIG.replace("PYTHON", 'python: "3.11", config: own.bzl'))
    made = load(path).artifacts["oxide"]
    assert made.options["config"] == str(tmp_path / "own.bzl")


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "portable.yaml"
    path.write_text(CONFIG.replace("PYTHON", 'python: "3.11", config: own.bzl'))
    with pytest.raises(ConfigError, match="there is no file"):
        load(path)
