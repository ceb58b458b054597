"""Nuitka: the app compiled to C in the baseline, as a folder or as one self-extracting executable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from py_portable.config import Artifact
from py_portable.config.glibc import version_key
from py_portable.elf import is_elf, measure
from py_portable.engines.base import Bind
from py_portable.formats import entry
from py_portable.formats.base import APP, House, Made, Start
from py_portable.steps.context import Context
from py_portable.steps.graph import Step


class _Nuitka:
    mode: Literal["standalone", "onefile"]
    needs_libpython = True
    controls = frozenset(("built-too-new",))

    def steps(self, artifact: Artifact, house: House | None) -> tuple[Step, ...]:
        assert house is not None and house.linkable is not None
        options = artifact.options
        spec = {
            **entry.asked(house),
            "mode": self.mode,
            "lto": options["lto"],
            "include_packages": list(options["include-packages"]),
            "include_data": list(options["include-data"]),
            "args": list(options["args"]),
        }
        return (
            Step(
                name=f"artifact {artifact.name}",
                action=compile_app,
                params={"spec": spec, "env": dict(house.environment)},
                needs=(house.linkable, house.toolbox, house.wheelhouse),
                scripts=("build/nuitka.py", *entry.SCRIPTS),
                image=house.image,
            ),
        )


class NuitkaStandalone(_Nuitka):
    name = "nuitka-standalone"
    mode = "standalone"

    def start(self, made: Made) -> Start:
        shown, script = f"{APP}/{made.path.name}", made.meta["script"]
        return Start(f"{shown}/{script}", (Bind(made.path, shown),), is_elf=is_elf(made.path / script))


class NuitkaOnefile(_Nuitka):
    name = "nuitka-onefile"
    mode = "onefile"

    def start(self, made: Made) -> Start:
        shown = f"{APP}/{made.path.name}"
        return Start(shown, (Bind(made.path, shown),), is_elf=is_elf(made.path))


def compile_app(ctx: Context) -> Mapping[str, Any]:
    """Nuitka needs /opt/python as it was compiled: its static libpython becomes part of the result."""
    wheels = ctx.need("wheelhouse")
    spec = entry.known(ctx.params["spec"], wheels)
    ctx.sandbox(
        "build/nuitka.py",
        json.dumps(spec),
        binds=(
            Bind(ctx.need("interpreter").path, "/opt/python"),
            Bind(ctx.need("toolbox").path, "/opt/tools"),
            Bind(wheels.path, "/in/wheels"),
            *entry.beside(),
        ),
        # Foreign Python runs in there: a cache that outlives the sandbox would carry its code into later builds.
        environ={**ctx.params["env"], **ctx.env.pass_env, "CCACHE_DISABLE": "1"},
        timeout=7200,
        hint=entry.hint,
    )
    made = entry.read_entry(ctx.out)
    payload = ctx.out / made["payload"]
    # A onefile carries its ELF files compressed: what it was packed from is what its floor is.
    unpacked = payload if payload.is_dir() else ctx.work / "sandbox" / "nuitka" / "portable_entry.dist"
    floor = _highest(measure(payload).floor, measure(unpacked).floor)
    return {**made, "measured_floor": floor}


def _highest(*floors: str | None) -> str | None:
    return max((floor for floor in floors if floor), key=version_key, default=None)
