"""The baseline's own Python, out of its packages, brought into one prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_portable import resources
from py_portable.config import InterpreterChoice
from py_portable.engines.engine import Bind
from py_portable.errors import StepError
from py_portable.interpreters.provider import InterpreterRequest, Libpython
from py_portable.interpreters.settle import SCRIPTS, settle, there
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId

_COPY = "build/take_system.py"


class System:
    name = "system"
    needs: tuple[str, ...] = ("system-python",)
    libpython: Libpython | None = None
    of_packages = True

    def pin(self, choice: InterpreterChoice, python: str) -> None:
        return None

    def steps(self, wanted: InterpreterRequest) -> tuple[Step, ...]:
        step = Step(
            name=NodeId("interpreter", house=wanted.house),
            action=take,
            params={"python": wanted.house.python},
            needs=(wanted.tools,),
            scripts=("build/take_system.sh", _COPY, *SCRIPTS),
            image=wanted.image,
        )
        return (step,)


def take(ctx: Context) -> Mapping[str, Any]:
    python = ctx.params["python"]
    assert ctx.image is not None
    ctx.sandbox(
        "build/take_system.sh",
        python,
        binds=(Bind(resources.path(_COPY), "/kit/take_system.py"),),
        hint="its headers and pip are packages of their own: name them in baselines.NAME.packages",
    )
    found = there(ctx)
    if python not in found:
        has = f"it has {', '.join(dict.fromkeys(found))}" if found else "it has none"
        raise StepError(
            f"{ctx.image.name} does not have Python {python}; {has}",
            hint="choose the Python it has, another baseline, or interpreter.provider: source; where the "
            f"distribution has packages of {python}, name them in baselines.NAME.packages",
        )
    return settle(ctx, "system", python, origin=f"{ctx.image.name}'s own Python")
