"""The interpreters of a manylinux image: /opt/python/cpXY-cpXY, links into /opt/_internal. None has a libpython."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py_portable.config import InterpreterChoice
from py_portable.errors import StepError
from py_portable.interpreters.provider import InterpreterRequest, Libpython
from py_portable.interpreters.settle import SCRIPTS, settle, there
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId


class Manylinux:
    name = "manylinux"
    needs: tuple[str, ...] = ()
    libpython: Libpython | None = None
    of_packages = False

    def pin(self, choice: InterpreterChoice, python: str) -> None:
        return None

    def steps(self, wanted: InterpreterRequest) -> tuple[Step, ...]:
        step = Step(
            name=NodeId("interpreter", house=wanted.house),
            action=take,
            params={"python": wanted.house.python},
            needs=(wanted.tools,),
            scripts=("build/take_manylinux.sh", *SCRIPTS),
            image=wanted.image,
        )
        return (step,)


def tag(python: str) -> str:
    """`3.13` -> `cp313-cp313`, the name of its folder (PEP 425 tags of interpreter and ABI)."""
    return "-".join(2 * (f"cp{python.replace('.', '')}",))


def take(ctx: Context) -> Mapping[str, Any]:
    python = ctx.params["python"]
    assert ctx.image is not None
    ctx.sandbox("build/take_manylinux.sh", tag(python))
    found = there(ctx)
    if tag(python) not in found:
        has = f"there are: {', '.join(found)}" if found else "it has nothing in /opt/python"
        raise StepError(
            f"{ctx.image.name} has no /opt/python/{tag(python)}; {has}",
            hint="choose one of these Pythons, a manylinux image that has it, or interpreter.provider: source",
        )
    return settle(ctx, "manylinux", python, origin=f"{ctx.image.name}'s /opt/python/{tag(python)}")
