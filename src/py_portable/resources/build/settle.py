"""Adapt an interpreter that was made elsewhere: give it the paths it has here, and leave only the standard library and
pip.

settle.py PYTHON: works on /opt/python (writable), and is run by that interpreter. It writes /build/interpreter.json
with `version`, `implementation`, `free_threaded`, `libpython` (what it came with: static, shared or null) and `lacks`
(modules that most apps need and that it does not have). If it is not the CPython PYTHON, nothing is changed.
"""

import importlib
import json
import os
import pprint
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

PREFIX = Path("/opt/python")
SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"
LIBRARY = Path(os.__file__).parent
EXPECTED = ("bz2", "ctypes", "hashlib", "lzma", "sqlite3", "ssl", "uuid", "zlib")
TRIMMED = (
    "test",
    "idlelib",
    "turtledemo",
    "ctypes/test",
    "distutils/tests",
    "lib2to3/tests",
    "sqlite3/test",
    "tkinter/test",
    "unittest/test",
    "EXTERNALLY-MANAGED",
    "sitecustomize.py",
)
# Where distributions that patch ensurepip keep its wheels.
WHEELS = ("/usr/share/python-wheels", "/usr/share/python3-wheels")
# The variables of a build that are paths. If its prefix is /usr, other values (install, mkdir) must keep it.
PATHS = [
    "prefix",
    "exec_prefix",
    "BINDIR",
    "LIBDIR",
    "INCLUDEDIR",
    "INCLUDEPY",
    "CONFINCLUDEDIR",
    "CONFINCLUDEPY",
    "LIBPL",
    "LIBDEST",
    "DESTLIB",
    "BINLIBDEST",
    "SCRIPTDIR",
    "MACHDESTLIB",
    "DESTSHARED",
    "LIBPC",
    "MANDIR",
    "DESTDIRS",
    "datarootdir",
    "host_prefix",
    "host_exec_prefix",
]


def told() -> dict[str, Any]:
    return {
        "version": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "libpython": libpython(),
    }


def libpython() -> "str | None":
    if list(PREFIX.glob(f"lib*/python3.*/config-*/libpython{SERIES}*.a")) or list(
        PREFIX.glob(f"lib*/libpython{SERIES}*.a")
    ):
        return "static"
    return "shared" if list(PREFIX.glob(f"lib*/libpython{SERIES}*.so*")) else None


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def trim(places: "list[Path]") -> None:
    """Remove tests, documents, static libraries, packages that others installed, and links that lead out of the
    prefix.
    """
    for name in TRIMMED:
        remove(LIBRARY / name)
    for archive in [*PREFIX.glob("lib*/python3.*/config-*/libpython*"), *PREFIX.glob("lib*/libpython*.a")]:
        remove(archive)
    for folder in PREFIX.glob("lib*/pkgconfig"):
        remove(folder)
    for entry in (PREFIX / "share").glob("*"):
        if entry.name != "terminfo":
            remove(entry)
    for place in places:
        for entry in place.glob("*"):
            if entry.name != "pip" and not entry.name.startswith("pip-"):
                remove(entry)
    for root, folders, names in os.walk(PREFIX):
        for name in [*folders, *names]:
            path = Path(root, name)
            if path.is_symlink() and not path.resolve().is_relative_to(PREFIX):
                path.unlink()
        for name in [n for n in folders if n == "__pycache__"]:
            shutil.rmtree(Path(root, name), ignore_errors=True)


def ours(value: Any, old: str, key: str) -> Any:
    """A variable of the build with its value here: with our prefix, and with the compiler that every image has."""
    if not isinstance(value, str):
        return value
    if old != "/usr" or key in PATHS:
        # The start of a path, also one that stands right after -L or -I.
        start = r"(?:(?<!\w)|(?<=-L)|(?<=-I))"
        value = re.sub(rf"{start}{re.escape(old)}(?=[/:\s'\"]|$)", str(PREFIX), value)
    value = re.sub(r"(?<!\S)(?:/\S+/)?clang(\+\+)?(?!\S)", lambda m: "c++" if m[1] else "cc", value)
    value = re.sub(r"(?<!\S)(?:/\S+/)?llvm-(ar|nm|ranlib|strip|objcopy|readelf)(?!\S)", r"\1", value)
    return value.replace("-fdebug-default-version=4", "")


