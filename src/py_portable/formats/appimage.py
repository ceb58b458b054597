"""`appimage`: the folder that another artifact is, as an AppImage of type 2. It needs no FUSE to start."""

from __future__ import annotations

import base64
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from py_portable.base.regular import TooLargeError, read_regular
from py_portable.config import Artifact
from py_portable.engines.engine import Bind
from py_portable.errors import ConfigError
from py_portable.formats import appdir, runtime
from py_portable.formats.appdir import About
from py_portable.formats.format import (
    APP,
    FOLDER,
    Format,
    House,
    Made,
    Parent,
    Problem,
    Start,
    Written,
    artifact_node,
    option,
)
from py_portable.formats.onefile import program_of
from py_portable.formats.runtime import packer, squash_packer
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step

MAX_TEXT_BYTES = 1 << 20
_LINE = r"^\S(.*\S)?$"
_IDENTITY = r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*){2,}$"
_TEXTS = ("desktop", "metainfo")
_RELATIVE = "A relative path starts at this file's folder."


@dataclass(frozen=True)
class AppImageOptions:
    id: str | None = option(
        None,
        "The name that no other app has, a domain of yours turned round and the app's name: `org.example.myapp`. "
        "Without this it is `local.portable.NAME`.",
        type="string",
        pattern=_IDENTITY,
        maxLength=200,
        errorMessage="expected a name in at least three parts, such as org.example.myapp",
    )
    title: str | None = option(
        None,
        "What people read as its name. Without this it is that of its program.",
        type="string",
        pattern=_LINE,
        errorMessage="expected one line of text",
        maxLength=80,
    )
    summary: str | None = option(
        None,
        "What it is, in a few words and without a full stop. Without this it is `A program for the command line`.",
        type="string",
        pattern=r"^\S(.*[^.\s])?$",
        errorMessage="expected one line of text without a full stop",
        maxLength=90,
    )
    categories: tuple[str, ...] = option(
        ("Utility",),
        "Where menus show it: categories of the desktop menu specification.",
        type="array",
        items={
            "type": "string",
            "pattern": "^[A-Za-z0-9-]+$",
            "maxLength": 50,
            "errorMessage": "expected the name of a category, such as Development",
        },
        minItems=1,
        uniqueItems=True,
    )
    terminal: bool = option(True, "Whether desktops start it in a terminal.")
    icon: Path | None = option(
        None, f"An icon of your own, a PNG or SVG file, instead of the made one. {_RELATIVE}"
    )
    desktop: Path | None = option(None, f"A desktop file of your own instead of the made one. {_RELATIVE}")
    metainfo: Path | None = option(
        None, f"AppStream metadata of your own instead of the made ones. {_RELATIVE}"
    )


class AppImage(Format):
    name = "appimage"
    summary = "The folder that another artifact is, as an AppImage that starts without FUSE."
    options = AppImageOptions
    made_from = (FOLDER,)
    interpreter = "none"

    def problems(self, written: Written) -> Iterable[Problem]:
        for key in ("icon", *_TEXTS):
            yield from written.not_a_file(key)

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert parent is not None
        return (
            Step(
                name=artifact_node(artifact),
                action=pack,
                params={
                    "runtime": runtime.identity(),
                    "zstd": packer.ZSTD,
                    "about": _told(artifact.options),
                },
                needs=(parent.node,),
            ),
        )

    def start(self, made: Made, image: Image | None = None) -> Start:
        shown = f"{APP}/{made.path.name}"
        return Start(shown, (Bind(made.path, shown),), is_elf=True)


def pack(ctx: Context) -> Mapping[str, Any]:
    (parent,) = ctx.inputs.values()
    folder, program = program_of(parent.path / parent.meta["payload"], parent.meta["script"])
    about = _about(ctx.params["about"], Path(program).name.removesuffix(".bin"))
    tree = ctx.work / "AppDir"
    inside = appdir.make(folder, program, tree, about)
    name = f"{about.name}-{platform.machine()}.AppImage"
    squash_packer.pack(tree, ctx.out / name, name=about.name, program=inside, runtime=runtime.runtime())
    return {"payload": name, "script": name, "measured_floor": parent.meta["measured_floor"]}


def _told(options: AppImageOptions) -> dict[str, Any]:
    """With the contents of files in place of their paths, as JSON. Raises ConfigError."""
    read = {key: _contents(getattr(options, key), key) for key in ("icon", *_TEXTS)}
    return {**asdict(options), **read}


def _contents(path: Path | None, key: str) -> str | None:
    if path is None:
        return None
    try:
        data = read_regular(path, MAX_TEXT_BYTES)
        if key in _TEXTS:
            return data.decode()
    except TooLargeError:
        raise ConfigError(f"is longer than {MAX_TEXT_BYTES} bytes", where=str(path)) from None
    except OSError as problem:
        why = f"cannot be read: {problem.strerror}"
        raise ConfigError(why, where=str(path), hint=f"correct the option {key}") from problem
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", where=str(path)) from None
    if not data.startswith(appdir.PNG) and b"<svg" not in data:
        raise ConfigError("is neither a PNG nor an SVG image", where=str(path))
    return base64.b64encode(data).decode()


def _about(told: Mapping[str, Any], name: str) -> About:
    return About(
        name=name,
        id=told["id"] or f"local.portable.{name}",
        title=told["title"] or name,
        summary=told["summary"] or "A program for the command line",
        categories=tuple(told["categories"]),
        terminal=told["terminal"],
        icon=base64.b64decode(told["icon"]) if told["icon"] else None,
        desktop=told["desktop"],
        metainfo=told["metainfo"],
    )
