"""What a workflow gives the action, read from variables with a prefix. Pure; an empty value is no value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from py_portable.base import printable
from py_portable.errors import ConfigError
from py_portable.plan.tiers import PR, RELEASE

PREFIX = "PY_PORTABLE_INPUT_"
"""The prefix of the variables. Nothing that a workflow gives is ever part of a command's text."""
ALL = "PY_PORTABLE_INPUTS"
"""The variable with all inputs of the action, as JSON. An input in a variable of its own wins."""
COMMANDS = ("check", "lock", "plan", "build", "portability", "benchmark", "merge", "report")
"""What `command` may name, in the order in which they run."""
ENGINES = ("auto", "bubblewrap", "docker", "podman", "chroot", "native")
DEFAULT_COMMANDS = ("build", "portability", "report")
DEFAULT_PREFIX = "py-portable"
_ARTIFACT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
"""Those characters that upload-artifact accepts and that have no special meaning in a shell, a URL or a file system."""
_JOB = re.compile(r"(?:shard|build)-[0-9]{1,6}")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Inputs:
    """`config`: a pattern. `artifacts`, `images`: names; if empty, all. `build`, `shard`: the job of a plan."""

    config: str = "portable.yaml"
    commands: tuple[str, ...] = DEFAULT_COMMANDS
    artifacts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    tier: str = RELEASE
    dist: str | None = None
    engine: str | None = None
    fix: bool = True
    """Whether the doctor may install what the machine lacks."""
    cache: bool = True
    allow_unproven: bool = False
    artifact_prefix: str = DEFAULT_PREFIX
    build: str | None = None
    shard: str | None = None
    benchmark: bool = False
    """Whether a job of the plan measures what other jobs made."""

    @property
    def only_looks(self) -> bool:
        """Whether the job makes nothing that others need: they have its artifacts already."""
        return self.shard is not None or (self.benchmark and "benchmark" in self.commands)


def read(environ: Mapping[str, str]) -> Inputs:
    """Raises ConfigError, which names the input and the values that it accepts."""
    together: dict[str, str] = json.loads(environ.get(ALL) or "{}")

    def given(name: str) -> str:
        value = environ.get(PREFIX + name.upper().replace("-", "_")) or together.get(name, "")
        value = value.strip()
        if "\0" in value:
            raise wrong(name, "it contains a NUL character")
        return value

    def wrong(name: str, why: str, hint: str | None = None) -> ConfigError:
        return ConfigError(why, where=f"the input {name}", hint=hint)

    def one_of(name: str, known: tuple[str, ...]) -> str:
        value = given(name)
        if value and value not in known:
            raise wrong(
                name, f"{shown(value)} is not one of its values", f"its values are: {', '.join(known)}"
            )
        return value

    def flag(name: str, unset: bool) -> bool:
        value = given(name).lower()
        if value and value not in (*_TRUE, *_FALSE):
            raise wrong(name, f"{shown(value)} is neither true nor false")
        return value in _TRUE if value else unset

    def matching(name: str, pattern: re.Pattern[str], hint: str) -> str:
        value = given(name)
        if value and not pattern.fullmatch(value):
            raise wrong(name, f"{shown(value)} is not valid", hint)
        return value

    def names(name: str) -> tuple[str, ...]:
        told = tuple(dict.fromkeys(re.split(r"[\s,]+", given(name).strip(", \t\r\n"))))
        for one in told:
            # It would be read as an option.
            if one.startswith("-") or not one.isprintable():
                raise wrong(name, f"{shown(one)} is not a name")
        return tuple(one for one in told if one)

    def path(name: str) -> str:
        value = given(name)
        if not value.isprintable():
            raise wrong(name, f"{shown(value)} has characters that are not printable")
        if value.startswith("-"):
            raise wrong(name, f"{shown(value)} would be read as an option", f"write ./{shown(value)}")
        return value

    commands = names("command")
    for one in commands:
        if one not in COMMANDS:
            raise wrong("command", f"{shown(one)} is not a command", f"there are: {', '.join(COMMANDS)}")
    return Inputs(
        config=path("config") or Inputs.config,
        commands=tuple(one for one in COMMANDS if one in commands) or DEFAULT_COMMANDS,
        artifacts=names("artifacts"),
        images=names("images"),
        tier=one_of("tier", (PR, RELEASE)) or Inputs.tier,
        dist=path("dist") or None,
        engine=one_of("engine", ENGINES) or None,
        fix=flag("fix", True),
        cache=flag("cache", True),
        allow_unproven=flag("allow-unproven", False),
        artifact_prefix=matching(
            "artifact-prefix", _ARTIFACT_NAME, "letters, digits, '.', '_' and '-', at most 80 of them"
        )
        or DEFAULT_PREFIX,
        build=matching("build", _JOB, "a name that plan printed, such as build-001") or None,
        shard=matching("shard", _JOB, "a name that plan printed, such as shard-001") or None,
        benchmark=flag("benchmark", False),
    )


def shown(value: str) -> str:
    """A value that an error quotes."""
    return f"'{printable.short(printable.line(value), 80)}'"
