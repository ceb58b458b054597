"""No code travels by a compiler's cache: what a dependency did while it was built is gone with the dependency.

Foreign Python runs where no cache is; compilers run beside it, where no package is, with a configuration that nobody
can write and with no word on their command lines that came from a package.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from py_portable.formats import compilers
from py_portable.formats.nuitka import link_time, packed_from
from py_portable.steps.context import BuildFailed
from py_portable.store import default_root
from tests.files import content, regular_files
from tests.integration.conftest import Project
from tests.unit.build_scripts import script as load

compile_ = load("compile")
elsewhere = load("elsewhere")

MARK = b"CARRIED-BY-THE-CACHE"
# What runs in every Python of the build: as sitecustomize, where a package of the app lies on the path.
LURK = f"""
import os, pathlib, stat

MARK = {MARK.decode()!r}
PLACES = [os.environ.get("CCACHE_DIR"), "/cache", "/cache/ccache", "/answered", "/in/modules", "/in/modules/module-cache"]
PLACES += ["~/.cache/ccache", "~/.ccache", "~/.config/ccache", "/etc", "/kit", "/opt/tools/nuitka/build/static_src"]
for place in filter(None, PLACES):
    folder = pathlib.Path(place).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mark.h").write_text(f'static const char mark[] __attribute__((used)) = "{{MARK}}";\\n')
        wrapper = folder / "wrapper"
        wrapper.write_text(f'#!/bin/sh\\nexec "$@" -include {{folder}}/mark.h\\n')
        wrapper.chmod(0o755)
        (folder / "ccache.conf").write_text(f"prefix_command = {{wrapper}}\\n")
        for old in [p for p in folder.rglob("*") if p.is_file() and p.parent != folder]:
            old.write_text(MARK)
    except OSError:
        pass
"""
CONFIG = """version: 1
app:
  source: app
  smoke: [{args: [], stdout: ["hello", "plug 1", "bare 1"]}]
python: "3.13"
baselines:
  default: {image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}
artifacts: {folder: {format: nuitka-standalone}}
portability: {images: ["debian:12"]}
"""
PROJECT = """[build-system]
requires = ["setuptools>=70"]
build-backend = "setuptools.build_meta"
[project]
name = "hello-cache"
version = "1"
dependencies = [DEPENDENCIES]
[project.scripts]
hello-cache = "hello_cache:main"
[tool.setuptools]
py-modules = ["hello_cache"]
"""
# Beside the promise: a plug-in that only metadata names, and a distribution without any module, are carried.
MAIN = """import importlib.metadata


def main() -> None:
    print("hello")
    for entry in importlib.metadata.entry_points(group="hello.plugins"):
        print(entry.name, entry.load()())
    print("bare", importlib.metadata.version("hello-bare"))
