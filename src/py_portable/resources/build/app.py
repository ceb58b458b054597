"""Installs the app from the wheels of a wheelhouse, and finds what is started. The scripts that use this lie beside it.

metadata.py, which lies beside it too, checks that everything is installed that the metadata asks for; programs.py finds
the programs.
"""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import programs
from metadata import normal

WHEELS = Path("/in/wheels")
OUT = Path("/out")


@dataclass(frozen=True)
class Entry:
    """What is started, and its name. Without an attribute the module is run, as with `python -m`. `file`: the program
    is this file of a wheel, and there is no module."""

    name: str
    module: str
    attribute: str
    file: "programs.ScriptFile | None" = None

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


def asked(spec: "dict[str, Any]") -> "dict[str, list[str]]":
    """The app and what the config wants beside it, each with its extras."""
    return {**spec["with"], spec["distribution"]: spec["extras"]}


def wanted(distributions: "dict[str, list[str]]") -> "list[str]":
    """The same as requirements."""
    return [f"{name}[{','.join(extras)}]" if extras else name for name, extras in distributions.items()]


def distributions(site: Path) -> "dict[str, importlib.metadata.Distribution]":
    """All distributions that are installed in `site`, by their normalised names."""
    return {normal(d.name): d for d in importlib.metadata.distributions(path=[str(site)])}


def install(site: Path) -> None:
    """Install all wheels into a folder, without bytecode."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    pip += ["--root-user-action=ignore", "--no-deps", "--no-compile", "--target", str(site)]
    subprocess.run([*pip, *sorted(map(str, WHEELS.glob("*.whl")))], check=True)


def chosen(
    app: importlib.metadata.Distribution,
    script: "str | None",
    entry_point: "str | None",
    wheels: "Iterable[Path]",
    others: "Iterable[importlib.metadata.Distribution]" = (),
) -> Entry:
    """What the config names, else the app's only program, else the one that has the app's name.

    `wheels`: those of the wheelhouse; `others`: all that is installed. Their programs are named where there is no such
    one.
    """
    if entry_point:
        return parsed(script or app.name, entry_point)
    scripts, wheels = programs.console_scripts(app), list(wheels)
    files = programs.script_files(app.name, wheels)
    if not script:
        names = scripts or files
        same = [name for name in (*scripts, *files) if normal(name) == normal(app.name)]
        script = next(iter(names)) if len(names) == 1 else same[0] if same else None
    if script in scripts:
        # "app.cli:main [colour]" names extras, too.
        return parsed(script, scripts[script].partition("[")[0].strip())
    if script in files:
        return Entry(script, "", "", files[script])
    lacking = f"{app.name} has no program {script!r}" if script else f"{app.name} has no program of its name"
    there = {normal(one.name): one for one in (*others, app)}
    told = programs.listed(there.values(), wheels)
    sys.exit(
        f"{lacking}. {f'There are: {told}' if told else 'There are no programs at all'}. "
        f"Name a program of {app.name} in app.script, or give app.entry-point"
    )


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
