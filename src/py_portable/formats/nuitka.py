"""Nuitka: the app compiled to C in the baseline, as a folder or as one self-extracting executable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from py_portable.config import Artifact
from py_portable.config.glibc import version_key
from py_portable.elf.floor import measure
from py_portable.engines.base import Bind
from py_portable.formats.base import APP, House, Made, Start
from py_portable.steps.context import Context
from py_portable.steps.graph import Step

CACHE = "/cache"


class _Nuitka:
    mode: Literal["standalone", "onefile"]
    controls = frozenset(("built-too-new",))

    def steps(self, artifact: Artifact, house: House | None) -> tuple[Step, ...]:
        assert house is not None
        options = artifact.options
        spec = {
            "distribution": house.distribution,
            "script": house.script,
            "entry_point": house.entry_point,
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
                needs=(house.interpreter, house.toolbox, house.wheelhouse),
                scripts=("build/nuitka.py",),
                image=house.image,
            ),
        )


class NuitkaStandalone(_Nuitka):
    name = "nuitka-standalone"
    mode = "standalone"

    def start(self, made: Made) -> Start:
        return Start(
            f"{APP}/{made.path.name}/{made.meta['script']}", (Bind(made.path, f"{APP}/{made.path.name}"),)
        )


class NuitkaOnefile(_Nuitka):
    name = "nuitka-onefile"
    mode = "onefile"

    def start(self, made: Made) -> Start:
        return Start(f"{APP}/{made.path.name}", (Bind(made.path, f"{APP}/{made.path.name}"),))


def compile_app(ctx: Context) -> Mapping[str, Any]:
    """Nuitka needs /opt/python as it was compiled: its static libpython becomes part of the result."""
    wheels = ctx.need("wheelhouse")
    spec = dict(ctx.params["spec"])
    spec["distribution"] = spec["distribution"] or wheels.meta["app_wheel"].partition("-")[0]
    # One cache for all: its keys hold the compiler and every input, so what is built elsewhere never hits.
    cache = ctx.env.store.cache("compilers")
    ctx.sandbox(
        "build/nuitka.py",
        json.dumps(spec),
        binds=(
            Bind(ctx.need("interpreter").path, "/opt/python"),
            Bind(ctx.need("toolbox").path, "/opt/tools"),
            Bind(wheels.path, "/in/wheels"),
            Bind(cache, CACHE, writable=True),
        ),
        environ={
            **ctx.params["env"],
            **ctx.env.pass_env,
            "CCACHE_DIR": f"{CACHE}/ccache",
            "CCACHE_BASEDIR": "/work",
            "NUITKA_CACHE_DIR": f"{CACHE}/nuitka",
        },
        timeout=7200,
    )
    entry = json.loads((ctx.out / "entry.json").read_text())
    (ctx.out / "entry.json").unlink()
    payload = ctx.out / entry["payload"]
    # A onefile carries its ELF files compressed: what it was packed from is what its floor is.
    unpacked = payload if payload.is_dir() else ctx.work / "sandbox" / "nuitka" / "portable_entry.dist"
    floor = _highest(measure(payload).floor, measure(unpacked).floor)
    return {**entry, "measured_floor": floor}


def _highest(*floors: str | None) -> str | None:
    return max((floor for floor in floors if floor), key=version_key, default=None)
