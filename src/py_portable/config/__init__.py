"""portable.yaml -> frozen dataclasses. Nothing here builds, runs or asks the network, and no format is named.

`load` reads a file, `parse` its bytes; both raise ConfigError, whose `where` is `portable.yaml:line:column`.
"""

from __future__ import annotations

import os
from pathlib import Path

from py_portable.base.regular import NotRegularError, open_regular
from py_portable.config.document import MAX_BYTES, read
from py_portable.config.kinds import Kinds
from py_portable.config.model import (
    App,
    Archive,
    Artifact,
    Baseline,
    Build,
    Config,
    ImageSpec,
    InterpreterChoice,
    Portability,
    Publish,
    Smoke,
    Wheels,
)
from py_portable.config.parse import build
from py_portable.config.problems import fail
from py_portable.config.rules import problems as rule_problems
from py_portable.config.schema import problems as schema_problems
from py_portable.config.schema import schema_of, schema_text
from py_portable.errors import ConfigError

__all__ = [
    "App",
    "Archive",
    "Artifact",
    "Baseline",
    "Build",
    "Config",
    "ImageSpec",
    "InterpreterChoice",
    "Portability",
    "Publish",
    "Smoke",
    "Wheels",
    "load",
    "parse",
    "schema_text",
]


def load(path: Path, kinds: Kinds) -> Config:
    """Read and check a config file, in which the formats may be `kinds`. Raises ConfigError."""
    name = _name(path)
    try:
        with open_regular(path) as stream:
            raw = stream.read(MAX_BYTES + 1)
    except NotRegularError:
        raise ConfigError("is not a regular file", where=name) from None
    except FileNotFoundError:
        raise ConfigError("there is no such file", where=name, hint="run: py-portable init") from None
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=name) from None
    return parse(raw, name, path.absolute().parent, kinds, path=path)


def parse(text: bytes, name: str, base: Path, kinds: Kinds, *, path: Path | None = None) -> Config:
    """Check a config's bytes. `name` is what errors call it; `base` is where relative paths start.

    Raises ConfigError; `app.source` is looked up on disk, nothing else is.
    """
    document = read(text, name)
    base, schema = base.absolute(), schema_of(kinds)
    found = schema_problems(document, schema) or rule_problems(document, base, schema)
    if found:
        fail(name, document.lines, found)
    return build(document, text, (path or base / name).absolute(), base, schema)


def _name(path: Path) -> str:
    """The path as a message shows it: from the current folder where it lies under that."""
    try:
        return os.fspath(path.absolute().relative_to(Path.cwd()))
    except (ValueError, FileNotFoundError):
        return os.fspath(path)
