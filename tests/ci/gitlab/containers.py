"""What jobs with `image:` take on a docker daemon without a registry: the image, the tool's helper, a kit that is whole."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement

HELPER = "py-portable-tests-helper"
REPOSITORY = Path(__file__).parents[3]
_BUILDING = ("pip", "uv")
_NOT_NEEDED = (
    *("test", "idlelib", "lib2to3", "tkinter", "ensurepip", "site-packages", "__pycache__", "config-*"),
    *("pydoc_data", "turtledemo", "_tkinter*", "_sqlite3*", "_test*"),
)


def images(variables: Mapping[str, str], name: str, root: Path) -> None:
    """`root` as the image `name`; and HELPER, which is that with rsync, of this same system, in it."""
    environ = {**os.environ, **variables}
    with subprocess.Popen(["tar", "--create", "--directory", root, "."], stdout=subprocess.PIPE) as packed:
        words = ["docker", "import", "-", name]
        done = subprocess.run(words, stdin=packed.stdout, capture_output=True, env=environ)
    assert done.returncode == 0, done.stderr

    def docker(*words: str | Path) -> str:
        told = subprocess.run(["docker", *words], env=environ, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        return told.stdout.strip()

    made = docker("create", name, "true")
    rsync = shutil.which("rsync")
    assert rsync
    docker("cp", rsync, f"{made}:/usr/bin/rsync")
    for library in libraries(Path(rsync)):
        if not (root / library.relative_to("/")).exists():
            docker("cp", "--follow-link", library, f"{made}:/usr/lib/{library.name}")
    docker("commit", made, HELPER)
    docker("rm", made)


GLIBC = re.compile(r"(libc|libm|libdl|libpthread|librt|libutil|ld-linux.*)\.so")


def libraries(*programs: Path) -> set[Path]:
    told = subprocess.run(["ldd", *programs], capture_output=True, text=True).stdout
    return {Path(found) for found in re.findall(r"=> (/\S+)", told)}


def kit(folder: Path, *, builds: bool = False) -> None:
    """As `runner.kit`, but with all that it takes in it: the interpreter of these tests and what the kit requires.
    `builds`: with what it takes to build, too."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = folder / "lib" / version
    shutil.copytree(sysconfig.get_path("stdlib"), packages, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_NEEDED))
    python = folder / "bin" / "python"
    python.parent.mkdir()
    shutil.copy(os.path.realpath(sys.executable), python)
    for name in (*requirements(), *(_BUILDING if builds else ())):
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(distribution.locate_file(file), target)
            elif builds and file.parts[-2:-1] == ("bin",):
                target = folder / "bin" / file.name
                shutil.copy(distribution.locate_file(file), target)
    for library in libraries(python, *packages.rglob("*.so")):
        if not GLIBC.match(library.name):
            shutil.copy(library, folder / "lib")
    subprocess.run(["strip", "--strip-debug", *folder.rglob("*.so*")], check=True)
    shutil.copytree(REPOSITORY / "src/py_portable", packages / "py_portable")
    launcher = folder / "py-portable"
    launcher.write_text(
        '#!/bin/sh\nhere=${0%/*}\nexec env LD_LIBRARY_PATH="$here/lib" "$here/bin/python" -I -B -m py_portable "$@"\n'
    )
    launcher.chmod(0o755)


def requirements() -> Iterator[str]:
    """Of the kit, and theirs; without those that build and are not imported where nothing is built."""
    import tomllib

    told = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    waiting, seen = [Requirement(text) for text in told], {"pip", "uv"}
    while waiting:
        one = waiting.pop()
        if one.name in seen or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        seen.add(one.name)
        yield one.name
        waiting += map(Requirement, importlib.metadata.requires(one.name) or ())
