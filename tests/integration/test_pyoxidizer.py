"""An app by PyOxidizer: built for real, started on images, and what must survive."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.conftest import REPOSITORY, Project
from tests.integration.rust import needs_rust

pytestmark = pytest.mark.integration

MAIN = '''"""Looks at what is easily lost: data with odd names, programs, libraries, modules, metadata, children."""

import sys

def main():
    import _crypt, bz2, ctypes, curses, dbm.gnu, importlib.metadata, importlib.resources, lzma, os, readline
    import multiprocessing, sqlite3, ssl, subprocess, uuid, zlib
    import myextension, oxidetest

    if sys.argv[1:2] == ["again"]:
        print(*sys.argv[2:])
        return
    here = os.path.dirname(oxidetest.__file__)
    assert os.path.isfile(oxidetest.__file__)
    odd = importlib.resources.files("oxidetest").joinpath("odd folder", "n\\u00e9 $x '1'.txt")
    assert odd.read_text() == "odd\\n"
    for program in ("tool.sh", "link.sh"):
        assert subprocess.check_output([os.path.join(here, program)], text=True) == "tool\\n"
    plain = ctypes.CDLL(os.path.join(here, "libplain.so"))
    assert plain.twice(21) == 42
    assert os.path.join(here, "libplain.so") in open("/proc/self/maps").read()
    assert importlib.metadata.version("oxidetest") == "1.0"
    (script,) = importlib.metadata.distribution("oxidetest").entry_points
    assert script.load() is main
    assert ctypes.CDLL(myextension.__file__) and ssl.create_default_context() and sqlite3.connect(":memory:")
    assert myextension.fnv1a(b"a") == 0xAF63DC4C8601EC8C
    assert sys.executable == os.path.realpath("/proc/self/exe"), sys.executable
    # The program is the app, not a Python.
    words = ["-m", "x", "-c", "from multiprocessing.y import z"]
    assert subprocess.check_output([sys.executable, "again", *words], text=True) == " ".join(words) + "\\n"
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(1) as pool:
            assert pool.map(abs, [-1]) == [1], method
        child = context.Process(target=sys.exit, args=(3,))
        child.start()
        child.join()
        assert child.exitcode == 3, method
    maps = {line.split(" ", 5)[-1].strip() for line in open("/proc/self/maps") if ".so" in line}
    glibc = ("ld-linux", "ld-2", "libc", "libm", "libdl", "libpthread", "librt", "libutil", "libresolv", "libnss")
    app = os.path.dirname(sys.executable)
    foreign = [m for m in maps if not m.startswith(app) and not os.path.basename(m).startswith(glibc)]
    assert not foreign, foreign
    print("program", os.path.basename(sys.argv[0]), *sys.argv[1:])
    return 7
'''

OWN = """
def make_exe():
    dist = PythonDistribution(sha256=VARS["ARCHIVE_SHA256"], local_path=VARS["ARCHIVE"], flavor="standalone")
    policy = dist.make_python_packaging_policy()
    policy.extension_module_filter = "all"
    policy.include_test = False
    policy.resources_location = "filesystem-relative:lib"
    config = dist.make_python_interpreter_config()
    config.run_command = "import sys; print('own configuration', sys.version_info[:2])"
    config.allocator_backend = "default"
    config.oxidized_importer = False
    config.filesystem_importer = True
    config.module_search_paths = ["$ORIGIN/lib"]
    return dist.to_python_executable(name="oxidetest", packaging_policy=policy, config=config)

def make_install(exe):
    files = FileManifest()
    files.add_python_resource(".", exe)
    return files

