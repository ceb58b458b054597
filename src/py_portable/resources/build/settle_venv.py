"""Finishes the virtual environment of a package: settle_venv.py PACKAGE ROOT, in the folder of its source.

It takes out what only a build needs, writes the bytecode for the place where it will be installed, and says which
Python it was built for. The Python of the distribution runs it.
"""

import shutil
import subprocess
import sys
from pathlib import Path


def main() -> None:
    package, root = sys.argv[1:]
    tree = Path("debian", package).absolute()
    place = f"{root}/{package}"
    venv = tree / place.lstrip("/")
    take_out(venv)
    program(venv)
    config(venv)
    (library,) = (venv / "lib").glob("python3.*")
    compile_all(venv, tree)
    major, minor = map(int, library.name[len("python") :].split("."))
    bounds = f"python3 (>= {major}.{minor}), python3 (<< {major}.{minor + 1})"
    with Path(f"debian/{package}.substvars").open("a") as stream:
        stream.write(f"venv:Depends={bounds}\n")


def take_out(venv: Path) -> None:
    """Remove pip and setuptools, unless they are locked, and the scripts for shells."""
    locked = {line.partition("==")[0].lower() for line in Path("requirements.txt").read_text().splitlines()}
    lost = [name for name in ("pip", "setuptools") if name not in locked]
    python = venv / "bin" / "python"
    # pip removes itself last: then nothing is left to run.
    for name in sorted(lost, reverse=True):
        subprocess.run(
            [python, "-I", "-B", "-m", "pip", "--quiet", "uninstall", "--yes", name],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    for script in [*(venv / "bin").glob("[Aa]ctivate*"), *(venv / "bin").glob("__pycache__")]:
        shutil.rmtree(script) if script.is_dir() else script.unlink()
    for empty in ("include", "lib64"):
        if (venv / empty).is_symlink():
            (venv / empty).unlink()
        elif (venv / empty).is_dir() and not any((venv / empty).rglob("*.h")):
            shutil.rmtree(venv / empty)


def program(venv: Path) -> None:
    """The program that the config names, whatever script of its name pip has installed."""
    target = venv / "bin" / Path("debian/program-name").read_text()
    target.unlink(missing_ok=True)
    shutil.copyfile("debian/program", target)
    target.chmod(0o755)


def config(venv: Path) -> None:
    """Leave out the command that made it, which names a folder of the build."""
    path = venv / "pyvenv.cfg"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("command")))


def compile_all(venv: Path, tree: Path) -> None:
    for cache in venv.rglob("__pycache__"):
        shutil.rmtree(cache)
    words = [str(venv / "bin" / "python"), "-I", "-m", "compileall", "-qq", "-f"]
    words += ["--invalidation-mode", "unchecked-hash", "-s", str(tree), "-p", "/", str(venv / "lib")]
    # Files that are no Python of this version are nobody's to import.
    subprocess.run(words, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
