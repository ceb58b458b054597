"""Finds out what the machine of a job lacks, before anything takes time, and adds it if that is allowed."""

from __future__ import annotations

from collections.abc import Mapping

from py_portable.ci.github import console, follow
from py_portable.ci.github.inputs import Inputs
from py_portable.ci.github.runner_files import RunnerFiles, code

_NEED_IT = {"lock", "plan", "build", "portability", "benchmark"}
"""Commands that make images or start something in them."""
_DOCTOR = ("doctor", "--fix")


def make_ready(inputs: Inputs, environ: Mapping[str, str]) -> int:
    """Run the doctor, which installs what is missing if it may. Returns its exit status.

    A failure is reported in the log, as an annotation and in the summary. Nothing is done for a job that starts
    nothing, or for the engine `native`, which needs nothing.
    """
    engine = inputs.engine or environ.get("PY_PORTABLE_ENGINE")
    if engine == "native" or not _NEED_IT & set(inputs.commands):
        return 0
    env = follow.environment(environ)
    if not inputs.fix:
        env["PY_PORTABLE_NO_FIX"] = "1"
    with console.group("py-portable doctor"):
        ended = follow.follow(_DOCTOR, env)
    if ended.status:
        error = next((line for line in ended.tail if line.startswith("Error: ")), "")
        why = error.removeprefix("Error: ") or "the machine lacks something"
        console.annotate("error", f"{why}; the log of this step says what to do")
        lines = ["**py-portable could not begin**", "", *(f"- {code(line)}" for line in ended.tail)]
        RunnerFiles(environ).summary("\n".join(lines))
    return ended.status