register_target("exe", make_exe)
register_target("install", make_install, depends=["exe"], default=True)
resolve_targets()
"""

OXIDE = {"format": "pyoxidizer"}
CONFIG = {
    "version": 1,
    "app": {
        "source": "app",
        "smoke": [{"args": ["a b", "-c"], "stdout": ["program oxidetest a b -c"], "exit": 7}],
    },
    "python": "3.11",
    "baselines": {
        "default": {
            "image": "debian:11",
            "packages": ["libpq-dev", "libcurl4-openssl-dev", "libssl-dev"],
            "libraries": ["openssl"],
        }
    },
    "artifacts": {"oxide": OXIDE, "wheels": {"format": "wheelhouse"}},
    "portability": {"images": ["debian:11", "debian:12", "debian:13"], "probes": ["read-only", "no-home"]},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("oxide")
    package = folder / "app" / "src" / "oxidetest"
    (package / "odd folder").mkdir(parents=True)
    (package / "odd folder" / "né $x '1'.txt").write_text("odd\n")
    (package / "tool.sh").write_text("#!/bin/sh\necho tool\n")
    (package / "tool.sh").chmod(0o755)
    (package / "link.sh").symlink_to("tool.sh")
    # No earlier run over the same store has made this app.
    (package / "__init__.py").write_text(f"# {secrets.token_hex()}\n")
    (package / "cli.py").write_text(MAIN)
    (folder / "plain.c").write_text("int twice(int x) { return 2 * x; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", package / "libplain.so", folder / "plain.c"], check=True)
    (folder / "app" / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "oxidetest"\nversion = "1.0"\ndependencies = []\n'
        '[project.scripts]\noxidetest = "oxidetest.cli:main"\n'
        '[tool.setuptools.packages.find]\nwhere = ["src"]\n'
        '[tool.setuptools.package-data]\noxidetest = ["**/*", "*"]\n'
    )
    shutil.copy(REPOSITORY / "examples/myapp/src/myextension.c", folder / "app")
    (folder / "app" / "setup.py").write_text(
        'from setuptools import Extension, setup\n\nsetup(ext_modules=[Extension("myextension", ["myextension.c"])])\n'
    )
    (folder / "portable.yaml").write_text(json.dumps(CONFIG))
    return Project(folder)


def without_rust() -> dict[str, str]:
    places = os.environ["PATH"].split(os.pathsep)
    return {"PATH": os.pathsep.join(p for p in places if not Path(p, "rustc").exists())}


def offline() -> tuple[list[str], dict[str, str]]:
    """Words before a command, and variables, with which it reaches no registry."""
    away = "http://127.0.0.1:9"
    known = ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "PIP_INDEX_URL", "UV_DEFAULT_INDEX")
    # An ordinary user would need a user namespace, in which the kit would have other rights.
    return ["unshare", "--net"] if os.geteuid() == 0 else [], dict.fromkeys(known, away)


def killed(project: Project, step: str, after: float) -> bool:
    """Whether a build could be killed `after` seconds into the step: not where it is made already."""
    log = project.folder / "killed.log"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [sys.executable, "-m", "py_portable", "build", "-v", "oxide"],
            cwd=project.folder,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        started, over = f"started  {step}".encode(), b"started  artifact oxide"
        end = time.monotonic() + 1500
        while started not in log.read_bytes() and over not in log.read_bytes() and child.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.2)
        reached = started in log.read_bytes()
        time.sleep(after if reached else 0)
        child.send_signal(signal.SIGKILL)
        child.wait()
    return reached


def compiled(dist: Path, artifact: str) -> list[str]:
    """The crates that cargo compiled when the artifact was built."""
    steps = json.loads((dist / "evidence.json").read_text())["steps"]
    (step,) = (s for s in steps if s["name"] == f"artifact {artifact}")
    return re.findall(r"^ +Compiling (\S+)", Path(step["log"]).read_text(errors="replace"), re.MULTILINE)


def old_rust(folder: Path) -> dict[str, str]:
    (folder / "rustc").write_text("#!/bin/sh\necho 'rustc 1.63.0 (abc 2022-08-08)'\n")
    (folder / "rustc").chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def variant(project: Project, name: str, text: str) -> Path:
    """A config beside the first one, with the same lock and a configuration of its own for the driver."""
    (project.folder / f"{name}.bzl").write_text(text)
    config: Mapping[str, object] = {
        **CONFIG,
        "artifacts": {
            name: {
                **OXIDE,
                "config": f"{name}.bzl",
                "smoke": [{"args": [], "stdout": ["own configuration (3, 11)"]}],
            }
        },
        "portability": {"images": ["debian:12"]},
    }
    path = project.folder / f"{name}.yaml"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("lacking", ["none", "too old"])
def test_what_the_machine_lacks(project: Project, tmp_path: Path, lacking: str) -> None:
    """All that needs no Rust is built, and the rest says the line that mends it."""
    ran = project.run("build", env=without_rust() if lacking == "none" else old_rust(tmp_path))
    assert ran.status == 3, ran.stderr
    said = {
        "none": "Rust, which the format pyoxidizer compiles with, is not on PATH",
        "too old": "rustc 1.63.0 (abc 2022-08-08) is too old: PyOxidizer needs 1.81 or newer",
    }
    assert said[lacking] in ran.stderr
    assert "rustup toolchain install stable && rustup default stable" in ran.stderr
    assert list((project.folder / "dist" / "wheels").glob("oxidetest-1.0-*.whl"))
    assert not (project.folder / "dist" / "oxide").exists()


@needs_rust
def test_killed_on_the_way_and_finished_without_a_network(project: Project) -> None:
    """A build that is killed twice, then the same command where no registry is to be reached."""
    killed(project, "compiled crates", 8)
    assert killed(project, "artifact oxide", 5)
    before, variables = offline()
    done = subprocess.run(
        [*before, sys.executable, "-m", "py_portable", "build", "-v"],
        cwd=project.folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "done  artifact oxide" in done.stderr
    # The crates are another step's result, for all apps: none is compiled for this one.
    assert compiled(project.folder / "dist", "oxide") == ["portable-app"]


@needs_rust
def test_a_second_build_beside_another_one_compiles_no_crate(project: Project) -> None:
    """Its result taken away, the same app again, and at the same time a configuration of the user's own."""
    (before,) = (row["sha256"] for row in project.evidence["artifacts"] if row["name"] == "oxide")
    (step,) = (s for s in project.evidence["steps"] if s["name"] == "artifact oxide")
    shutil.rmtree(Path(step["log"]).parent)
    words = ["build", "--config", variant(project, "own", OWN), "--dist", "own"]
    with subprocess.Popen(
        [sys.executable, "-m", "py_portable", *map(str, words)], cwd=project.folder, stderr=subprocess.PIPE
    ) as beside:
        ran = project.run("build", "-v", "oxide")
        said = beside.communicate()[1].decode(errors="replace")
    assert ran.status == 0, ran.stderr
    assert beside.returncode == 0, said
    assert "done  artifact oxide" in ran.stderr
    assert compiled(project.folder / "dist", "oxide") == ["portable-app"]
    # This one gives its program the name itself.
    assert compiled(project.folder / "own", "own") == ["oxidetest"]
    (after,) = (row["sha256"] for row in project.evidence["artifacts"] if row["name"] == "oxide")
    assert after == before, "the same app gives the same bytes"


