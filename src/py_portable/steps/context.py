"""The arguments of a step's action: its inputs, a place to write, and the sandbox of its baseline."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from py_portable import resources
from py_portable.base import process
from py_portable.base.redact import scrub
from py_portable.engines.engine import Bind, Engine, Job
from py_portable.images import Image
from py_portable.steps.identity import NodeId
from py_portable.steps.output import BuildFailed as BuildFailed
from py_portable.steps.output import settle
from py_portable.store import Store

OUT = "/out"
PYTHON = "/opt/python/bin/python3"
WORK = "/build"
BUILD_PATH = "/opt/python/bin:/opt/tools/bin:/usr/lib/ccache:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Result:
    """The output of a step: a folder, its digest, and what the step recorded about it."""

    path: Path
    digest: str
    meta: Mapping[str, Any]
    log: Path | None = None
    cached: bool = True
    seconds: float = 0.0


@dataclass(frozen=True)
class Environment:
    """The things that all steps of a run share."""

    store: Store
    engine: Engine
    epoch: int
    jobs: int
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    on_host: bool = False
    """Whether the engine has only this machine's own root, which is then the image on which cells start."""
    in_container: bool = False
    """Whether build steps run in the container of this process, whose image is the baseline (engines/inside.py)."""
    keep: Path | None = None
    """Where the work folder of a step that fails is copied to; None: it is thrown away."""
    pass_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The caller's variables that `build.pass-env` names: seen by compilers, kept out of everything else."""


@dataclass(frozen=True)
class Context:
    env: Environment
    name: str
    params: Mapping[str, Any]
    inputs: Mapping[NodeId, Result]
    image: Image | None
    work: Path
    log: Path
    locals: Mapping[str, Any] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.work / "out"

    def need(self, kind: str) -> Result:
        """The one input of this kind."""
        found = [result for node, result in self.inputs.items() if node.kind == kind]
        if len(found) != 1:
            raise KeyError(f"step {self.name} has {len(found)} inputs of the kind {kind}")
        return found[0]

    def sandbox(
        self,
        script: str,
        *words: str,
        then: tuple[tuple[str, ...], ...] = (),
        binds: tuple[Bind, ...] = (),
        environ: Mapping[str, str] | None = None,
        timeout: float = 3600,
        hint: str | Callable[[str], str] | None = None,
    ) -> None:
        """Run `resources/SCRIPT WORDS…` in the step's image: /out and /build are writable, nothing else is.

        `then`: more scripts with their words, run after it in the same sandbox. Offline: everything it needs was
        fetched before. `hint`, or what it makes of the end of the log. When it returns, all that was started is dead
        and what lies in the out folder is settled. Raises BuildFailed, with the log's last lines.
        """
        assert self.image is not None
        scratch = self.work / "sandbox"
        scratch.mkdir(exist_ok=True)
        commands = ((script, *words), *then)
        job = Job(
            profile="build",
            root=self.image.root,
            argv=_argv(commands),
            env={
                **self.image.env,
                "PATH": build_path(self.image.env.get("PATH", "")),
                "HOME": WORK,
                "LC_ALL": "C.UTF-8",
                "TZ": "UTC",
                "PYTHONHASHSEED": "0",
                "PYTHONDONTWRITEBYTECODE": "1",
                "SOURCE_DATE_EPOCH": str(self.env.epoch),
                "JOBS": str(self.env.jobs),
                **(environ or {}),
            },
            cwd=WORK,
            binds=(
                Bind(scratch, WORK, writable=True),
                Bind(self.out, OUT, writable=True),
                *_scripts(commands),
                *binds,
            ),
            hostname="build",
            keep=self.env.keep is not None,
        )
        try:
            outcome = self.env.engine.run(job, timeout=timeout, log=self.log)
        finally:
            scrub(self.log, self.env.pass_env.values())
        try:
            process.require(outcome, what=f"{self.name}", error=BuildFailed)
        except BuildFailed as problem:
            next_ = hint(problem.tail or "") if callable(hint) else hint
            kept = f"look inside: {outcome.kept}" if outcome.kept else None
            problem.hint = "\n".join(filter(None, (next_, kept))) or None
            raise
        settle(self.out, self.name)


IN_TURN = "build/in_turn.sh"


def _argv(commands: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    each = [(_interpreter(script), _shown(script), *words) for script, *words in commands]
    if len(each) == 1:
        return each[0]
    return ("/bin/sh", _shown(IN_TURN), *(word for one in each for word in (str(len(one)), *one)))


def _interpreter(script: str) -> str:
    return PYTHON if script.endswith(".py") else "/bin/sh"


def _shown(script: str) -> str:
    return f"/kit/{PurePosixPath(script).name}"


def _scripts(commands: tuple[tuple[str, ...], ...]) -> tuple[Bind, ...]:
    names = [command[0] for command in commands] + ([IN_TURN] if len(commands) > 1 else [])
    return tuple(Bind(resources.path(name), _shown(name)) for name in dict.fromkeys(names))


def build_path(told: str) -> str:
    """PATH of a build step: the kit's own places, then those of the image that the kit does not name."""
    known = BUILD_PATH.split(":")
    return ":".join(
        [*known[:3], *(place for place in told.split(":") if place and place not in known), *known[3:]]
    )
