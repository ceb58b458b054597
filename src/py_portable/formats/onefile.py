"""`onefile`: the folder that another artifact is, as one executable. It unpacks it once, and then starts at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from py_portable.config import Artifact
from py_portable.engines.engine import Bind
from py_portable.formats import runtime
from py_portable.formats.format import APP, FOLDER, Format, House, Made, Parent, Start, artifact_node
from py_portable.formats.runtime import packer
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step


class Onefile(Format):
    name = "onefile"
    summary = "The folder that another artifact is, as one executable that unpacks it once for each user."
    made_from = (FOLDER,)
    interpreter = "none"

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert parent is not None
        return (
            Step(
                name=artifact_node(artifact),
                action=pack,
                params={"runtime": runtime.identity(), "zstd": packer.ZSTD},
                needs=(parent.node,),
            ),
        )

    def start(self, made: Made, image: Image | None = None) -> Start:
        shown = f"{APP}/{made.path.name}"
        return Start(shown, (Bind(made.path, shown),), is_elf=True, fills=runtime.fills(made.path.name))


def pack(ctx: Context) -> Mapping[str, Any]:
    (parent,) = ctx.inputs.values()
    folder, program = program_of(parent.path / parent.meta["payload"], parent.meta["script"])
    # Nuitka's programs end so where a package has their name.
    name = Path(program).name.removesuffix(".bin")
    packer.pack(folder, ctx.out / name, name=name, program=program, runtime=runtime.runtime())
    return {"payload": name, "script": name, "measured_floor": parent.meta["measured_floor"]}


def program_of(path: Path, script: str) -> tuple[Path, str]:
    """The folder that is packed and the program in it: the one of that name in `path`, where something else lies beside
    it, such as its archive."""
    return (path / script, script) if (path / script).is_dir() else (path, script)
