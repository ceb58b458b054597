"""Asks the program of a folder for its help and for its completions, in the sandbox of its baseline.

The program is foreign code: whatever it does, the step ends in time and gives the texts that it said.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py_portable.base.regular import read_regular
from py_portable.engines.engine import Bind
from py_portable.formats.format import House, Parent
from py_portable.formats.onefile import program_of
from py_portable.formats.system_packages import completions, help_text
from py_portable.steps.context import OUT, BuildFailed, Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId

KIND = "help of"
SECONDS = 30
MOST_BYTES = 1 << 20
MOST_COMMANDS = 40
_SCRIPT = "build/answer.sh"
_FOLDER = "/in/folder"
_ANSWERS = "answers.json"
_PLAIN = ("COLUMNS=80", "LINES=24", "TERM=dumb", "NO_COLOR=1", "TYPER_USE_RICH=0")


@dataclass(frozen=True)
class Answers:
    """`scripts`: by shell; `commands`: the help of each, by name; `why`: what went wrong, in a line."""

    help: str = ""
    commands: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    why: str = ""


def step(house: House, parent: Parent) -> Step:
    """Gives the answers of an artifact's program, which all packages of this artifact share."""
    return Step(
        name=NodeId(KIND, parent.artifact.name),
        action=ask,
        params={"seconds": SECONDS},
        needs=(parent.node,),
        scripts=(_SCRIPT,),
        image=house.image,
    )


def answers(ctx: Context) -> Answers | None:
    """What the step among the inputs found out; None if there is no such step."""
    found = next((result for node, result in ctx.inputs.items() if node.kind == KIND), None)
    return Answers(**json.loads((found.path / _ANSWERS).read_text("utf-8"))) if found else None


def ask(ctx: Context) -> Mapping[str, Any]:
    (parent,) = ctx.inputs.values()
    folder, program = program_of(parent.path / parent.meta["payload"], parent.meta["script"])
    found = _ask(ctx, folder, program)
    (ctx.out / _ANSWERS).write_text(json.dumps(vars(found), sort_keys=True), "utf-8")
    return {}


def _ask(ctx: Context, folder: Path, program: str) -> Answers:
    """First for the help and the scripts. The help names the commands, and has to say something."""
    name, names = called(program), _names(program)
    shells, styles = completions.SHELLS, completions.STYLES
    # Who does not know the variable writes the help, and does nothing else.
    wanted = {
        f"{style} {shell}": (
            *(f"{completions.variable(one)}={value(shell)}" for one in names),
            name,
            "--help",
        )
        for style, value in styles.items()
        for shell in shells
    }
    said, why = _said(ctx, folder, program, {"help": (name, "--help"), **wanted})
    scripts = {
        shell: text
        for shell in shells
        for style in styles
        if completions.is_script(shell, names, text := said.get(f"{style} {shell}", ""))
    }
    read = help_text.read(said.get("help", ""))
    asked = read.commands[:MOST_COMMANDS] if read and not why else ()
    commands, later = _said(ctx, folder, program, {one: (name, one, "--help") for one in asked})
    return Answers(said.get("help", ""), commands, scripts, why or later)


def called(program: str) -> str:
    """What the program is called in /usr/bin. Nuitka's end in `.bin` where a package has their name."""
    return Path(program).name.removesuffix(".bin")


def _names(program: str) -> tuple[str, ...]:
    """What it may believe to be called: Nuitka's look where a link leads to."""
    return tuple(dict.fromkeys((called(program), Path(program).name)))


def _said(
    ctx: Context, folder: Path, program: str, questions: Mapping[str, Sequence[str]]
) -> tuple[dict[str, str], str]:
    """The answers by the same names, without those of questions that the program fails at; and what went wrong."""
    if not questions:
        return {}, ""
    name, why = called(program), ""
    seconds = str(ctx.params["seconds"])
    each = [
        (f"{_FOLDER}/{program}", name, f"{OUT}/{number}", seconds, *_PLAIN, *words)
        for number, words in enumerate(questions.values())
    ]
    try:
        first, *others = ((_SCRIPT, *words) for words in each)
        ctx.sandbox(
            *first, then=tuple(others), binds=(Bind(folder, _FOLDER),), timeout=SECONDS * len(each) + 60
        )
    except BuildFailed as problem:
        why = (problem.tail or "").strip().rpartition("\n")[2] or problem.what
    *_, file = _names(program)
    own = re.compile(rf"(?<![\w.-]){re.escape(file)}(?![\w-])")
    found = {
        key: own.sub(lambda _: name, _read(ctx.out / str(number))) for number, key in enumerate(questions)
    }
    # Whatever else it left.
    shutil.rmtree(ctx.out, ignore_errors=True)
    ctx.out.mkdir(exist_ok=True)
    return {key: text for key, text in found.items() if text}, why


def _read(path: Path) -> str:
    try:
        return read_regular(path, MOST_BYTES, follow=False).decode("utf-8", "replace")
    except OSError:
        return ""
