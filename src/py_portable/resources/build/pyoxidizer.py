"""Build an app that lies as wheels in /in/wheels with PyOxidizer's driver, from /build/cpython.tar.zst.

pyoxidizer.py SPEC: a JSON object with distribution, script, entry_point, config (whether /in/pyoxidizer.bzl is to
be used) and args. The result is the folder /out/NAME and /out/entry.json.
"""

import compileall
import filecmp
import hashlib
import importlib.metadata
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

SITE = Path("/build/site")
PROJECT = Path("/build/project")
ARCHIVE = Path("/build/cpython.tar.zst")
STAGE = Path("/build/stage")
OUT = Path("/out")
DRIVER = Path("/build/driver/pyoxidizer")

TEMPLATE = """\
# What py-portable gives PyOxidizer. A file of your own is used with `config: FILE`; these are its variables:
# ARCHIVE and ARCHIVE_SHA256 (the interpreter), WHEELS (a folder), STAGE (libraries that extension modules of the
# standard library load, at lib/pylibs). Its default target must give a folder with the program NAME in it.

def make_exe():
    dist = PythonDistribution(sha256=VARS["ARCHIVE_SHA256"], local_path=VARS["ARCHIVE"], flavor="standalone")
    policy = dist.make_python_packaging_policy()
    policy.extension_module_filter = "all"
    policy.allow_files = True
    policy.file_scanner_emit_files = True
    policy.file_scanner_classify_files = True
    policy.include_file_resources = True
    policy.include_distribution_sources = True
    policy.include_distribution_resources = True
    policy.include_test = False
    policy.bytecode_optimize_level_zero = True
    policy.resources_location = "filesystem-relative:lib"
    config = dist.make_python_interpreter_config()
    config.run_command = @COMMAND@
    config.allocator_backend = "default"
    # Locale, encodings and standard streams as `python` has them; its environment variables and options are not heeded.
    config.config_profile = "python"
    config.isolated = True
    config.parse_argv = False
    config.use_environment = False
    config.user_site_directory = False
    # Its dispatch calls spawn_main with the wrong arguments: run_command does it.
    config.multiprocessing_auto_dispatch = False
    # The driver's own importer crashes with Python 3.11; with this one __file__ and *.libs folders work.
    config.oxidized_importer = False
    config.filesystem_importer = True
    config.module_search_paths = ["$ORIGIN/lib"]
    exe = dist.to_python_executable(name=@NAME@, packaging_policy=policy, config=config)
    exe.add_python_resources(exe.pip_install(["--no-index", "--no-deps", "--no-compile"] + @WHEELS@))
    return exe

def make_install(exe):
    files = FileManifest()
    files.add_python_resource(".", exe)
    files.add_manifest(glob([VARS["STAGE"] + "/lib/**/*"], strip_prefix=VARS["STAGE"] + "/"))
    return files

register_target("exe", make_exe)
register_target("install", make_install, depends=["exe"], default=True)
resolve_targets()
"""


def quoted(text: str) -> str:
    """A Starlark string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


WORKERS = """\
import sys
if sys.argv[1:2] == ["--multiprocessing-fork"]:
    from multiprocessing.spawn import freeze_support
    freeze_support()
if sys.argv[-2:-1] == ["-c"] and sys.argv[-1].startswith(
    ("from multiprocessing.resource_tracker import main;", "from multiprocessing.forkserver import main;")
):
    exec(sys.argv[-1])
    sys.exit()
"""
"""multiprocessing starts its helpers as it would start a Python: its own words are no words of the app's."""


def command(module: str, attribute: str) -> str:
    """What the executable runs: the console script's own lines."""
    if not attribute:
        return f"{WORKERS}import runpy\nrunpy.run_module({module!r}, run_name='__main__', alter_sys=False)\n"
    top = attribute.partition(".")[0]
    return (
        f"{WORKERS}if sys.argv[0] in ('', '-c'):\n    sys.argv[0] = sys.executable\n"
        f"from {module} import {top}\nsys.exit({attribute}())\n"
    )


