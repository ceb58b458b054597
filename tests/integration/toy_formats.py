"""Formats that the kit does not have, as somebody would add them; started as a program, it is the kit with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable import cli
from py_portable.config import Artifact, ImageSpec
from py_portable.engines import static_helpers
from py_portable.engines.engine import Bind
from py_portable.formats import FORMATS, artifact_node
from py_portable.formats.format import (
    APP,
    FOLDER,
    Format,
    House,
    Made,
    Parent,
    Problem,
    Program,
    Start,
    Written,
    option,
    several,
)
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step

SOURCE = """
#include <stdio.h>
int main(void) { puts(WORD); return STATUS; }
"""


@dataclass(frozen=True)
class Options:
    word: str = option("hello", "What it prints.", type="string", maxLength=20)
    releases: tuple[str, ...] = option((), "The images that it is made for, each by itself.", **several("image-name"))


class Toy(Format):
    name = "toy"
    summary = "A folder with a program that prints a word."
    options = Options
    interpreter = "none"
    folder = True
    programs = (Program("toy maker", "makes toys", lambda environ: environ.get("TOY_MAKER", "1.0")),)

    def pins(self) -> Mapping[str, str]:
        return {"toy maker": "1.0 sha256:0"}

    def fan_out(self, name: str, mapping: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        releases = mapping.get("releases", ())
        each = {f"{name}-{number}": [release] for number, release in enumerate(releases, 1)}
        return {own: {**mapping, "releases": one} for own, one in each.items()} or {name: mapping}

    def problems(self, written: Written) -> Iterable[Problem]:
        if written.mapping.get("word") == "bad":
            yield written.wrong("word", "is no word for a toy")

    def steps(self, artifact: Artifact, house: House | None, parent: Parent | None = None) -> tuple[Step, ...]:
        return (Step(artifact_node(artifact), compile_toy, {"word": artifact.options.word}),)

    def expect(self, artifact: Artifact, image: ImageSpec) -> str | None:
        releases = artifact.options.releases
        return "fail:loader" if releases and image.name not in releases else None

    def start(self, made: Made, image: Image | None = None) -> Start:
        release = image is None or made.meta.get("word") != "elsewhere" or image.name.endswith("1.tar")
        program = "toy" if release else "none"
        return Start(f"{APP}/{made.path.name}/{program}", (Bind(made.path, f"{APP}/{made.path.name}"),), is_elf=True)


class Packed(Format):
    name = "toy-box"
    summary = "The program of any folder, by itself."
    made_from = (FOLDER,)
    interpreter = "none"

    def steps(self, artifact: Artifact, house: House | None, parent: Parent | None = None) -> tuple[Step, ...]:
        assert parent is not None
        return (Step(artifact_node(artifact), pack, needs=(parent.node,), lane="io"),)

    def start(self, made: Made, image: Image | None = None) -> Start:
        return Start(f"{APP}/{made.path.name}", (Bind(made.path, f"{APP}/{made.path.name}"),), is_elf=True)


def compile_toy(ctx: Context) -> Mapping[str, Any]:
    folder = ctx.out / "toy"
    folder.mkdir()
    code = ctx.work / "toy.c"
    code.write_text(SOURCE)
    word = ctx.params["word"]
    told = (f'-DWORD="{word}"', "-DSTATUS=0")
    subprocess.run([*static_helpers.compiler(), "-static", *told, "-o", folder / "toy", code], check=True)
    return {"payload": "toy", "script": "toy", "word": word, "measured_floor": None}


def pack(ctx: Context) -> Mapping[str, Any]:
    (folder,) = ctx.inputs.values()
    program: Path = folder.path / folder.meta["payload"] / folder.meta["script"]
    (ctx.out / "boxed").write_bytes(program.read_bytes())
    (ctx.out / "boxed").chmod(0o755)
    return {"payload": "boxed", "measured_floor": None}


def register() -> None:
    FORMATS.update({one.name: one for one in (Toy(), Packed())})


if __name__ == "__main__":
    register()
    cli.main(sys.argv[1:])
