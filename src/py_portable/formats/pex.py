"""`pex`: the app and all that it depends on as one file, for a Python that is already on the machine."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from py_portable import resources
from py_portable.config import Artifact, ImageSpec
from py_portable.config.glibc import version_key
from py_portable.config.pythons import has_python
from py_portable.engines.engine import Bind
from py_portable.formats import app_entry
from py_portable.formats.format import (
    APP,
    Format,
    House,
    Made,
    Parent,
    Problem,
    Start,
    Written,
    artifact_node,
    option,
    several,
)
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId
from py_portable.wheels import tools

_PIN = "pex.txt"
_TOOL = "pex tool"
_NO_PYTHON = (
    # No name of a Python is on PATH: what stands before the zip.
    "Failed to find any of these python binaries on the PATH:",
    # There is one, and none of these versions.
    "Failed to find compatible interpreter",
)
_NO_ROOM = ("OSError: [Errno 28] No space left on device",)


@dataclass(frozen=True)
class PexOptions:
    pythons: tuple[str, ...] = option(
        (),
        "All Pythons that it is made for, in place of `python`. Where a machine has several of them, it takes the "
        "first of these.",
        **several("python"),
    )
    scie: str | None = option(
        None,
        "An executable with an interpreter in it. It cannot be made: the tools for it are in no package index. The "
        "formats `bundle` and `onefile` carry an interpreter.",
        enum=["eager"],
    )


class Pex(Format):
    name = "pex"
    summary = "One file with the app and all it depends on, for a Python that the machine has."
    options = PexOptions
    shares = ("wheelhouse",)
    controls: Mapping[str, int] = {"unrepaired": 1}

    def pins(self) -> Mapping[str, str]:
        ((version, digest),) = re.findall(
            r"^pex==(\S+) \\\n +--hash=(sha256:\w+)$", resources.path(_PIN).read_text(), re.MULTILINE
        )
        return {"pex": f"{version} {digest}"}

    def fan_out(self, name: str, mapping: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """One artifact, whose own Python is the first one."""
        pythons = mapping.get("pythons")
        return {name: {**mapping, "python": pythons[0]} if pythons else mapping}

    def pythons(self, artifact: Artifact) -> tuple[str, ...]:
        options: PexOptions = artifact.options
        return options.pythons[1:]

    def problems(self, written: Written) -> Iterable[Problem]:
        if "pythons" in written.mapping and written.has("python"):
            yield written.wrong("pythons", "not together with python: give only one of the two")
        if "scie" in written.mapping:
            yield written.wrong(
                "scie",
                "pex would fetch the tools for this from a forge while it builds, and no package index has them; "
                "the formats bundle and onefile carry an interpreter",
            )

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert house is not None
        machine = {"python": "3.11", "max_glibc": "2.17", "arch": platform.machine()}
        tool = tools.fetch_step(NodeId(_TOOL), machine, pins=_PIN)
        houses = (house, *house.others)
        pythons = [each.place.python for each in houses]
        made = Step(
            name=artifact_node(artifact),
            action=make,
            params={"spec": {**app_entry.asked(house), "pythons": pythons}},
            needs=(
                tool.name,
                *(each.interpreter for each in houses),
                *(each.wheelhouse for each in houses),
            ),
            scripts=("build/pex.py", *app_entry.SCRIPTS),
            image=house.image,
        )
        return tool, made

    def expect(self, artifact: Artifact, image: ImageSpec) -> str | None:
        assert artifact.python is not None
        wanted = (artifact.python, *self.pythons(artifact))
        return "fail:interpreter" if has_python(image, wanted) is False else None

    def start(self, made: Made, image: Image | None = None) -> Start:
        shown = f"{APP}/{made.path.name}"
        return Start(shown, (Bind(made.path, shown),), seeks=_NO_PYTHON, fills=_NO_ROOM)


def make(ctx: Context) -> Mapping[str, Any]:
    by_kind = {(node.kind, node.house.python): result for node, result in ctx.inputs.items() if node.house}
    pythons = ctx.params["spec"]["pythons"]
    wheels = [by_kind["wheelhouse", python] for python in pythons]
    spec = app_entry.known(ctx.params["spec"], wheels[0])
    interpreters = [by_kind["interpreter", python].path for python in pythons]
    places = ["/opt/python", *(f"/opt/pythons/{python}" for python in pythons[1:])]
    ctx.sandbox(
        "build/pex.py",
        json.dumps(spec),
        binds=(
            Bind(ctx.need(_TOOL).path, "/in/pex"),
            *map(Bind, interpreters, places),
            *(Bind(each.path, f"/in/wheels/{python}") for python, each in zip(pythons, wheels, strict=True)),
            *app_entry.beside(),
        ),
        hint=app_entry.hint,
    )
    floors = (floor for each in wheels for floor in each.meta["floors"].values() if floor)
    return {**app_entry.read_entry(ctx.out), "measured_floor": max(floors, key=version_key, default=None)}
