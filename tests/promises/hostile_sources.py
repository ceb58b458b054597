"""Sources that take what they can when their code runs, and say in their metadata what they got."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.unit.index_server import wheel

SPOILS = '''
import glob, os, socket

def spoils():
    """The environment, those of all processes, the user's files; and whether anything could be left or reached."""
    found = [f"{name}={value}" for name, value in os.environ.items()]
    for path in glob.glob("/proc/[0-9]*/environ") + FILES:
        try:
            with open(path, "rb") as stream:
                found.append(stream.read().decode("latin-1"))
        except OSError:
            pass
    for folder in FOLDERS:
        for name in ("planted", "mine"):
            try:
                with open(os.path.join(folder, name), "a") as stream:
                    stream.write("planted")
                found.append("WROTE INTO " + folder)
            except OSError:
                pass
    try:
        socket.create_connection(SERVER, 2).close()
        found.append("REACHED THE NETWORK")
    except OSError:
        pass
    return "\\n".join(found).replace("\\0", "\\n")
'''

HOOKS = """
def get_requires_for_build_wheel(settings=None):
    return REQUIRES

def prepare_metadata_for_build_wheel(folder, settings=None):
    name = f"{NAME}-1.0.dist-info"
    os.makedirs(os.path.join(folder, name))
    lines = [f"Requires-Dist: {one}" for one in DEPENDS]
    head = ["Metadata-Version: 2.1", f"Name: {NAME}", "Version: 1.0", *lines]
    with open(os.path.join(folder, name, "METADATA"), "w") as stream:
        stream.write("\\n".join(head) + "\\n\\nRAN\\n" + spoils())
    return name
"""

SETUPTOOLS = wheel("setuptools", "99.0", more={
    # Runs setup.py as the real one does, which is all that matters of it here.
    "setuptools/build_meta.py": textwrap.dedent("""
        import os

        class Legacy:
            def _run(self):
                told = {"__name__": "__main__", "__file__": "setup.py"}
                with open("setup.py") as stream:
                    exec(stream.read(), told)
                return told

            def get_requires_for_build_wheel(self, settings=None):
                return self._run()["get_requires_for_build_wheel"]()

            def prepare_metadata_for_build_wheel(self, folder, settings=None):
                return self._run()["prepare_metadata_for_build_wheel"](folder)

        __legacy__ = Legacy()
        prepare_metadata_for_build_wheel = __legacy__.prepare_metadata_for_build_wheel
        get_requires_for_build_wheel = __legacy__.get_requires_for_build_wheel
    """),
})  # fmt: skip


def code(
    name: str,
    *,
    files: Sequence[Path],
    folders: Sequence[Path],
    server: tuple[str, int],
    depends: Sequence[str] = (),
    requires: Sequence[str] = (),
) -> str:
    """A build backend, or a setup.py: the same hooks are called of either."""
    told = {
        "NAME": name,
        "FILES": [str(path) for path in files],
        "FOLDERS": [str(path) for path in folders],
        "SERVER": server,
        "DEPENDS": list(depends),
        "REQUIRES": list(requires),
    }
    constants = "".join(f"{key} = {value!r}\n" for key, value in told.items())
    return f"{constants}{SPOILS}{HOOKS}"


def in_tree(text: str, project: str = "") -> Mapping[str, str]:
    """A source that is its own build backend."""
    system = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    return {"pyproject.toml": f"{system}{project}", "own.py": text}


def by_setup(text: str, *, asks: bool = False) -> Mapping[str, str]:
    """A setup.py without anything beside it; with `asks` it says the word that makes setuptools ask for more."""
    return {"setup.py": f"# setup_requires\n{text}" if asks else text}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder
