"""What makes shells complete the arguments of a program: what it says itself, or the words of its help. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from py_portable.formats.system_packages.help_text import Help

SHELLS = ("bash", "zsh", "fish")
STYLES: Mapping[str, Callable[[str], str]] = {
    "click": lambda shell: f"{shell}_source",
    "typer": lambda shell: f"source_{shell}",
}
"""What the variable has to be so that the program writes its script."""


def variable(program: str) -> str:
    """The variable that click looks at: click's documentation, "Shell Completion"."""
    return f"_{re.sub('[-.]', '_', program)}_COMPLETE".upper()


def is_script(shell: str, names: Iterable[str], text: str) -> bool:
    """Whether it is such a script: one that asks the program again by the same variable, for what fits. `names`: what
    the program may believe to be called."""
    variables = "|".join(re.escape(variable(name)) for name in names)
    asks = rf"\b(?:{variables})=(?:{shell}_complete|complete_{shell}|complete)\b"
    return "\0" not in text and re.search(asks, text) is not None


def of_words(shell: str, program: str, said: Help) -> str | None:
    """A script for the options and commands that its help names; None if it names none. All other words are names of
    files."""
    options, commands = said.options, said.commands
    if not options and not commands:
        return None
    return _SCRIPTS[shell](program, options, commands)


def _bash(program: str, options: Iterable[str], commands: Iterable[str]) -> str:
    words = " ".join((*commands, *options))
    return f"complete -o bashdefault -o default -W '{words}' {program}\n"


def _zsh(program: str, options: Iterable[str], commands: Iterable[str]) -> str:
    words = " ".join((*commands, *options))
    return f"#compdef {program}\nlocal -a words_of_it=({words})\ncompadd -a words_of_it\n_files\n"


def _fish(program: str, options: Iterable[str], commands: Iterable[str]) -> str:
    lines = [f"complete -c {program} {_of_fish(option)}" for option in options]
    if names := " ".join(commands):
        lines.append(f"complete -c {program} -n __fish_use_subcommand -a '{names}'")
    return "".join(f"{line}\n" for line in lines)


def _of_fish(option: str) -> str:
    if option.startswith("--"):
        return f"-l {option[2:]}"
    return f"-s {option[1:]}" if len(option) == 2 else f"-o {option[1:]}"


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
