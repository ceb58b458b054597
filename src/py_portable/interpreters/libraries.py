"""C libraries compiled for a baseline from their releases: `baselines.NAME.libraries`.

A baseline is chosen for its old glibc, but then all its libraries are old: Debian 11's OpenSSL is past its end of
life. Each library that is named here is compiled once for each baseline and is mounted at /opt/libraries/NAME in the
steps that use it. Which
there are is data, `[library.NAME]` in resources/sources.toml, and the enum of `libraries` in the schema.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from py_portable import resources
from py_portable.base.fetch import fetch
from py_portable.engines.engine import Bind
from py_portable.interpreters.pins import Pin, pins
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import HouseId, NodeId

PLACE = "/opt/libraries"


@dataclass(frozen=True)
class Library:
    name: str
    pin: Pin
    licence: str
    """An SPDX expression."""
    licence_file: str
    """Its text, in the source tree."""
    configure: tuple[str, ...]
    make: tuple[str, ...]
    install: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """The packages that are needed in the image to compile it, as names in resources/packages.toml."""
    after: tuple[str, ...] = ()
    """The other libraries against which it is built."""


@cache
def known() -> Mapping[str, Library]:
    """All libraries that the kit pins, by name."""
    table = tomllib.loads(resources.path("sources.toml").read_text())["library"]
    return {name: _library(name, entry) for name, entry in table.items()}


def _library(name: str, entry: Mapping[str, Any]) -> Library:
    return Library(
        name=name,
        pin=pins()["library"][name],
        licence=entry["licence"],
        licence_file=entry["licence-file"],
        configure=tuple(entry["configure"]),
        make=tuple(entry.get("make", ())),
        install=tuple(entry.get("install", ("install",))),
        needs=tuple(entry.get("needs", ())),
        after=tuple(entry.get("after", ())),
    )


def chosen(names: Iterable[str]) -> tuple[Library, ...]:
    """The named libraries and those against which they are built, in the order of building. All names are known."""
    found: dict[str, Library] = {}

    def visit(name: str) -> None:
        for other in known()[name].after:
            visit(other)
        found.setdefault(name, known()[name])

    for name in sorted(names):
        visit(name)
    return tuple(found.values())


def needs(names: Iterable[str]) -> tuple[str, ...]:
    """The packages that the kit needs in a baseline with these libraries, as names in resources/packages.toml."""
    return tuple(dict.fromkeys(need for library in chosen(names) for need in library.needs))


def locked(names: Iterable[str]) -> dict[str, str]:
    """Their entries in the lock: name -> version and digest."""
    return {f"library {one.name}": f"{one.pin.version} sha256:{one.pin.sha256}" for one in chosen(names)}


def node(name: str, baseline: str) -> NodeId:
    """The step that makes a library."""
    return NodeId("library", name, HouseId("", baseline))


def steps(names: Iterable[str], *, baseline: str, image: NodeId) -> tuple[Step, ...]:
    """(fetch, compile) of each library. What the compiling ones make is a prefix for /opt/libraries/NAME."""
    made: list[Step] = []
    for library in chosen(names):
        source = Step(
            name=NodeId("source", f"{library.name}-{library.pin.version}"),
            action=fetch_source,
            params={"library": library.name, "sha256": library.pin.sha256},
            lane="io",
        )
        compiled = Step(
            name=node(library.name, baseline),
            action=compile_library,
            params={
                "library": library.name,
                "version": library.pin.version,
                "licence": library.licence,
                "licence-file": library.licence_file,
                "configure": list(library.configure),
                "make": list(library.make),
                "install": list(library.install),
            },
            needs=(source.name, *(node(other, baseline) for other in library.after)),
            scripts=("build/library.sh", "build/in_turn.sh"),
            image=image,
        )
        made += [source, compiled]
    return tuple(made)


def nodes(names: Iterable[str], baseline: str) -> tuple[NodeId, ...]:
    """The names of the steps that make them, for the needs of a step that takes them."""
    return tuple(node(library.name, baseline) for library in chosen(names))


def binds(ctx: Context) -> tuple[Bind, ...]:
    """Each library that the step needs, at its place."""
    made = (result for node, result in ctx.inputs.items() if node.kind == "library")
    return tuple(Bind(result.path, f"{PLACE}/{result.meta['library']}") for result in made)


def versions(ctx: Context) -> dict[str, str]:
    """Name -> version of each library that the step needs."""
    made = (result.meta for node, result in ctx.inputs.items() if node.kind == "library")
    return {meta["library"]: meta["version"] for meta in made}


def fetch_source(ctx: Context) -> None:
    pin = known()[ctx.params["library"]].pin
    fetch(pin.sources, pin.sha256, ctx.out / pin.file_name, max_bytes=pin.max_bytes)


def compile_library(ctx: Context) -> Mapping[str, Any]:
    told = ctx.params
    script = "build/library.sh"
    ctx.sandbox(
        script,
        "configure",
        told["library"],
        *told["configure"],
        then=(
            (script, "make", *told["make"]),
            (script, "install", *told["install"]),
            (script, "settle", told["library"], told["licence-file"]),
        ),
        binds=(
            Bind(ctx.out, f"{PLACE}/{told['library']}", writable=True),
            Bind(ctx.need("source").path, "/in/source"),
            *binds(ctx),
        ),
        timeout=7200,
    )
    return {name: told[name] for name in ("library", "version", "licence")}
