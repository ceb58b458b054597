"""Make a folder that is a program: the interpreter of /opt/python, the wheels of /in/wheels, and a launcher.

bundle.py SPEC: a JSON object with the keys of formats/app_entry.py, and trim. The result is /out/NAME with the launcher
/out/NAME/NAME, and /out/entry.json. The launcher is made from /kit/launcher.sh.
"""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import app
import certificates
import metadata

PREFIX = Path("/opt/python")
TREE = Path("/build/tree")
KIT = Path(__file__).parent
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = f"python{VERSION}"
# The module that the launcher starts. Its first argument is the name by which the program was called.
START = """\
import sys

@CERTIFICATES@
if __name__ == "__main__":
    del sys.argv[0]
@MAIN@
"""
# A script is the main module itself, as after `pip install`: it is read as the wheel has it, since the file in bin/ has
# another beginning.
RUN_FILE = """\
    import os

    __file__ = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bin", @NAME@)
    sys.path.insert(0, os.path.dirname(__file__))
    with open(os.path.join(os.path.dirname(sys.path[0]), "lib", "start.script"), "rb") as _script:
        _script = compile(_script.read(), __file__, "exec")
    exec(_script)
"""


def copy_interpreter() -> Path:
    """Copy it into the tree. Returns its site-packages."""
    shutil.copytree(PREFIX, TREE, symlinks=True)
    program = (TREE / "bin" / "python3").resolve()
    if program.name != PYTHON:
        shutil.copy2(program, TREE / "bin" / PYTHON)
    asked = "import sys, sysconfig; print(sys.prefix, sysconfig.get_path('purelib'), sep='\\n')"
    told = python("-c", asked, capture_output=True, text=True).stdout.splitlines()
    if told[0] != str(TREE) or not Path(told[1]).is_relative_to(TREE):
        sys.exit(
            f"this interpreter can't be moved: at {TREE} it looks for its library in {told[0]}, {told[1]}"
        )
    return Path(told[1])


