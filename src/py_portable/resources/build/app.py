"""Installs the app from the wheels of a wheelhouse, and finds what is started. The scripts that use this lie beside it.

metadata.py, which lies beside it too, checks that everything is installed that the metadata asks for.
"""

import importlib.metadata
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from metadata import normal

WHEELS = Path("/in/wheels")
OUT = Path("/out")


@dataclass(frozen=True)
class Entry:
    """What is started, and its name. Without an attribute the module is run, as with `python -m`."""

    name: str
    module: str
    attribute: str

    @property
    def value(self) -> str:
        return f"{self.module}:{self.attribute}" if self.attribute else self.module

    @property
    def imported(self) -> str:
        """The import with which a console script begins. It imports a name, since a package may hide the module of
        that name.

        https://packaging.python.org/en/latest/specifications/entry-points/#use-for-scripts
        """
        return (
            f"from {self.module} import {self.attribute.partition('.')[0]}"
            if self.attribute
            else "import runpy"
        )

    def called(self, alter_sys: bool = False) -> str:
        """The statement after the import."""
        if self.attribute:
            return f"sys.exit({self.attribute}())"
        more = ", alter_sys=True" if alter_sys else ""
        return f"runpy.run_module({self.module!r}, run_name='__main__'{more})"


def distributions(site: Path) -> "dict[str, importlib.metadata.Distribution]":
    """All distributions that are installed in `site`, by their normalised names."""
    return {normal(d.name): d for d in importlib.metadata.distributions(path=[str(site)])}


def install(site: Path) -> None:
    """Install all wheels into a folder, without bytecode."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    pip += ["--root-user-action=ignore", "--no-deps", "--no-compile", "--target", str(site)]
    subprocess.run([*pip, *sorted(map(str, WHEELS.glob("*.whl")))], check=True)


def chosen(app: importlib.metadata.Distribution, script: "str | None", entry_point: "str | None") -> Entry:
    """What the config names, else the app's only console script, else the one that has the app's name."""
    if entry_point:
        return parsed(script or app.name, entry_point)
    scripts = {e.name: e.value for e in app.entry_points if e.group == "console_scripts"}
    if not script:
        same = [name for name in scripts if normal(name) == normal(app.name)]
        script = next(iter(scripts)) if len(scripts) == 1 else same[0] if same else None
    if script not in scripts:
        sys.exit(
            f"{app.name} has the console scripts {', '.join(sorted(scripts)) or '(none)'}: "
            "name one in app.script, or give app.entry-point"
        )
    # "app.cli:main [colour]" names extras, too.
    return parsed(script, scripts[script].partition("[")[0].strip())


def parsed(name: str, value: str) -> Entry:
    """Parse an entry point. It becomes source code, so it may contain nothing but names and dots."""
    module, _, attribute = (part.strip() for part in value.partition(":"))
    if not all(part.isidentifier() for part in f"{module}.{attribute or module}".split(".")):
        sys.exit(f"entry point {value!r} is not module:attribute")
    return Entry(name, module, attribute)


def tell(entry: Entry, *, payload: str, program: str) -> None:
    """Write entry.json, which py_portable.formats.app_entry reads."""
    told = {"payload": payload, "script": program, "entry_point": entry.value}
    (OUT / "entry.json").write_text(json.dumps(told))
