"""The wheelhouse itself as an artifact: a folder of wheels that installs offline with `pip --no-index`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from py_portable.config import Artifact
from py_portable.config.glibc import version_key
from py_portable.formats import app_entry
from py_portable.formats.format import Format, House, Made, Parent, Start, artifact_node
from py_portable.formats.installed import installed
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.wheels.app_source import built_wheels


class Wheelhouse(Format):
    name = "wheelhouse"
    summary = (
        "A folder with the wheels of the app and of everything it depends on. pip installs the app from it."
    )

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert house is not None
        return (
            Step(
                name=artifact_node(artifact),
                action=collect,
                params={
                    "distribution": house.distribution,
                    "script": house.script,
                    "entry_point": house.entry_point,
                    "extras": list(house.extras),
                    "with": app_entry.words(house.with_),
                },
                needs=(house.wheelhouse,),
            ),
        )

    def start(self, made: Made, image: Image | None = None) -> Start:
        return installed(made, made.path)


def collect(ctx: Context) -> Mapping[str, Any]:
    wheels = ctx.need("wheelhouse")
    for wheel in built_wheels(wheels.path):
        shutil.copyfile(wheel, ctx.out / wheel.name)
    return {
        "payload": ".",
        "distribution": ctx.params["distribution"] or wheels.meta["app_wheel"].partition("-")[0],
        "script": ctx.params["script"],
        "entry_point": ctx.params["entry_point"],
        "extras": ctx.params["extras"],
        "with": ctx.params["with"],
        "measured_floor": max(filter(None, wheels.meta["floors"].values()), key=version_key, default=None),
    }