def python(*words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([TREE / "bin" / PYTHON, "-I", "-B", *words], check=True, **options)


def install(site: Path) -> list[str]:
    """Install the wheels. Returns the names of the packages that the interpreter brought and that no wheel replaces."""
    before = set(app.distributions(site))
    wheels = sorted(app.WHEELS.glob("*.whl"))
    wanted = {metadata.normal(wheel.name.partition("-")[0]) for wheel in wheels}
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    options = ("--no-deps", "--no-compile", "--root-user-action=ignore", "--ignore-installed")
    # By name: if files were given, the metadata would say that they came from a folder that exists only here.
    python(*pip, "install", "--no-index", "--find-links", str(app.WHEELS), *options, *sorted(wanted))
    return sorted(before - wanted)


def trim_interpreter() -> None:
    """Remove what no program needs when it runs. Every module of the standard library can still be imported."""
    library = TREE / "lib" / PYTHON
    for file in ("include", "share", "lib/pkgconfig"):
        shutil.rmtree(TREE / file, ignore_errors=True)
    for pattern in ("config-*", "test", "idlelib", "turtledemo", "*/test", "*/tests", "*/idle_test"):
        for folder in library.glob(pattern):
            if "site-packages" not in folder.parts and (pattern != "test" or folder.is_dir()):
                shutil.rmtree(folder)
    # The wheels inside are for making environments with pip; the module itself stays.
    shutil.rmtree(library / "ensurepip" / "_bundled", ignore_errors=True)
    if not list((library / "lib-dynload").glob("_tkinter.*")):
        shutil.rmtree(library / "tkinter", ignore_errors=True)
        (library / "turtle.py").unlink(missing_ok=True)
    for archive in (TREE / "lib").glob("**/*.a"):
        archive.unlink()
    # Only debuggers and linkers need these symbols.
    elf = [TREE / "bin" / PYTHON, *sorted((library / "lib-dynload").glob("*.so"))]
    for program in elf:
        stripped = program.with_name(program.name + ".stripped")
        subprocess.run(["strip", "--strip-unneeded", "-o", stripped, program], check=True)
        stripped.chmod(0o755)
        stripped.replace(program)


def clear_programs(before: set[str]) -> None:
    """Leave only the interpreter and the programs of the wheels in bin/. Scripts find the interpreter beside them."""
    folder = TREE / "bin"
    for file in sorted(folder.iterdir()):
        if file.name in (PYTHON, "python", "python3"):
            continue
        if file.name in before:
            file.unlink()
        elif not file.is_symlink():
            move_script(file)
    for name in ("python", "python3"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(PYTHON)


def move_script(file: Path) -> None:
    """Make a script that names the interpreter by the place of the build look for it beside itself instead."""
    data = file.read_bytes()
    line, _, rest = data.partition(b"\n")
    if not (line.startswith(b"#!") and os.fsencode(TREE) in line):
        return
    # sh reads the second line as a command, Python as a string.
    way = f'\'\'\'exec\' "$(dirname -- "$(readlink -f -- "$0")")/{PYTHON}" -I -B "$0" "$@"\n\' \'\'\'\n'
    file.write_bytes(b"#!/bin/sh\n" + way.encode() + rest)


def launcher(entry: app.Entry) -> None:
    if entry.file is None or entry.file.is_python:
        (TREE / "lib" / "start.py").write_text(start(entry))
        command = f'"$here/bin/{PYTHON}" -I -B "$here/lib/start.py" "$0"'
    else:
        command = f'"$here"/bin/{shlex.quote(entry.name)}'
    if entry.file and entry.file.is_python:
        (TREE / "lib" / "start.script").write_bytes(entry.file.data)
    # A package's data, or bin or lib, may already be there under the program's name.
    name = entry.name
    program = TREE / name
    if program.exists() or program.is_symlink():
        sys.exit(f"the program can't be called {name}: the bundle has a folder or file of that name")
    program.write_text((KIT / "launcher.sh").read_text().replace("@COMMAND@", command))


def start(entry: app.Entry) -> str:
    """The module that the launcher starts."""
    main = f"    {entry.imported}\n\n    {entry.called(alter_sys=True)}\n"
    if entry.file:
        main = RUN_FILE.replace("@NAME@", repr(entry.name))
    return START.replace("@MAIN@\n", main).replace("@CERTIFICATES@", certificates.source())


def compile_all(site: Path) -> None:
    """Compile with unchecked hashes: then no start compares the times of sources, finds one out of date and writes.

    The interpreter came with its library compiled in the same way; of packages a wheel may have replaced the source.
    """
    for folder in site.rglob("__pycache__"):
        shutil.rmtree(folder)
    bare = [file for file in (TREE / "lib" / PYTHON).rglob("*.py") if not compiled(file).exists()]
    way = ("-q", "-f", "-j", os.environ["JOBS"], "--invalidation-mode", "unchecked-hash", "-s", str(TREE))
    done = subprocess.run(
        [TREE / "bin" / PYTHON, "-I", "-B", "-m", "compileall", *way, "-i", "-"],
        input="".join(f"{file}\n" for file in sorted(bare)),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print("not compiled (a start would not import them either):", done.stdout, sep="\n")


def compiled(source: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(source)))


def settle_modes() -> None:
    """Set modes: everybody may read, only the owner may write, and what the owner can execute everybody can execute."""
    for path in [TREE, *TREE.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def main() -> None:
    spec = json.loads(sys.argv[1])
    site = copy_interpreter()
    before = {p.name for p in (TREE / "bin").iterdir()}
    if spec["trim"]:
        trim_interpreter()
    extra = install(site)
    if spec["trim"] and extra:
        python(
            "-m",
            "pip",
            "--disable-pip-version-check",
            "uninstall",
            "-q",
            "-y",
            "--root-user-action=ignore",
            *extra,
        )
    metadata.check(site, app.asked(spec), spec["unmet"])
    clear_programs(before)
    there = app.distributions(site)
    own = there[metadata.normal(spec["distribution"])]
    entry = app.chosen(own, spec["script"], spec["entry_point"], app.WHEELS.glob("*.whl"), there.values())
    launcher(entry)
    compile_all(site)
    settle_modes()
    (TREE / entry.name).chmod(0o755)
    shutil.move(TREE, app.OUT / entry.name)
    app.tell(entry, payload=entry.name, program=entry.name)


if __name__ == "__main__":
    main()
