"""`wheel`: one of the app's publishable wheels. `wheels.publish` makes an artifact of it for each of its Pythons."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from typing import Any

from py_portable.config import Artifact
from py_portable.engines.engine import Bind
from py_portable.formats.format import House, Made, Start
from py_portable.formats.installed import installed
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.wheels.published import NODE

OWN = "/opt/published"


class Wheel:
    name = "wheel"
    needs_libpython = False
    controls: frozenset[str] = frozenset()

    def steps(self, artifact: Artifact, house: House | None) -> tuple[Step, ...]:
        """The wheelhouse is there for the cells: the app's dependencies come out of it."""
        assert house is not None
        return (
            Step(
                name=f"artifact {artifact.name}",
                action=pick,
                params={
                    "python": artifact.python,
                    "distribution": house.distribution,
                    "script": house.script,
                    "entry_point": house.entry_point,
                    "extras": list(artifact.options["extras"]),
                },
                needs=(NODE, house.wheelhouse),
            ),
        )

    def start(self, made: Made) -> Start:
        """pip installs this very file, its dependencies from the wheelhouse, and no index is asked."""
        assert made.wheelhouse is not None
        own = f"{OWN}/{made.path.name}"
        return installed(
            made,
            made.wheelhouse,
            *(own, made.meta["sha256"]),
            binds=(Bind(made.path, own),),
            needs=(made.wheelhouse_digest or "",),
        )


def pick(ctx: Context) -> Mapping[str, Any]:
    published = ctx.need(NODE)
    name = published.meta["wheels"][ctx.params["python"]]
    shutil.copyfile(published.path / name, ctx.out / name)
    with (ctx.out / name).open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "payload": name,
        "sha256": sha256,
        "distribution": ctx.params["distribution"] or name.partition("-")[0],
        **{key: ctx.params[key] for key in ("script", "entry_point", "extras")},
    }
