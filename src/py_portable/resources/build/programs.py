"""The programs of distributions: console scripts, and the files that a wheel has in its scripts folder.

https://packaging.python.org/en/latest/specifications/binary-distribution-format/#installing-a-wheel-distribution-1-0-py32-none-any-whl
"""

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from metadata import normal

# Only with names that every format can give to a program.
_MEMBER = re.compile(r"[^/]+\.data/scripts/([A-Za-z0-9_][A-Za-z0-9._+-]*)")


@dataclass(frozen=True)
class ScriptFile:
    """A program that a wheel brings as a file."""

    name: str
    data: bytes

    @property
    def is_python(self) -> bool:
        line = self.data.partition(b"\n")[0]
        return line.startswith(b"#!") and b"python" in line

    @property
    def kind(self) -> str:
        if self.data.startswith(b"\x7fELF"):
            return "ELF file"
        return "Python script" if self.is_python else "script"


def console_scripts(distribution: Distribution) -> "dict[str, str]":
    return {e.name: e.value for e in distribution.entry_points if e.group == "console_scripts"}


def script_files(distribution: str, wheels: Iterable[Path]) -> "dict[str, ScriptFile]":
    """Those in the wheel of the distribution, by their names."""
    found = {}
    for wheel in wheels:
        if normal(wheel.name.partition("-")[0]) != normal(distribution):
            continue
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if match := _MEMBER.fullmatch(member):
                    found[match[1]] = ScriptFile(match[1], archive.read(member))
    return found


def listed(there: Iterable[Distribution], wheels: Iterable[Path]) -> str:
    """All programs with their kinds, as a sentence has them; "" where there are none."""
    wheels = list(wheels)
    found = []
    for one in sorted(there, key=lambda one: normal(one.name)):
        kinds = dict.fromkeys(console_scripts(one), "console script")
        kinds |= {name: file.kind for name, file in script_files(one.name, wheels).items()}
        found += [f"{name} ({kind} of {one.name})" for name, kind in sorted(kinds.items())]
    return ", ".join(found)
