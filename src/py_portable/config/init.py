"""Makes a first portable.yaml for a folder from its pyproject.toml."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable import resources
from py_portable.base.regular import read_regular
from py_portable.errors import ConfigError

# Newest first among those that old distributions and compilers are known to get on with.
_PYTHONS = ("3.13", "3.12", "3.11", "3.14", "3.10")

_MAX_METADATA_BYTES = 4 << 20
_SCRIPT = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,99}")

_TEMPLATE = """\
# yaml-language-server: $schema=portable.schema.json
# For editors; make that file with: py-portable check --print-schema > portable.schema.json
version: 1

app:
{app}
  # extras: []
  smoke:                       # starts that show that the app works
    - args: ["--help"]
      # stdout: ["a line that it must print"]
      exit: 0
      timeout: 20              # seconds

{python}

{built}

portability:
  images: ["debian:11", "debian:12", "debian:13"]
  probes: [read-only, no-home]
  controls: [built-too-new]    # must fail, so that a PASS means something
"""

# An interpreter that is not compiled here has nothing to link: what is proposed then needs no such thing.
_COMPILED, _BROUGHT = "init-compiled.txt", "init-brought.txt"


@dataclass(frozen=True)
class _Project:
    name: str | None
    scripts: tuple[str, ...]
    requires_python: str | None


def render(folder: Path) -> str:
    """The text of a portable.yaml for the app in `folder`; `load` accepts it as it is.

    Raises ConfigError if pyproject.toml cannot be read.
    """
    project = _project(folder / "pyproject.toml")
    python, said = _python(project)
    pinned = pinned_pythons()
    built = resources.path(_COMPILED if python in pinned else _BROUGHT).read_text("utf-8").rstrip()
    built = built.replace("{pinned}", " and ".join(pinned))
    return _TEMPLATE.format(app="\n".join(_app(folder, project)), python=said, built=built)


def pinned_pythons() -> tuple[str, ...]:
    """The Pythons that can be compiled here, such as "3.13": those whose release is pinned, oldest first."""
    table = tomllib.loads(resources.path("sources.toml").read_text())["cpython"]
    return tuple(sorted(table, key=lambda python: int(python.partition(".")[2])))


def _project(path: Path) -> _Project | None:
    try:
        data = tomllib.loads(read_regular(path, _MAX_METADATA_BYTES).decode("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=path.name) from None
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"is not valid TOML: {problem}", where=path.name) from None
    project = _table(data, "project")
    poetry = _table(_table(data, "tool"), "poetry")
    scripts = {**_table(poetry, "scripts"), **_table(project, "scripts")}
    name = project.get("name", poetry.get("name"))
    requires = project.get("requires-python")
    return _Project(
        name=name if isinstance(name, str) else None,
        scripts=tuple(script for script in scripts if _SCRIPT.fullmatch(script)),
        requires_python=requires if isinstance(requires, str) else None,
    )


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _app(folder: Path, project: _Project | None) -> list[str]:
    if project is None and not (folder / "setup.py").exists():
        return [
            '  requirement: "httpie==3.2.4" # the app, by name and version',
            "  # source: .                  # or its source folder, sdist or wheel",
            "  script: http                 # which of its console scripts is the program",
        ]
    lines = ['  source: .                    # this folder; or requirement: "httpie==3.2.4"']
    scripts = project.scripts if project else ()
    if not scripts:
        return [
            *lines,
            "  # script: myapp              # which of its console scripts is the program",
            '  # entry-point: "pkg.mod:main" # or the function, where there is no console script',
        ]
    chosen = next((script for script in scripts if project and script == project.name), scripts[0])
    others = [script for script in scripts if script != chosen][:5]
    script = f"  script: {json.dumps(chosen)}"
    return [*lines, f"{script:<30} # the others: {', '.join(others)}" if others else script]


def _python(project: _Project | None) -> tuple[str, str]:
    """The Python to carry, and its line: one that can be compiled here, if the project accepts one of these."""
    pinned = pinned_pythons()
    ordered = sorted(_PYTHONS, key=lambda python: python not in pinned)
    line = 'python: "{}"'
    if project is None or project.requires_python is None:
        return ordered[0], line.format(ordered[0])
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        wanted = SpecifierSet(project.requires_python)
    except InvalidSpecifier:
        return ordered[0], line.format(ordered[0])
    # A bound such as >=3.13.2 is about a patch release, so a late one stands for each.
    chosen = next((python for python in ordered if wanted.contains(f"{python}.99")), ordered[0])
    said = "".join(each for each in project.requires_python if each.isprintable())[:60]
    return chosen, f"{line.format(chosen)}                 # pyproject.toml says: {said}"
