"""`wheel`: one of the app's publishable wheels. `wheels.publish` makes an artifact of it for each of its Pythons."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from py_portable.base.regular import sha256_of
from py_portable.config import Artifact, Config
from py_portable.engines.engine import Bind
from py_portable.formats import app_entry
from py_portable.formats.format import (
    Format,
    House,
    Made,
    Parent,
    SharedFolder,
    Stands,
    Start,
    artifact_node,
    option,
)
from py_portable.formats.installed import installed
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.wheels import published
from py_portable.wheels.nodes import of_app
from py_portable.wheels.published import NODE

OWN = "/opt/published"


@dataclass(frozen=True)
class WheelOptions:
    extras: tuple[str, ...] = option((), "Extras of the app that are installed with it.")


class Wheel(Format):
    name = "wheel"
    options = WheelOptions
    published = SharedFolder("publish", NODE)

    def implied(self, data: Mapping[str, Any]) -> Iterable[Stands]:
        told = data.get("wheels", {}).get("publish")
        common = {key: told[key] for key in ("baseline",) if key in told} if told else {}
        for python in told["pythons"] if told else ():
            mapping = {"format": self.name, "python": python, "extras": data["app"].get("extras", ())}
            yield Stands(f"publish-{python}", ("wheels", "publish"), mapping | common)

    def together(self, config: Config, houses: Mapping[str, House]) -> tuple[Step, ...]:
        """The wheels of all Pythons are built together, because an abi3 wheel serves several."""
        assert config.wheels.publish is not None and config.app.source is not None
        by_python = {str(config.artifacts[name].python): house for name, house in houses.items()}
        first = next(iter(by_python.values()))
        made = published.publish_steps(
            {python: house.locked for python, house in by_python.items() if house.locked},
            image=first.image,
            app_wheel=of_app(first.place),
            interpreter=first.interpreter,
            target={name: first.target[name] for name in ("max_glibc", "arch")},
            source=config.app.source,
            distribution=first.distribution,
            sdist=config.wheels.publish.sdist,
            environment=first.environment,
            use={python: house.use for python, house in by_python.items() if house.use},
        )
        return tuple(made)

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        """The cells need the wheelhouse, because the app's dependencies come from it."""
        assert house is not None
        return (
            Step(
                name=artifact_node(artifact),
                action=pick,
                params={
                    "python": artifact.python,
                    "distribution": house.distribution,
                    "script": house.script,
                    "entry_point": house.entry_point,
                    "extras": list(artifact.options.extras),
                    "with": app_entry.words(house.with_),
                },
                needs=(NODE, house.wheelhouse),
            ),
        )

    def start(self, made: Made, image: Image | None = None) -> Start:
        """pip installs exactly this file, and its dependencies from the wheelhouse, without an index."""
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
    published = ctx.need(NODE.kind)
    name = published.meta["wheels"][ctx.params["python"]]
    shutil.copyfile(published.path / name, ctx.out / name)
    return {
        "payload": name,
        "sha256": sha256_of(ctx.out / name),
        "distribution": ctx.params["distribution"] or name.partition("-")[0],
        **{key: ctx.params[key] for key in ("script", "entry_point", "extras", "with")},
    }
