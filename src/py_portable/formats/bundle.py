"""A folder with the interpreter, the installed app and a launcher, which runs wherever it is put; and its archive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from py_portable.config import Artifact
from py_portable.engines.engine import Bind
from py_portable.formats import app_entry
from py_portable.formats.folder_archive import pack, unpack
from py_portable.formats.format import APP, Format, House, Made, Parent, Start, artifact_node, option
from py_portable.images import Image
from py_portable.inspect.elf import measure
from py_portable.steps.context import Context
from py_portable.steps.graph import Step

_BESIDE = ("build/launcher.sh", app_entry.CERTIFICATES)


@dataclass(frozen=True)
class BundleOptions:
    archive: bool = option(
        True,
        "Also make a reproducible `.tar.zst` of the folder. The folder then has what this archive unpacks to.",
    )
    trim: bool = option(
        True,
        "Leave out files that no program needs at run time: headers, static libraries, tests, symbols, pip "
        "and its wheel in `ensurepip`.",
    )


class Bundle(Format):
    name = "bundle"
    summary = "The interpreter with the app installed in it, as a folder that can be moved, and as an archive of it."
    options = BundleOptions
    shares = ("wheelhouse",)
    folder = True

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert house is not None
        options: BundleOptions = artifact.options
        spec = {
            **app_entry.asked(house),
            "trim": options.trim,
        }
        return (
            Step(
                name=artifact_node(artifact),
                action=make,
                params={"spec": spec, "archive": options.archive},
                needs=(house.interpreter, house.wheelhouse),
                scripts=("build/bundle.py", *_BESIDE, *app_entry.SCRIPTS),
                image=house.image,
            ),
        )

    def start(self, made: Made, image: Image | None = None) -> Start:
        script = made.meta["script"]
        shown = f"{APP}/{script}"
        return Start(f"{shown}/{script}", (Bind(made.path / script, shown),))


def make(ctx: Context) -> Mapping[str, Any]:
    """If there is an archive, the folder is unpacked from it, so that cells start exactly what a user gets."""
    wheels = ctx.need("wheelhouse")
    spec = app_entry.known(ctx.params["spec"], wheels)
    ctx.sandbox(
        "build/bundle.py",
        json.dumps(spec),
        binds=(
            Bind(ctx.need("interpreter").path, "/opt/python"),
            Bind(wheels.path, "/in/wheels"),
            *app_entry.beside(*_BESIDE),
        ),
        hint=app_entry.hint,
    )
    made = app_entry.read_entry(ctx.out, one_name=True)
    name = made["payload"]
    if ctx.params["archive"]:
        archive = ctx.out / f"{name}.tar.zst"
        pack(ctx.out / name, archive, epoch=ctx.env.epoch)
        shutil.rmtree(ctx.out / name)
        unpack(archive, ctx.out)
    return {**made, "payload": ".", "measured_floor": measure(ctx.out / name).floor}
