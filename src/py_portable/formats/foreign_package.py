"""What is read of a package that somebody else made, of whatever package manager. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from py_portable.errors import ConfigError
from py_portable.inspect.elf import ElfError, read
from py_portable.inspect.elf.reader import Elf

PROGRAMS = PurePosixPath("/usr/bin")
MOST_ELF_BYTES = 512 << 20


@dataclass(frozen=True)
class ForeignPackage:
    """`programs`: absolute paths of the files in /usr/bin that can be started, links too; `files`: of all that is no
    folder; `elves`: of all ELF files and of links to them. `floor`: the newest glibc that one of them asks for."""

    name: str
    version: str
    programs: tuple[str, ...]
    files: frozenset[str]
    elves: frozenset[str]
    floor: str | None


def absolute(name: str, path: Path) -> str:
    """Where the package at `path` puts this file. Raises ConfigError for a name that leads out of its folders."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ConfigError(
            f"it holds a file that is called {name[:200]!r}: a path with '..' leads out of where it is installed",
            where=str(path),
        )
    return "/" + "/".join(parts)


def target(place: str, link: str) -> str:
    """Where a link leads, computed from names only."""
    steps: list[str] = []
    for step in (PurePosixPath(place).parent / link).parts[1:]:
        steps = steps[:-1] if step == ".." else [*steps, step]
    return "/" + "/".join(steps)


def is_program(place: str, *, started: bool) -> bool:
    return started and PurePosixPath(place).parent == PROGRAMS


def elf_of(data: bytes | None, name: str) -> Elf | ElfError | None:
    """What is read of an ELF file; None for no bytes."""
    try:
        return read(data, name=name) if data else None
    except ElfError as problem:
        return problem


def program(package: ForeignPackage, asked: str | None, name: str) -> str:
    """The absolute path of the program: the one that was asked for, or the only one, or the one with the package's
    name. Raises ConfigError."""
    if asked:
        path = asked if asked.startswith("/") else f"/usr/bin/{asked}"
        if path in package.files:
            return path
        raise ConfigError(f"the package has no {path}", where=name, hint=_choices(package.programs))
    if len(package.programs) == 1:
        return package.programs[0]
    if f"/usr/bin/{package.name}" in package.programs:
        return f"/usr/bin/{package.name}"
    what = "several programs" if package.programs else "no program"
    raise ConfigError(f"the package has {what} in /usr/bin", where=name, hint=_choices(package.programs))


def same(package: ForeignPackage, older: ForeignPackage, name: str, path: Path) -> None:
    """Raises ConfigError where `older`, at `path`, is another package."""
    if older.name != package.name:
        raise ConfigError(
            f"it is the package {older.name}, and {name} is the package {package.name}, so this is not an upgrade",
            where=str(path),
        )


def _choices(programs: Iterable[str]) -> str:
    names = ", ".join(path.removeprefix("/usr/bin/") for path in programs)
    if not names:
        return "name the program: prove PACKAGE --program /an/absolute/path"
    return f"name one of these with --program (app.script in the config): {names}"
