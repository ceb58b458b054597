"""The constraints of the caller's pip: PIP_CONSTRAINT, else what pip's configuration files say of them.

They are read here instead of asking pip, because every run checks whether they have changed, and pip takes a third of a
second.
https://pip.pypa.io/en/stable/topics/configuration/ lists the files and which of them wins.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from py_portable.base.regular import read_regular
from py_portable.base.servers import redact
from py_portable.errors import ConfigError

MAX_BYTES = 4 << 20
_SECTIONS = ("global", "install")
_COMMENT = re.compile(r"(^|\s)#.*$")
INSTEAD = 'write the constraints into the config: wheels: {constraints: ["NAME<2"]}'


def constraints(environ: Mapping[str, str], *, build: bool = False) -> tuple[str, ...]:
    """The lines of the constraint files, as requirements. With `build` these are the files for build systems.

    Raises ConfigError for a file that cannot be read, for an address, and for a line that is no requirement.
    """
    key = "build-constraint" if build else "constraint"
    variable = f"PIP_{key.upper().replace('-', '_')}"
    told = environ.get(variable, "")
    where = f"the environment variable {variable}"
    if not told.strip():
        told, where = _configured(key, environ)
    return tuple(line for name in told.split() for line in _file(name, Path.cwd(), where, ()))


def _configured(key: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Like pip: the section of a command wins over [global] of any file. For the same section the last file wins."""
    found = dict.fromkeys(_SECTIONS, ("", ""))
    for path in _files(environ):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(path.read_text("utf-8"), str(path))
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue  # pip itself reports the error as soon as it is asked
        for section in _SECTIONS:
            value = parser.get(section, key, fallback="").strip()
            if value:
                found[section] = (value, str(path))
    return next((one for one in reversed(found.values()) if one[0]), ("", ""))


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    chosen = environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return
    home = _home(environ)
    for folder in reversed((environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")):
        yield Path(folder) / "pip" / "pip.conf"
    yield Path("/etc/pip.conf")
    if home:
        yield home / ".pip" / "pip.conf"
    if config := environ.get("XDG_CONFIG_HOME") or (home and home / ".config"):
        yield Path(config) / "pip" / "pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if chosen:
        yield Path(chosen)


def _home(environ: Mapping[str, str]) -> Path | None:
    """None for a user who has no HOME and is not in /etc/passwd, as in many containers."""
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        return None


def _file(name: str, base: Path, where: str, above: tuple[Path, ...]) -> Iterator[str]:
    if "://" in name:
        raise ConfigError(f"names constraints at {redact(name)}, but only files are read",
                          where=where, hint=INSTEAD)  # fmt: skip
    path = base / name
    try:
        path = (base / Path(name).expanduser()).absolute()
        if path in above:
            return
        text = read_regular(path, MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError) as problem:
        # expanduser raises it for an unknown user.
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        why = "it is not UTF-8 text" if isinstance(problem, UnicodeDecodeError) else why
        raise ConfigError(
            f"names constraints that cannot be read: {path}: {why}", where=where, hint=INSTEAD
        ) from None
    for number, raw in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        line = _COMMENT.sub("", raw).strip()
        # A line may contain hashes, but the lock has its own.
        line = line.partition(" --hash")[0].strip()
        if not line:
            continue
        option, _, rest = line.partition(" ")
        if option in ("-c", "-r", "--constraint", "--requirement"):
            yield from _file(rest.strip(), path.parent, str(path), (*above, path))
            continue
        if line.startswith("-"):
            continue  # pip's configuration says where files come from
        try:
            Requirement(line)
        except InvalidRequirement as problem:
            what = f"{line!r} is not a requirement: {str(problem).splitlines()[0]}"
            raise ConfigError(what, where=f"{path}:{number}", hint=INSTEAD) from None
        yield line
