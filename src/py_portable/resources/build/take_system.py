"""Copy the Python that runs this into /out, as a prefix that works at any place.

Distributions spread a Python over several folders: the program, its library, its headers.
"""

import shutil
import sys
import sysconfig
from pathlib import Path

OUT = Path("/out")
SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"
LEFT = shutil.ignore_patterns("__pycache__", "test", "site-packages", "dist-packages", "libpython*")


def copy(source: Path, target: Path) -> None:
    """Copy a folder. Links become copies of their targets, since the targets may lie outside."""
    shutil.copytree(source, target, ignore=LEFT, ignore_dangling_symlinks=True, dirs_exist_ok=True)


def main() -> None:
    base = Path(sys.base_prefix)
    for name in ("stdlib", "platstdlib"):
        library = Path(sysconfig.get_path(name))
        copy(library, OUT / library.relative_to(base))
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        sys.exit(
            f"the image has no headers of Python {SERIES} ({headers}/Python.h): so nothing can be compiled for it"
        )
    inside = OUT / "include" / f"python{SERIES}"
    copy(headers, inside)
    # Debian's file only chooses between the files of several architectures, which are elsewhere.
    own = base / "include" / (sysconfig.get_config_var("MULTIARCH") or ".") / f"python{SERIES}" / "pyconfig.h"
    if own.is_file():
        shutil.copyfile(own, inside / "pyconfig.h")
    (OUT / "bin").mkdir()
    program = OUT / "bin" / f"python{SERIES}"
    shutil.copy(Path(sys.executable).resolve(), program)
    (OUT / "bin" / "python3").symlink_to(program.name)


main()
