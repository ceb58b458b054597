"""Nuitka: the app compiled to C in the baseline, as a folder or as one self-extracting executable."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from py_portable import resources
from py_portable.config import Artifact
from py_portable.config.glibc import version_key
from py_portable.engines.engine import Bind
from py_portable.formats import app_entry, compilers
from py_portable.formats.format import (
    APP,
    Format,
    House,
    Made,
    Parent,
    Start,
    artifact_node,
    option,
    ref,
    several,
)
from py_portable.images import Image
from py_portable.inspect.elf import is_elf, measure
from py_portable.steps.context import BuildFailed, Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId

CONFIG = "build/ccache.conf"
MODULES = "standard library as Nuitka reads it"
_COMPILERS = threading.Lock()
"""Held by the one whose C sources are compiled: that takes all cores, and who comes next finds in the cache what is the
same. Meanwhile the other one writes its C sources, which takes one core and most of the time."""


@dataclass(frozen=True)
class NuitkaOptions:
    include_packages: tuple[str, ...] = option(
        (),
        "Packages that the app imports in ways that Nuitka cannot see in the code. Each is included completely. The "
        "app's own packages are always included.",
        **several("import-name"),
    )
    include_data: tuple[str, ...] = option(
        (),
        "Packages whose data files are included. Those of the app and of its dependencies are always included.",
        **several("import-name"),
    )
    args: tuple[str, ...] = option((), "More arguments for Nuitka.", **ref("args"))
    lto: bool = option(False, "Link-time optimization: a slower build, a somewhat faster program.")


class _Nuitka(Format):
    mode: Literal["standalone", "onefile"]
    options = NuitkaOptions
    shares = ("wheelhouse",)
    interpreter = "linkable"

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert house is not None and house.linkable is not None
        options: NuitkaOptions = artifact.options
        spec = {
            **app_entry.asked(house),
            "mode": self.mode,
            "lto": options.lto,
            "include_packages": list(options.include_packages),
            "include_data": list(options.include_data),
            "args": list(options.args),
        }
        known = Step(
            name=NodeId(MODULES, house=house.place),
            action=read_modules,
            needs=(house.linkable, house.toolbox),
            scripts=("build/nuitka_modules.py",),
            image=house.bare,
        )
        return (
            known,
            Step(
                name=artifact_node(artifact),
                action=compile_app,
                params={"spec": spec, "env": dict(house.environment)},
                needs=(house.linkable, house.toolbox, house.wheelhouse, known.name),
                scripts=("build/nuitka.py", *compilers.SCRIPTS, CONFIG, *app_entry.SCRIPTS),
                image=house.image,
            ),
        )


class NuitkaStandalone(_Nuitka):
    name = "nuitka-standalone"
    summary = "The app compiled by Nuitka, as a folder with an executable in it."
    mode = "standalone"
    folder = True
    controls: Mapping[str, int] = {"built-too-new": 1}

    def start(self, made: Made, image: Image | None = None) -> Start:
        shown, script = f"{APP}/{made.path.name}", made.meta["script"]
        return Start(f"{shown}/{script}", (Bind(made.path, shown),), is_elf=is_elf(made.path / script))


class NuitkaOnefile(_Nuitka):
    name = "nuitka-onefile"
    summary = "The app compiled by Nuitka, as one executable file."
    mode = "onefile"
    # A folder is quicker to make than what is packed from one.
    controls: Mapping[str, int] = {"built-too-new": 2}

    def start(self, made: Made, image: Image | None = None) -> Start:
        shown = f"{APP}/{made.path.name}"
        return Start(shown, (Bind(made.path, shown),), is_elf=is_elf(made.path))


def read_modules(ctx: Context) -> None:
    """The step that gives Nuitka's analysis of the standard library, for all apps."""
    ctx.sandbox(
        "build/nuitka_modules.py",
        binds=(
            Bind(ctx.need("interpreter").path, "/opt/python"),
            Bind(ctx.need("toolbox").path, "/opt/tools"),
        ),
        timeout=7200,
    )


def compile_app(ctx: Context) -> Mapping[str, Any]:
    """Nuitka needs the complete /opt/python, because its static libpython becomes part of the result."""
    wheels = ctx.need("wheelhouse")
    spec = app_entry.known(ctx.params["spec"], wheels)
    python = Bind(ctx.need("interpreter").path, "/opt/python")
    tools = Bind(ctx.need("toolbox").path, "/opt/tools")
    environ = {**ctx.params["env"], **ctx.env.pass_env}
    lto = link_time(spec)

    def write(binds: tuple[Bind, ...]) -> None:
        """Code of packages can run here. Only the result is writable and is kept after the sandbox."""
        ctx.sandbox(
            "build/nuitka.py",
            json.dumps(spec),
            binds=(
                python,
                tools,
                Bind(wheels.path, "/in/wheels"),
                Bind(ctx.need(MODULES).path, "/in/modules"),
                *app_entry.beside("build/elsewhere.py"),
                *binds,
            ),
            environ=environ,
            timeout=7200,
            hint=app_entry.hint,
        )

    def compile_(own: Context, archive: Path) -> None:
        """No package is visible here. With link-time optimization there is no cache either: linkers read options from
        object files."""
        binds = [
            python,
            tools,
            Bind(archive, "/in/asked.tar"),
            Bind(resources.path(CONFIG), "/kit/ccache.conf"),
        ]
        if not lto:
            binds.append(Bind(_cache(own, spec["distribution"]), "/cache", writable=True))
        with _COMPILERS:
            own.sandbox(
                "build/compile.py",
                "yes" if lto else "no",
                binds=tuple(binds),
                environ={
                    **environ,
                    "CCACHE_DIR": "/cache",
                    "CCACHE_CONFIGPATH": "/kit/ccache.conf",
                    **({"CCACHE_DISABLE": "1"} if lto else {}),
                },
                timeout=7200,
            )

    compilers.beside(ctx, write, compile_)
    made = app_entry.read_entry(ctx.out)
    payload = ctx.out / made["payload"]
    # A onefile carries its ELF files compressed: what it was packed from is what its floor is.
    unpacked = payload if payload.is_dir() else packed_from(ctx.work / "sandbox")
    floor = _highest(measure(payload).floor, measure(unpacked).floor)
    return {**made, "measured_floor": floor}


def link_time(spec: Mapping[str, Any]) -> bool:
    """Whether Nuitka will use link-time optimization: the last argument about it counts."""
    last = [word.partition("=")[2] for word in spec["args"] if word.startswith("--lto=")][-1:]
    return last == ["yes"] if last else bool(spec["lto"])


def packed_from(scratch: Path) -> Path:
    """The folder from which a onefile was packed, in the output of the sandbox. Raises BuildFailed for a link, since
    foreign code ran there and a link may lead to any file of this machine."""
    folder = scratch / "nuitka" / "portable_entry.dist"
    if folder.is_symlink() or folder.parent.is_symlink():
        raise BuildFailed("the folder that the executable was packed from is a symbolic link")
    return folder


def _cache(ctx: Context, distribution: str) -> Path:
    """The cache of one app with one set of compilers, headers and interpreter. ccache's keys hold what else decides a
    result."""
    assert ctx.image is not None
    told = (distribution, ctx.image.identity, ctx.need("interpreter").digest, ctx.need("toolbox").digest)
    return ctx.env.store.cache(f"compiled-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}")


def _highest(*floors: str | None) -> str | None:
    return max((floor for floor in floors if floor), key=version_key, default=None)