def set_variables() -> None:
    """Set what sysconfig tells builds of extensions: it names folders and compilers of those who made the
    interpreter.
    """
    module = importlib.import_module(sysconfig._get_sysconfigdata_name())  # type: ignore[attr-defined]
    old = module.build_time_vars["prefix"]
    fresh = {key: ours(value, old, key) for key, value in module.build_time_vars.items()}
    if fresh.get("WHEEL_PKG_DIR"):
        fresh["WHEEL_PKG_DIR"] = str(PREFIX / "share/python-wheels")
    text = "# From those who made this interpreter, with our prefix.\nbuild_time_vars = " + pprint.pformat(
        fresh
    )
    file = Path(module.__file__ or "")
    file.unlink()
    file.write_text(text + "\n")
    for makefile in PREFIX.glob("lib*/python3.*/config-*/Makefile"):
        lines = makefile.read_text(errors="surrogateescape").splitlines(keepends=True)
        fixed = "".join(ours(line, old, line.partition("=")[0].strip()) for line in lines)
        makefile.unlink()
        makefile.write_text(fixed, errors="surrogateescape")


def bring_pip(places: "list[Path]") -> None:
    """Install pip from ensurepip's wheel if it is not installed, and copy the wheels that ensurepip needs."""
    found = [wheel for folder in WHEELS for wheel in sorted(Path(folder).glob("pip-*.whl"))]
    if found and not list((LIBRARY / "ensurepip/_bundled").glob("pip-*.whl")):
        kept = PREFIX / "share/python-wheels"
        kept.mkdir(parents=True)
        for wheel in (*found, *found[-1].parent.glob("setuptools-*.whl")):
            shutil.copyfile(wheel, kept / wheel.name)
    if not any((place / "pip").is_dir() for place in places):
        found += sorted((LIBRARY / "ensurepip/_bundled").glob("pip-*.whl"))
        if not found:
            sys.exit(f"this Python {SERIES} has no pip, and no wheel for ensurepip to install it from")
        with zipfile.ZipFile(found[-1]) as archive:
            archive.extractall(places[0])


def set_programs() -> None:
    """Leave in bin/ only the interpreter, under its three names, and pip, which it starts."""
    program = Path(sys.executable).resolve()
    folder = program.parent
    kept = (program.name, f"python{SERIES}-config")
    for entry in folder.iterdir():
        if entry.name not in kept:
            remove(entry)
    for name in ("python", "python3", f"python{SERIES}"):
        if name != program.name:
            (folder / name).symlink_to(program.name)
    for name in ("pip", "pip3", f"pip{SERIES}"):
        script = folder / name
        script.write_text(
            f"#!{PREFIX}/bin/python{SERIES}\n"
            "import sys\nfrom pip._internal.cli.main import main\n\nsys.exit(main())\n"
        )
        script.chmod(0o755)


def compile_library() -> None:
    """Compile the library, since the prefix is read-only from now on: by hash, since times differ in each build."""
    words = [
        "-m",
        "compileall",
        "-q",
        "-f",
        "-j",
        os.environ["JOBS"],
        "--invalidation-mode",
        "unchecked-hash",
    ]
    subprocess.run([sys.executable, "-I", "-B", *words, str(LIBRARY)], check=True)


def lacks() -> "list[str]":
    return [
        name
        for name in EXPECTED
        if subprocess.run(
            [sys.executable, "-I", "-B", "-c", f"import {name}"], capture_output=True
        ).returncode
    ]


def main() -> None:
    known = told()
    if known["version"].rpartition(".")[0] == sys.argv[1] and not known["free_threaded"]:
        places = [Path(p) for p in site.getsitepackages() if Path(p).parent == LIBRARY]
        if not places:
            sys.exit(f"{LIBRARY} has no folder for packages among: {', '.join(site.getsitepackages())}")
        places[0].mkdir(exist_ok=True)
        trim(places)
        bring_pip(places)
        set_variables()
        set_programs()
        compile_library()
        known["lacks"] = lacks()
        subprocess.run([sys.executable, "-I", "-B", "-m", "pip", "--version"], check=True)
    Path("/build/interpreter.json").write_text(json.dumps(known))


main()
