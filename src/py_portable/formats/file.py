"""`file`: an executable, a folder or a package that was made elsewhere and is only proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from py_portable.config import Artifact
from py_portable.engines.engine import Bind
from py_portable.errors import ConfigError
from py_portable.formats.format import APP, Format, Made, Start, option
from py_portable.formats.package_install import installed, kind_of
from py_portable.images import Image
from py_portable.inspect.elf import is_elf, measure
from py_portable.steps.context import BuildFailed, Context, Environment
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId
from py_portable.store import digest
from py_portable.store.copying import copy


@dataclass(frozen=True)
class FileOptions:
    path: Path = option(
        ..., "The path of the file, folder or package. A relative path starts at this file's folder."
    )


class File(Format):
    name = "file"
    summary = (
        "An executable, a folder with one, or a package (.deb or .rpm) that was made elsewhere. It is only proven. It "
        "needs `path`, so it cannot be in a list of plain names."
    )
    options = FileOptions
    folder = True
    interpreter = "none"

    def taken(self, artifact: Artifact, script: str | None) -> tuple[Step, ...]:
        assert artifact.path is not None
        return (
            Step(
                name=NodeId("folder", artifact.name),
                action=take,
                params={"name": artifact.path.name, "script": script or _called(artifact.path)},
                lane="io",
                locals={"path": artifact.path},
                observes=partial(_contents, artifact.path),
            ),
        )

    def start(self, made: Made, image: Image | None = None) -> Start:
        """A file is started itself; in a folder, the executable that the config names, or the one with the folder's
        name. A
        package is installed first.

        Raises ConfigError if a folder or a package has no such executable.
        """
        if kind := kind_of(made.path):
            return installed(kind, made, image)
        shown = f"{APP}/{made.path.name}"
        binds = (Bind(made.path, shown),)
        if not made.path.is_dir():
            return Start(shown, binds, is_elf=is_elf(made.path))
        script = made.meta.get("script") or _called(made.path)
        return Start(f"{shown}/{script}", binds, is_elf=is_elf(_program(made.path, script)))


def _called(folder: Path) -> str:
    """The program of a folder for which nobody names one."""
    return folder.name.removesuffix(".dist")


def _program(folder: Path, script: str) -> Path:
    program = (folder / script).resolve()
    # A link out of the folder would start something of the image, and prove nothing of the artifact.
    if not program.is_file() or not program.is_relative_to(folder.resolve()):
        raise ConfigError(
            f"the folder has no executable {script!r}",
            where=str(folder),
            hint="give the path of the executable in it: prove FOLDER/PROGRAM, or app.script in the config",
        )
    return program


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise BuildFailed(f"{path} is not a folder, and nothing else can be made into something")
    return path


def _contents(path: Path, env: Environment) -> str:
    return digest(_folder(path))


def take(ctx: Context) -> Mapping[str, Any]:
    """Copy the folder as it lies: what is made from it is made from these bytes, whatever becomes of it meanwhile."""
    path, script = _folder(ctx.locals["path"]), ctx.params["script"]
    _program(path, script)
    made = ctx.out / ctx.params["name"]
    copy(path, made)
    return {"payload": made.name, "script": script, "measured_floor": measure(made).floor}