@needs_rust
def test_what_is_made_needs_no_rust_any_more(project: Project) -> None:
    ran = project.run("build", "-v", env=without_rust())
    assert ran.status == 0, ran.stderr
    assert "started" not in ran.stderr


@needs_rust
def test_every_cell_passes(project: Project) -> None:
    ran = project.run("portability", "--artifact", "oxide")
    assert ran.status == 0, ran.stdout + ran.stderr
    cells = project.cells(artifact="oxide")
    assert len(cells) == 9
    assert {cell["verdict"] for cell in cells} == {"PASS"}


@needs_rust
def test_modes_and_names_of_the_folder(project: Project) -> None:
    (made,) = (project.folder / "dist" / "oxide").iterdir()
    modes = {
        path.relative_to(made).as_posix(): stat.S_IMODE(path.lstat().st_mode)
        for path in made.rglob("*")
        if not path.is_dir()
    }
    assert set(modes.values()) == {0o644, 0o755}
    assert modes["oxidetest"] == 0o755 and modes["lib/oxidetest/tool.sh"] == 0o755
    assert modes["lib/oxidetest/odd folder/né $x '1'.txt"] == 0o644
    assert modes["lib/oxidetest/libplain.so"] == 0o755
    # A wheel has no links: what the link led to was copied into it.
    assert modes["lib/oxidetest/link.sh"] == 0o755 and not (made / "lib/oxidetest/link.sh").is_symlink()
    assert not (made / "lib" / "bin").exists()
    assert "portable-app" not in {path.name for path in made.iterdir()}


@needs_rust
def test_a_configuration_of_the_users_own(project: Project) -> None:
    ran = project.run("portability", "--config", variant(project, "own", OWN), "--dist", "own")
    assert ran.status == 0, ran.stdout + ran.stderr
    told = json.loads((project.folder / "own" / "evidence.json").read_text())
    assert [cell["verdict"] for cell in told["cells"]] == ["PASS"]


@needs_rust
def test_a_configuration_that_is_broken_is_explained(project: Project) -> None:
    broken = OWN.replace("dist.make_python_packaging_policy()", "no_such_function()")
    ran = project.run("build", "--config", variant(project, "broken", broken), "--dist", "broken")
    assert ran.status == 4, ran.stderr
    assert "no_such_function" in ran.stderr
    assert "PyOxidizer ended with exit status" in ran.stderr