def bzl(name: str, run: str, wheels: list[str]) -> str:
    words = {
        "COMMAND": quoted(run),
        "NAME": quoted(name),
        "WHEELS": "[" + ", ".join(map(quoted, wheels)) + "]",
    }
    return re.sub("@(COMMAND|NAME|WHEELS)@", lambda found: words[found[1]], TEMPLATE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def entry(spec: dict[str, Any], distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """(name of the executable, module:attribute), chosen as the config says, else the obvious one."""
    name = distribution.name
    scripts = {e.name: e.value for e in distribution.entry_points if e.group == "console_scripts"}
    if spec["entry_point"]:
        return spec["script"] or name, spec["entry_point"]
    wanted = spec["script"]
    if not wanted:
        same = [script for script in scripts if canonical(script) == canonical(name)]
        wanted = next(iter(scripts)) if len(scripts) == 1 else same[0] if same else None
    if wanted not in scripts:
        sys.exit(
            f"{name} has the console scripts {', '.join(sorted(scripts)) or '(none)'}: "
            "say which one in app.script, or give app.entry-point"
        )
    return wanted, scripts[wanted].partition(" [")[0].strip()


def prepare() -> None:
    """The driver out of its wheel, `cargo` as it wants it, and crates from the folder that was fetched."""
    for folder in (DRIVER.parent, Path("/build/wrap"), Path("/build/cargo"), Path("/build/tmp")):
        folder.mkdir()
    (wheel,) = Path("/in/driver").glob("pyoxidizer-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith("/scripts/pyoxidizer"))
        DRIVER.write_bytes(archive.read(member))
    shutil.copy("/kit/cargo_wrapper.py", "/build/wrap/cargo")
    for program in (DRIVER, Path("/build/wrap/cargo")):
        program.chmod(0o755)
    Path("/build/cargo/config.toml").write_text(
        '[source.crates-io]\nreplace-with = "fetched"\n[source.fetched]\ndirectory = "/in/crates"\n'
    )


def build(spec: dict[str, Any]) -> Path:
    """The folder that the driver made."""
    environ = {
        **os.environ,
        "PATH": f"/build/wrap:/opt/rust/bin:{os.environ['PATH']}",
        "RUSTC": "/opt/rust/bin/rustc",
        "CARGO_HOME": "/build/cargo",
        "CARGO_NET_OFFLINE": "true",
        "CARGO_BUILD_JOBS": os.environ["JOBS"],
        "CARGO_INCREMENTAL": "0",
        "CARGO_PROFILE_RELEASE_STRIP": "symbols",
        # An RPATH, not a RUNPATH: wheels that count on the system's libz find the one brought along.
        "RUSTFLAGS": "-C link-arg=-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib/pylibs",
        "PYOXIDIZER_CACHE_DIR": "/build/driver/cache",
        "PYOXIDIZER_SYSTEM_RUST": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_NO_CACHE_DIR": "1",
        "TMPDIR": "/build/tmp",
    }
    told = {
        "ARCHIVE": str(ARCHIVE),
        "ARCHIVE_SHA256": hashlib.sha256(ARCHIVE.read_bytes()).hexdigest(),
        "WHEELS": "/in/wheels",
        "STAGE": str(STAGE),
    }
    given = [word for name, value in told.items() for word in ("--var", name, value)]
    words = [str(DRIVER), "build", "--system-rust", "--release", *given, *spec["args"]]
    done = subprocess.run(words, cwd=PROJECT, env=environ)
    if done.returncode:
        sys.exit(f"PyOxidizer ended with exit status {done.returncode}")
    made = sorted(PROJECT.glob("build/*/release/*"))
    folders = [path for path in made if path.is_dir()]
    if len(folders) != 1:
        sys.exit(f"the configuration's default target gave {len(folders)} folders, not one")
    return folders[0]


def complete(folder: Path) -> list[str]:
    """Files of the wheels that the driver left out or changed, brought back as pip laid them."""
    brought = []
    for file in sorted(path for path in SITE.rglob("*") if path.is_file()):
        name = file.relative_to(SITE)
        target = folder / "lib" / name
        launcher = name.parts[0] == "bin" and not (SITE / "bin" / "__init__.py").exists()
        if launcher or "__pycache__" in name.parts:
            continue
        if not target.is_file() or not filecmp.cmp(file, target, shallow=False):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
            brought.append(str(name))
        elif file.stat().st_mode & 0o100:
            target.chmod(0o755)
        else:
            target.chmod(0o644)
    return brought


def sane(folder: Path, program: Path) -> None:
    """The driver makes programs and libraries 0770: only a program that was one in its wheel stays one."""
    programs = {program} | {
        folder / "lib" / path.relative_to(SITE)
        for path in SITE.rglob("*")
        if path.is_file() and path.stat().st_mode & 0o100
    }
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs or ".so" in path.suffixes else 0o644)


def main() -> None:
    spec = json.loads(sys.argv[1])
    wheels = sorted(map(str, Path("/in/wheels").glob("*.whl")))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    pip += ["--root-user-action=ignore", "--no-deps", "--no-compile", "--target", str(SITE)]
    subprocess.run([*pip, *wheels], check=True)
    distributions = {canonical(d.name): d for d in importlib.metadata.distributions(path=[str(SITE)])}
    name, value = entry(spec, distributions[canonical(spec["distribution"])])
    module, _, attribute = value.partition(":")
    if not re.fullmatch(r"[\w.]+", module) or not re.fullmatch(r"[\w.]*", attribute):
        sys.exit(f"entry point {value!r} is not module:attribute")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name) or name == "lib":
        sys.exit(
            f"{name!r} cannot be the name of a Rust program: give app.script or an entry point another name"
        )

    PROJECT.mkdir()
    config = PROJECT / "pyoxidizer.bzl"
    if spec["config"]:
        shutil.copy("/in/pyoxidizer.bzl", config)
    else:
        config.write_text(bzl(name, command(module, attribute), wheels), encoding="utf-8")
    print(f"pyoxidizer.bzl:\n{config.read_text(encoding='utf-8')}", flush=True)

    prepare()
    folder = build(spec)
    program = folder / name
    if not program.is_file():
        sys.exit(f"the configuration's default target gave no program {name!r}")
    if (SITE / "bin").is_dir() and not (SITE / "bin" / "__init__.py").exists():
        # pip's launchers: they name the interpreter of this sandbox.
        shutil.rmtree(folder / "lib" / "bin", ignore_errors=True)
    brought = complete(folder)
    print(f"brought back beside what the driver took: {len(brought)} files")
    sane(folder, program)
    # What is read-only, and whose times are reset, must not be compiled at each start.
    compileall.compile_dir(
        folder / "lib",
        quiet=2,
        force=True,
        stripdir=str(folder / "lib"),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        workers=int(os.environ["JOBS"]),
    )
    shutil.move(folder, OUT / name)
    (OUT / "entry.json").write_text(json.dumps({"payload": name, "script": name, "entry_point": value}))


if __name__ == "__main__":
    main()
