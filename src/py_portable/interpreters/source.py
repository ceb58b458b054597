"""CPython from its release tarball, compiled in the baseline.

The tarball is pinned by sha256 in resources/sources.toml; a distribution's pristine source package of the same
sha256 stands in where the primary address is out of reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_portable.base.fetch import fetch
from py_portable.config import InterpreterChoice
from py_portable.engines.engine import Bind
from py_portable.errors import ConfigError
from py_portable.interpreters import libraries
from py_portable.interpreters.pins import Pin, pins
from py_portable.interpreters.provider import PREFIX, InterpreterRequest, Libpython
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId


def pin(python: str) -> Pin:
    """The pinned release of the Python `python` (such as "3.13"). Raises ConfigError where there is none."""
    known = pins()["cpython"]
    if python not in known:
        raise ConfigError(
            f"no CPython {python} is pinned; there are: {', '.join(sorted(known))}",
            where="python",
            hint="choose one of these, or add a pin to resources/sources.toml",
        )
    return known[python]


class CPythonSource:
    name = "source"
    needs: tuple[str, ...] = ("cpython",)
    libpython: Libpython | None = "static"
    of_packages = False

    def pin(self, choice: InterpreterChoice, python: str) -> tuple[str, str]:
        release = pin(python)
        return f"cpython {python}", f"{release.version} sha256:{release.sha256}"

    def steps(self, wanted: InterpreterRequest) -> tuple[Step, ...]:
        """(fetch, compile). For the interpreter of another provider's house, it is named for what it is there."""
        release = pin(wanted.house.python)
        source = Step(
            name=NodeId("source", f"cpython-{release.version}"),
            action=fetch_source,
            params={"python": wanted.house.python, "sha256": release.sha256},
            lane="io",
        )
        word = "" if wanted.choice.provider == self.name else "from source"
        compiled = Step(
            name=NodeId("interpreter", house=wanted.house, variant=word),
            action=compile_source,
            params={"version": release.version, "optimize": wanted.choice.optimize},
            needs=(source.name, wanted.tools, *wanted.libraries),
            scripts=("build/cpython.sh", "build/self_sufficient.py", "build/in_turn.sh"),
            image=wanted.image,
        )
        return source, compiled


def fetch_source(ctx: Context) -> None:
    release = pin(ctx.params["python"])
    fetch(release.sources, release.sha256, ctx.out / release.file_name, max_bytes=release.max_bytes)


def compile_source(ctx: Context) -> Mapping[str, Any]:
    prefix = Bind(ctx.out, PREFIX, writable=True)
    source = Bind(ctx.need("source").path, "/in/source")
    tools = Bind(ctx.need("tools").path, "/in/tools")
    optimize = bool(ctx.params["optimize"])
    ctx.sandbox(
        "build/cpython.sh",
        str(optimize).lower(),
        then=(("build/self_sufficient.py",),),
        binds=(prefix, source, tools, *libraries.binds(ctx)),
        timeout=7200,
    )
    return {
        "version": ctx.params["version"],
        "provider": "source",
        "optimized": optimize,
        "libpython": "static",
        "libraries": libraries.versions(ctx),
    }
