"""The wheelhouse itself as an artifact: a folder of wheels that installs offline with `pip --no-index`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from py_portable import resources
from py_portable.config import Artifact
from py_portable.engines.base import Bind
from py_portable.formats.base import APP, House, Install, Made, Start
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.wheels.source import built_wheels

WHEELS = "/opt/wheels"
KIT = "/opt/kit"


class Wheelhouse:
    name = "wheelhouse"
    needs_libpython = False
    controls: frozenset[str] = frozenset()

    def steps(self, artifact: Artifact, house: House | None) -> tuple[Step, ...]:
        assert house is not None
        return (
            Step(
                name=f"artifact {artifact.name}",
                action=collect,
                params={
                    "distribution": house.distribution,
                    "script": house.script,
                    "entry_point": house.entry_point,
                },
                needs=(house.wheelhouse,),
            ),
        )

    def start(self, made: Made) -> Start:
        """Installed on the image by pip, which refuses a wheel whose tag the image's glibc does not satisfy."""
        assert made.interpreter is not None
        python = Bind(made.interpreter, "/opt/python")
        script = "build/install.py"
        install = Install(
            argv=(
                "/opt/python/bin/python3",
                f"{KIT}/install.py",
                WHEELS,
                f"{APP}/venv",
                made.meta["distribution"],
                made.meta["script"] or "",
                made.meta["entry_point"] or "",
            ),
            binds=(python, Bind(made.path, WHEELS), Bind(resources.path(script), f"{KIT}/install.py")),
            target=APP,
        )
        needs = (*install.argv, resources.sha256(script), made.interpreter_digest or "")
        return Start(f"{APP}/start", (python,), install, needs=needs)


def collect(ctx: Context) -> Mapping[str, Any]:
    wheels = ctx.need("wheelhouse")
    for wheel in built_wheels(wheels.path):
        shutil.copyfile(wheel, ctx.out / wheel.name)
    return {
        "payload": ".",
        "distribution": ctx.params["distribution"] or wheels.meta["app_wheel"].partition("-")[0],
        "script": ctx.params["script"],
        "entry_point": ctx.params["entry_point"],
    }
