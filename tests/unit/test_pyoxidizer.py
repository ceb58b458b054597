"""The format pyoxidizer: its archive, its configuration, the toolchain it asks for, what a config may say."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from py_portable.engines.native import Native
from py_portable.errors import ConfigError, MachineError
from py_portable.formats import load_config
from py_portable.formats.pyoxidizer import observed
from py_portable.formats.rust import Rust, toolchain
from py_portable.steps.context import Environment
from py_portable.store import Store
from tests.unit.build_scripts import script

archive = script("oxide_archive")
driver = script("pyoxidizer")
wrapper = script("cargo_wrapper")


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
    run = driver.command(driver.app.Entry("app", "pkg.cli", "main"))
    text = driver.bzl("my-app", run, ['/in/wheels/a"b.whl', "/in/wheels/@NAME@.whl"])
    assert 'name="my-app"' in text
    assert r'"/in/wheels/a\"b.whl"' in text
    assert '"/in/wheels/@NAME@.whl"' in text, "what was filled in is not filled in again"
    assert r"from pkg.cli import main\nsys.exit(main())\n" in text
    compile(text, "pyoxidizer.bzl", "exec")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-c", "from multiprocessing.sharedctypes import copy; print(copy.__name__)"], "copy"),
        (
            ["-I", "-c", "from multiprocessing.util import sys; print(sys.argv)", "--multiprocessing-fork"],
            None,
        ),
        (["run", "-c", "from multiprocessing.util import sys"], "app"),
        (["-c", "from multiprocessing.util import sys", "more"], "app"),
        (["-c", "print(1)"], "app"),
        (["-c"], "app"),
        ([], "app"),
    ],
)
def test_only_children_of_multiprocessing_are_no_start_of_the_app(
    tmp_path: Path, words: list[str], told: str | None
) -> None:
    (tmp_path / "oxidecli.py").write_text("import sys\ndef main():\n    print('app', *sys.argv[1:])\n")
    (tmp_path / "program.py").write_text(driver.command(driver.app.Entry("app", "oxidecli", "main")))
    done = subprocess.run([sys.executable, tmp_path / "program.py", *words], capture_output=True, text=True, check=True)
    expected = " ".join(["app", *words]) if told == "app" else told or "['-c', '--multiprocessing-fork']"
    assert done.stdout == f"{expected}\n"


def test_a_module_is_run_as_the_interpreter_does_it(tmp_path: Path) -> None:
    (tmp_path / "oxidecli.py").write_text("import sys\nprint(__name__, *sys.argv[1:])\n")
    (tmp_path / "program.py").write_text(driver.command(driver.app.Entry("app", "oxidecli", "")))
    done = subprocess.run([sys.executable, tmp_path / "program.py", "-c", "x"], capture_output=True, text=True)
    assert done.stdout == "__main__ -c x\n"


def cargo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the wrapper of cargo has its target folder, with crates that were compiled before."""
    for name in ("compiled/target/release/deps", "crates/regex-1.7.0", "crates/memchr-2.5.0"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "compiled/target/release/deps/libregex-0123456789abcdef.rlib").write_text("compiled")
    for name in ("KEPT", "COMPILED", "CRATES"):
        monkeypatch.setattr(wrapper, name, folder / name.lower())
    target: Path = wrapper.kept()
    return target


def test_what_was_compiled_is_copied_once_for_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cargo(tmp_path, monkeypatch)
    found = first / "release/deps/libregex-0123456789abcdef.rlib"
    assert found.read_text() == "compiled"
    found.write_text("more")
    assert cargo(tmp_path, monkeypatch) == first and found.read_text() == "more"
    assert (tmp_path / "compiled/target/release/deps" / found.name).read_text() != "more"


def test_one_time_for_all_that_was_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = cargo(tmp_path, monkeypatch)
    assert len({path.stat().st_mtime_ns for path in target.rglob("*")}) == 1


def test_the_program_itself_is_forgotten_and_no_crate_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = cargo(tmp_path, monkeypatch)
    own = ["x86/release/my-app", "x86/release/my-app.d", "x86/release/deps/my_app-0123456789abcdef"]
    own += ["x86/release/.fingerprint/my-app-0123456789abcdef/x", "release/build/my-app-0123456789abcdef/x"]
    other = ["x86/release/deps/my_app_too-0123456789abcdef", "release/deps/libregex-0123456789abcdef.rlib"]
    for name in own + other:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).touch()
    wrapper.forget(target, "my-app")
    assert not [name for name in own if (target / name).exists()]
    wrapper.forget(target, "regex")
    assert [name for name in other if (target / name).exists()] == other


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
    (tmp_path / "bin" / "cargo").write_text("#!/bin/sh\necho cargo 1.95.1\n")
    (tmp_path / "bin" / "cargo").chmod(0o755)
    found = toolchain(rustc(tmp_path, "1.95.0", str(tmp_path)))
    assert found == Rust(tmp_path, "rustc 1.95.0 (abc 2026-01-01), cargo 1.95.1")


def test_where_no_rust_is_the_results_of_the_last_one_are_good(tmp_path: Path) -> None:
    def seen(environ: dict[str, str]) -> str:
        return observed(Environment(Store(tmp_path / "store"), Native(), epoch=0, jobs=1, environ=environ))

    nowhere = {"PATH": str(tmp_path / "nowhere")}
    assert seen(nowhere) == ""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cargo").write_text("#!/bin/sh\necho cargo of one\n")
    (tmp_path / "bin" / "cargo").chmod(0o755)
    one = seen(rustc(tmp_path, "1.95.0", str(tmp_path)))
    assert one == "rustc 1.95.0 (abc 2026-01-01), cargo of one"
    assert seen(nowhere) == one
    two = seen(rustc(tmp_path, "1.96.0", str(tmp_path)))
    assert two != one and seen(nowhere) == two


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
        load_config(path)
    assert caught.value.exit_code == 2
    assert f"portable.yaml:{place}" in caught.value.render()
    assert 'write python: "3.11" here, or choose nuitka-standalone' in caught.value.render()


def test_a_python_that_it_can(tmp_path: Path) -> None:
    path = tmp_path / "portable.yaml"
    (tmp_path / "own.bzl").touch()
    path.write_text(CONFIG.replace("PYTHON", 'python: "3.11", config: own.bzl'))
    made = load_config(path).artifacts["oxide"]
    assert made.options.config == tmp_path / "own.bzl"


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "portable.yaml"
    path.write_text(CONFIG.replace("PYTHON", 'python: "3.11", config: own.bzl'))
    with pytest.raises(ConfigError, match="there is no file"):
        load_config(path)
