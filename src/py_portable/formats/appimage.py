"""`appimage`: the folder that another artifact is, as an AppImage of type 2. It needs no FUSE to start."""

from __future__ import annotations

import base64
import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable.base.fetch import Url, fetch
from py_portable.base.regular import TooLargeError, read_regular, sha256_of
from py_portable.config import Artifact, ImageSpec
from py_portable.config.kinds import is_file
from py_portable.config.problems import show
from py_portable.engines.engine import Bind
from py_portable.errors import ConfigError, StepError
from py_portable.formats import appdir, public_runtime, runtime
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
    ref,
)
from py_portable.formats.onefile import program_of
from py_portable.formats.runtime import packer, squash_packer
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId

MAX_TEXT_BYTES = 1 << 20
MAX_RUNTIME_BYTES = 16 << 20
_TAKEN, _FILE = "runtime of an AppImage", public_runtime.FILE
_LINE = r"^\S(.*\S)?$"
_IDENTITY = r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*){2,}$"
_TEXTS = ("desktop", "metainfo")
_END = f"-{platform.machine()}.AppImage"
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
    runtime: Mapping[str, Any] | None = option(
        None,
        "A runtime of others instead of the kit's own: `path`, or `url` with `sha256`.",
        type="object",
        additionalProperties=False,
        properties={
            "path": {"description": f"Where it lies. {_RELATIVE}", **ref("path")},
            "url": {
                "description": "Where it is fetched from.",
                "type": "string",
                "maxLength": 4096,
                "pattern": "^https?://[^\\s]+$",
                "errorMessage": "expected an address such as https://example.org/runtime-x86_64",
            },
            "sha256": {
                "description": "Its sha256. A file at `path` may go without.",
                "type": "string",
                "maxLength": 64,
                "pattern": "^[0-9a-f]{64}$",
                "errorMessage": "expected a sha256: 64 digits of 0-9 and a-f",
            },
        },
    )
    metainfo: Path | None = option(
        None, f"AppStream metadata of your own instead of the made ones. {_RELATIVE}"
    )


class AppImage(Format):
    name = "appimage"
    summary = "The folder that another artifact is, as an AppImage that starts without FUSE."
    options = AppImageOptions
    made_from = (FOLDER,)
    interpreter = "none"
    controls: Mapping[str, int] = {"needs-fuse": 1} if platform.machine() == public_runtime.MACHINE else {}
    asked_to_pass = ("--appimage-extract-and-run",)

    def problems(self, written: Written) -> Iterable[Problem]:
        for key in ("icon", *_TEXTS):
            yield from written.not_a_file(key)
        told = written.mapping.get("runtime")
        if told is None:
            return
        if ("path" in told) == ("url" in told) or ("url" in told and "sha256" not in told):
            yield written.wrong("runtime", "expected `path`, or `url` with `sha256`")
        elif "path" in told and not is_file(written.base / told["path"]):
            yield written.wrong("runtime", f"there is no file {show(told['path'])}; {_RELATIVE.lower()}")

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert parent is not None
        options: AppImageOptions = artifact.options
        if options.runtime is None:
            return (_made(artifact, parent, None),)
        taken = _taken(artifact.name, options.runtime)
        return taken, _made(artifact, parent, taken.name)

    def wrong_steps(self, control: str, artifact: Artifact, parent: Parent | None = None) -> tuple[Step, ...]:
        """The same folder behind AppImage's own old runtime."""
        assert parent is not None
        taken = NodeId(_TAKEN, artifact.name)
        return *public_runtime.steps(taken), _made(artifact, parent, taken)

    def expect(self, artifact: Artifact, image: ImageSpec) -> str | None:
        """A cell has no FUSE, so a runtime that mounts must fail there."""
        options: AppImageOptions = artifact.options
        return "fail:fuse" if options.runtime is not None else None

    def start(self, made: Made, image: Image | None = None) -> Start:
        shown = f"{APP}/{made.path.name}"
        name = made.path.name.removesuffix(_END)
        return Start(shown, (Bind(made.path, shown),), is_elf=True, fills=runtime.fills(name))


def _made(artifact: Artifact, parent: Parent, taken: NodeId | None) -> Step:
    """`taken`: the step that gives the runtime; None: the kit's own one."""
    return Step(
        name=artifact_node(artifact),
        action=pack,
        params={
            "runtime": None if taken else runtime.identity(),
            "zstd": packer.ZSTD,
            "about": _told(artifact.options),
        },
        needs=(parent.node, taken) if taken else (parent.node,),
    )


def pack(ctx: Context) -> Mapping[str, Any]:
    (parent,) = (result for node, result in ctx.inputs.items() if node.kind != _TAKEN)
    folder, program = program_of(parent.path / parent.meta["payload"], parent.meta["script"])
    about = _about(ctx.params["about"], Path(program).name.removesuffix(".bin"))
    tree = ctx.work / "AppDir"
    inside = appdir.make(folder, program, tree, about)
    name = f"{about.name}{_END}"
    if ctx.params["runtime"] is None:
        own = (ctx.need(_TAKEN).path / _FILE).read_bytes()
        squash_packer.attach(tree, ctx.out / name, runtime=own)
    else:
        squash_packer.pack(tree, ctx.out / name, name=about.name, program=inside, runtime=runtime.runtime())
    return {"payload": name, "script": name, "measured_floor": parent.meta["measured_floor"]}


def _taken(artifact: str, told: Mapping[str, Any]) -> Step:
    """The step that gives the runtime of others. Raises ConfigError where it cannot be read."""
    sha256 = told.get("sha256")
    if sha256 is None:
        try:
            sha256 = sha256_of(told["path"])
        except OSError as problem:
            why = f"cannot be read: {problem.strerror}"
            raise ConfigError(why, where=str(told["path"]), hint="correct the option runtime") from problem
    return Step(
        name=NodeId(_TAKEN, artifact),
        action=take,
        params={"sha256": sha256},
        locals={key: str(told[key]) for key in ("path", "url") if key in told},
        lane="io",
    )


def take(ctx: Context) -> Mapping[str, Any]:
    sha256, path = ctx.params["sha256"], ctx.locals.get("path")
    if path is None:
        fetch((Url(ctx.locals["url"]),), sha256, ctx.out / _FILE, max_bytes=MAX_RUNTIME_BYTES)
        return {}
    data = read_regular(Path(path), MAX_RUNTIME_BYTES)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StepError("the runtime has another sha256 than the config says", where=path)
    (ctx.out / _FILE).write_bytes(data)
    return {}


def _told(options: AppImageOptions) -> dict[str, Any]:
    """With the contents of files in place of their paths, as JSON. Raises ConfigError."""
    read = {key: _contents(getattr(options, key), key) for key in ("icon", *_TEXTS)}
    texts = ("id", "title", "summary", "categories", "terminal")
    return {**{key: getattr(options, key) for key in texts}, **read}


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
