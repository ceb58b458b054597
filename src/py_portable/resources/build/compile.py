"""Compile the C sources in /in/asked.tar with the SCons files of the toolbox's Nuitka, and with the cache in /cache.

compile.py LTO ("yes" or "no"). The output of SCons goes to /out. The contents of the archive are foreign: nothing in it
is run, and only what is allowed here becomes a word of a command. No package is installed in this sandbox, so the cache
contains only what compilers made from a text, under the digest of that text.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

ASKED = Path("/in/asked.tar")
OUT = Path("/out")
NUITKA = Path("/opt/tools/nuitka")
PLACE = Path("/build/nuitka")
SCRIPTS = ("Backend.scons", "Onefile.scons")
FOLDERS = ("portable_entry.build", "portable_entry.onefile-build")
MAX_REQUEST = 1 << 20
# SCons evaluates $ and ${...} in names, and gives command lines to a shell: letters, digits, and these. Compilers read
# more words from the file FILE where one begins with @FILE.
NAME = re.compile(r"[\w+][\w.@+~=-]*")
WRITTEN_BY_SCONS = "@link_input.txt"
# What Nuitka tells SCons on Linux: the names of options, and which values they may have. Compilers of other systems and
# paths of programs are not allowed, and no word of a list begins with - or @, which compilers would read as options.
OPTIONS = [
    (
        "(anaconda|apple|arch|debian|fedora|pyenv|uninstalled)_python|self_compiled_python_uninstalled"
        "|(clang|compiler_version|debug|debugger|dll|exe|gil|module|noelf|onefile|onefile_temp|profile|reproducible"
        "|standalone|trace|unstripped)_mode"
        "|python_flag_[a-z_]+|python_sysflag_(?!optimize)[a-z0-9_]+|python_(build_standalone|debug)|no_python_warnings"
        "|onefile_(compression|splash_screen)|full_(compat|names)|assume_yes_for_downloads|collect_resources|deployment"
        "|disable_ccache|frame_locals_proxy|low_memory|show_scons",
        "true|false",
    ),
    (
        "link_(libraries|module_libs)|(debug|devel)_modes|(backend_resource|console|file_reference|pgo)_mode"
        "|(no_deployment|experimental|frozen_modules|compiled_module_count|main_module_name|progress_bar)"
        "|python_version(_full_str)?|python_sysflag_optimize|abiflags|(c_)?target_arch|cf_protection",
        r"((\w[\w.+-]*)(,\w[\w.+-]*)*)?",
    ),
    (
        "(cpp_include|link|adapted_python_header_files)_dirs?|forced_std(out|err)_path|python_include_path|result_exe"
        "|static_libpython",
        r"([/\w][\w./+~-]*(,/[\w./+~-]*)*)?",
    ),
    ("cpp_defines", r"(\w+(=[\w./+-]*)?(,\w+(=[\w./+-]*)?)*)?"),
]
DEFINITION = re.compile(
    r"_NUITKA_[A-Z0-9_]+|NUITKA_(COMPANY_NAME|PRODUCT_NAME|(PRODUCT|FILE)_VERSION|VERSION_COMBINED)"
)
ADAPTED = "adapted_python_header_files_dir"
HEADERS = "adapted"
CATALOG = "_NUITKA_BUILD_DEFINITIONS_CATALOG"
SUFFIXES = (".c", ".cpp", ".h", ".S", ".txt", ".const", ".bin", ".json", ".gcda")
# The kit sets these, whatever was asked for. If an interpreter says that it is MonolithPy, SCons reads compiler flags
# from link.json in its prefix.
FIXED = {
    "source_dir": ".",
    "nuitka_src": str(NUITKA / "build"),
    "python_prefix": "/opt/python",
    "monolithpy": "False",
}


class Refused(Exception):
    """The request is not something that Nuitka asks for."""


def member_name(name: str) -> "PurePosixPath | None":
    """The place of a member of the archive below the folder; None if it is left out. Raises Refused."""
    top, *parts = PurePosixPath(name).parts
    if parts == [WRITTEN_BY_SCONS]:
        return None
    if top != "files" or not parts or not all(NAME.fullmatch(part) for part in parts):
        raise Refused(f"the file name {name!r} is not one of Nuitka's")
    return PurePosixPath(*parts) if parts[-1].endswith(SUFFIXES) else None


def unpacked(tar: tarfile.TarFile) -> "dict[str, Any]":
    """Unpack the files of the request into its folder below PLACE. Returns the request."""
    members = iter(tar)
    first = next(members, None)
    if first is None or first.name != "request.json" or not first.isreg() or first.size > MAX_REQUEST:
        raise Refused("the archive does not begin with request.json")
    stream = tar.extractfile(first)
    asked: dict[str, Any] = json.loads(stream.read()) if stream else {}
    if asked["script"] not in SCRIPTS or asked["folder"] not in FOLDERS:
        raise Refused(f"{asked['script']!r} in {asked['folder']!r} is not something that Nuitka asks for")
    folder = PLACE / str(asked["folder"])
    folder.mkdir(parents=True)
    for member in members:
        place = member_name(member.name)
        data = tar.extractfile(member) if member.isreg() else None
        if place is None or data is None:
            continue
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            shutil.copyfileobj(data, out)
    return asked


def options(asked: "dict[str, str]", folder: Path, lto: str) -> "list[str]":
    """The words for SCons, which runs in `folder`. Raises Refused for an option that Nuitka does not use here."""
    fixed = {**FIXED, "lto_mode": lto}
    words = {}
    for name, value in asked.items():
        if name in fixed:
            continue
        if not any(re.fullmatch(one, name) and re.fullmatch(values, value) for one, values in OPTIONS):
            raise Refused(f"the option {name}={value!r} is not allowed")
        words[name] = value
    if ADAPTED in words:
        words[ADAPTED] = str(folder / HEADERS)
    return [f"{name}={value}" for name, value in {**words, **fixed}.items()]


def definitions(asked: "dict[str, str]") -> "dict[str, str]":
    """The environment variables that become #define lines of a header. Raises Refused."""
    for name in asked:
        if not DEFINITION.fullmatch(name) or name == CATALOG:
            raise Refused(f"the definition {name!r} is not allowed")
    return {**asked, CATALOG: ",".join([*asked, CATALOG])}


def main() -> None:
    try:
        with tarfile.open(ASKED, "r:") as tar:
            asked = unpacked(tar)
        folder = PLACE / str(asked["folder"])
        words = options(asked["options"], folder, sys.argv[1])
        told = definitions(asked["definitions"])
    except (Refused, tarfile.TarError, OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        sys.exit(f"the input that Nuitka gave to the compilers is refused: {problem}")
    environ = {
        **os.environ,
        **told,
        "NUITKA_PYTHON_EXE_PATH": sys.executable,
        "NUITKA_PACKAGE_DIR": str(NUITKA),
        "NUITKA_QUIET": "0",
    }
    (inline,) = NUITKA.glob("build/inline_copy/bin/scons.py")
    command = [sys.executable, "-I", "-W", "ignore", str(inline), "--quiet", "-f"]
    command += [str(NUITKA / "build" / str(asked["script"])), "--jobs", os.environ["JOBS"]]
    command += ["--warn=no-deprecated", "--no-site-dir", *words]
    given = set(folder.rglob("*"))
    done = subprocess.run(command, cwd=folder, env=environ)
    if done.returncode:
        sys.exit(f"the C compiler or SCons ended with exit status {done.returncode}")
    for path in sorted(set(folder.rglob("*")) - given):
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            target = OUT / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


if __name__ == "__main__":
    main()