"""
PLUGIN = {
    "hello_plug.py": "def number() -> int:\n    return 1\n",
    "hello_plug-1.dist-info/entry_points.txt": "[hello.plugins]\nplug = hello_plug:number\n",
}


def wheel(folder: Path, name: str, files: dict[str, str], *metadata: str) -> None:
    """A pure wheel, by hand."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.dist-info"
    held = {
        **files,
        f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1", *metadata, ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{member},,\n" for member in [*held, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as archive:
        for member, text in {**held, f"{info}/RECORD": record}.items():
            archive.writestr(member, text)


def app(folder: Path, *dependencies: str) -> None:
    (folder / "app").mkdir(exist_ok=True)
    (folder / "portable.yaml").write_text(CONFIG)
    listed = ", ".join(f'"{one}"' for one in dependencies)
    (folder / "app" / "pyproject.toml").write_text(PROJECT.replace("DEPENDENCIES", listed))
    imports = "import lurk\n" if "lurk==1" in dependencies else ""
    (folder / "app" / "hello_cache.py").write_text(imports + MAIN)


def caches() -> list[Path]:
    return sorted((default_root(os.environ) / "cache").glob("compile*"))


@pytest.mark.integration
def test_what_a_dependency_left_is_not_in_the_next_build(tmp_path: Path) -> None:
    wheel(tmp_path / "links", "lurk", {"sitecustomize.py": LURK, "lurk.py": ""})
    env = {"PIP_FIND_LINKS": str(tmp_path / "links")}
    project = Project(tmp_path)
    wheel(tmp_path / "links", "hello_plug", PLUGIN)
    wheel(tmp_path / "links", "hello_bare", {})
    app(tmp_path, "hello-plug==1", "hello-bare==1", "lurk==1")
    first = project.run("build", env=env)
    assert first.status == 0, first.stderr
    app(tmp_path, "hello-plug==1", "hello-bare==1")
    second = project.run("portability", env=env)
    assert second.status == 0, second.stdout + second.stderr
    marked = [
        path for path in (tmp_path / "dist" / "folder").rglob("*") if path.is_file() and MARK in path.read_bytes()
    ]
    assert marked == []
    cached = list(regular_files(*caches()))
    for path in cached:
        assert MARK not in content(path), path
        assert path.name not in ("ccache.conf", "wrapper"), path
    # And there is a cache, which held what the first build compiled.
    assert cached


# --------------------------------------------------------------------------- what foreign code can ask compilers for


def archive(tmp_path: Path, asked: object, **files: bytes) -> Path:
    path = tmp_path / "asked.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in {"request.json": json.dumps(asked).encode(), **files}.items():
            head = tarfile.TarInfo(name)
            head.size = len(data)
            tar.addfile(head, io.BytesIO(data))
    return path


USUAL = {"script": "Backend.scons", "folder": "portable_entry.build", "options": {}, "definitions": {}}


def unpack(path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    place = path.parent / "place"
    monkeypatch.setattr(compile_, "PLACE", place)
    with tarfile.open(path) as tar:
        compile_.unpacked(tar)
    return {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()}


def test_sources_are_taken_and_nothing_that_a_build_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "files/module.app.c": b"1",
        "files/static_src/MainProgram.c": b"2",
        "files/größe.const": b"3",
        "files/x.py": b"no",
        "files/x.o": b"no",
    }
    assert unpack(archive(tmp_path, USUAL, **files), monkeypatch) == {
        f"portable_entry.build/{name}" for name in ("module.app.c", "static_src/MainProgram.c", "größe.const")
    }


@pytest.mark.parametrize(
    "name",
    [
        "files/../../outside.c",
        "/etc/ccache.conf",
        "files/.sconsign-313.dblite",
        "files/-fplugin=x.c",
        "files/@words.c",
        "files/static_src/@words.c",
        "files/a;touch x.c",
        "files/${__import__('os').system('touch x')}.c",
        "files/$(touch x).c",
        "files/a b.c",
        "files/a\nb.c",
        "elsewhere/x.c",
        "files",
    ],
)
def test_a_name_is_no_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(compile_.Refused):
        unpack(archive(tmp_path, USUAL, **{name: b"x"}), monkeypatch)
    assert not (tmp_path / "outside.c").exists()


def test_what_scons_wrote_for_the_linker_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nuitka asks again in a folder that holds the answers to what it asked before."""
    files = {"files/@link_input.txt": b'"-fplugin=x"', "files/a.c": b"1"}
    assert unpack(archive(tmp_path, USUAL, **files), monkeypatch) == {"portable_entry.build/a.c"}


@pytest.mark.parametrize(
    "change",
    [
        {"script": "/build/own.scons"},
        {"script": "../x"},
        {"folder": "../x"},
        {"folder": "/cache"},
        {"folder": ""},
    ],
)
def test_only_nuitkas_own_scons_files_run(
    change: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(compile_.Refused):
        unpack(archive(tmp_path, {**USUAL, **change}), monkeypatch)


@pytest.mark.parametrize(
    "asked",
    [
        {"zig_exe_path": "/build/program"},
        {"cpp_defines": "A,-fplugin=/build/x.so"},
        {"link_libraries": "-wrapper,/build/x"},
        {"link_dirs": "-B/build"},
        {"cpp_defines": 'A="$(touch x)"'},
        {"cpp_defines": "${__import__('os')}"},
        {"experimental": "a b"},
        {"x`y`": "1"},
        {"--file": "x"},
        {"python_include_path": "/build;x"},
        {"static_libpython": "@words.txt"},
        {"link_libraries": "m,@words.txt"},
        {"link_libraries": "/build/x.so"},
        {"link_libraries": "m,:x.so"},
        {"link_dirs": "/usr/lib,-B/build"},
        {"cpp_include_dirs": "/usr/include,build"},
        {"cpp_defines": "A=1,@words.txt"},
        {"clang_mode": "/build/program"},
        {"onefile_splash_screen": "yes"},
        {"mingw_mode": "true"},
        {"msvc_version": "14"},
        {"unknown": "true"},
        {"exe_mode": "true\n"},
    ],
)
def test_no_option_is_a_flag_or_a_program(asked: dict[str, str]) -> None:
    with pytest.raises(compile_.Refused):
        compile_.options(asked, Path("/build/x"), "no")


def test_what_the_kit_says_is_not_asked_for() -> None:
    asked = {
        "adapted_python_header_files_dir": "/build/mine",
        "nuitka_src": "/build/mine",
        "lto_mode": "yes",
        "source_dir": "/etc",
        "python_prefix": "/build/x",
        "monolithpy": "true",
        "exe_mode": "true",
    }
    assert set(compile_.options(asked, Path("/build/x"), "no")) == {
        "nuitka_src=/opt/tools/nuitka/build",
        "lto_mode=no",
        "source_dir=.",
        # A link.json with compiler flags would be read from a prefix of the package's own.
        "python_prefix=/opt/python",
        "monolithpy=False",
        "exe_mode=true",
        "adapted_python_header_files_dir=/build/x/adapted",
    }


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "PATH", "NUITKA_CCACHE_BINARY", "NUITKA_PACKAGE_DIR", "CCACHE_PREFIX", "_NUITKA_x", "CC"],
)
def test_no_definition_is_a_variable_that_programs_heed(name: str) -> None:
    with pytest.raises(compile_.Refused):
        compile_.definitions({name: "x"})


def test_what_nuitka_says_is_handed_on(tmp_path: Path) -> None:
    source = tmp_path / "portable_entry.build"
    source.mkdir()
    (source / "a.c").write_text("int x;")
    (tmp_path / "tool.c").write_text("int z;")
    (source / "static_src").mkdir()
    (source / "static_src" / "tool.c").symlink_to(tmp_path / "tool.c")
    headers = tmp_path / "headers"
    (headers / "internal").mkdir(parents=True)
    (headers / "internal" / "pycore_x.h").write_text("int y;")
    words = [
        "-W",
        "ignore",
        "scons.py",
        "-f",
        "/opt/tools/nuitka/build/Backend.scons",
        "--warn=no-deprecated",
    ]
    environ = {
        "_NUITKA_BUILD_DEFINITIONS_CATALOG": "_NUITKA_A,NUITKA_FILE_VERSION,_NUITKA_BUILD_DEFINITIONS_CATALOG",
        "_NUITKA_A": "1 $x",
    }
    asked = elsewhere.request(
        [*words, f"source_dir={source}", "cpp_defines=A=1"], {**environ, "NUITKA_FILE_VERSION": "2"}
    )
    elsewhere.hand_out(asked, source, headers, tmp_path / "1.tar")
    with tarfile.open(tmp_path / "1.tar") as tar:
        assert [(one.name, one.isreg()) for one in tar] == [
            (name, True)
            for name in (
                "request.json",
                "files/a.c",
                "files/static_src/tool.c",
                "files/adapted/internal/pycore_x.h",
            )
        ]
    assert "cpp_defines=A=1" in compile_.options(asked["options"], Path("/build/x"), "no")
    assert compile_.definitions(asked["definitions"])["_NUITKA_A"] == "1 $x"
    for name in ("SUFFIXES", "HEADERS", "ADAPTED", "CATALOG"):
        assert getattr(compile_, name) == getattr(elsewhere, name)


def test_only_a_regular_file_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(BuildFailed):
            compilers._copied(tmp_path / name, tmp_path / f"{name}.copy")
    assert not compilers._copied(tmp_path / "nothing", tmp_path / "copy")
    assert compilers._copied(tmp_path / "secret", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "secret"


@pytest.mark.parametrize(
    ("lto", "args", "asked"),
    [
        (False, [], False),
        (True, [], True),
        (True, ["--lto=no"], False),
        (False, ["--lto=no", "--lto=yes"], True),
    ],
)
def test_link_time_optimization_gets_no_cache(lto: bool, args: list[str], asked: bool) -> None:
    assert link_time({"lto": lto, "args": args}) is asked


def test_what_the_sandbox_left_is_not_followed(tmp_path: Path) -> None:
    """The floor of a onefile is measured in a folder that foreign code could write to."""
    (tmp_path / "nuitka").mkdir()
    assert packed_from(tmp_path) == tmp_path / "nuitka" / "portable_entry.dist"
    (tmp_path / "nuitka" / "portable_entry.dist").symlink_to("/")
    with pytest.raises(BuildFailed):
        packed_from(tmp_path)
    (tmp_path / "nuitka").rename(tmp_path / "other")
    (tmp_path / "nuitka").symlink_to("/usr")
    with pytest.raises(BuildFailed):
        packed_from(tmp_path)


def test_elsewhere_ends_where_the_compilers_failed(tmp_path: Path) -> None:
    """The stand-in for SCons, run as Nuitka runs it, with its folders moved here."""
    text = Path(str(elsewhere.__file__)).read_text().replace('"/asked"', repr(str(tmp_path / "asked")))
    text = text.replace('"/answered"', repr(str(tmp_path / "answered")))
    (tmp_path / "elsewhere.py").write_text(text)
    source = tmp_path / "portable_entry.build"
    for folder in (source, tmp_path / "asked", tmp_path / "answered" / "1" / "static_src"):
        folder.mkdir(parents=True)
    (tmp_path / "answered" / "1" / "static_src" / "x.o").write_text("made")
    (tmp_path / "answered" / "2.failed").touch()
    words = [sys.executable, tmp_path / "elsewhere.py", "-f", "/x/Backend.scons", f"source_dir={source}"]
    assert subprocess.run(words).returncode == 0
    assert (source / "static_src" / "x.o").read_text() == "made"
    assert subprocess.run(words).returncode == 1
