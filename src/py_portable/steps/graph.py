"""A step: what is made, from what, and by which code. Its key shows whether it has to be made again."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from py_portable import resources
from py_portable.base.regular import sha256_of
from py_portable.steps import closure
from py_portable.steps.identity import NodeId

if TYPE_CHECKING:
    from py_portable.steps.context import Context, Environment

Lane = Literal["cores", "io"]
"""`cores`: computes; two at a time, since most use one core for long stretches. `io`: waits for the network or the
disk."""

Action = Callable[["Context"], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Step:
    """One node of the plan.

    `needs` are names of other steps; `params` is everything else that decides the result, as JSON;
    `scripts` are names below resources/ whose text decides it too; `action` fills the out folder.
    """

    name: NodeId
    action: Action
    params: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[NodeId, ...] = ()
    scripts: tuple[str, ...] = ()
    lane: Lane = "cores"
    image: NodeId | None = None
    """The node that gives the root file system the action runs in, when it runs in one."""
    locals: Mapping[str, Any] = field(default_factory=dict)
    """Paths on this machine that the action needs and that must not be part of the key."""
    observes: Callable[[Environment], str] | None = None
    """Examines what on this machine decides the result, just before the step runs; its answer is part of the key."""

    @property
    def all_needs(self) -> tuple[NodeId, ...]:
        return (self.image, *self.needs) if self.image else self.needs


@dataclass(frozen=True)
class ImageNode:
    """A root file system that steps run in, or that cells start on. Its digest is its identity."""

    name: NodeId
    image: str
    packages: tuple[str, ...] = ()
    before: str | None = None
    locked: str | None = None
    """The identity that the lock names."""
    origin: str | None = None
    """The digest that the lock gives the image's name, whatever is added to it."""
    archive: str | None = None
    """The lock's `archives` of the image's name."""
    needs: tuple[str, ...] = ()
    """The packages that the kit itself needs in it, see `images.packages`."""
    container: str | None = None
    """The identity that the lock gives to the container of a job in this image."""

    @property
    def built_in(self) -> bool:
        """Whether it is a baseline. Images on which cells start have nothing that the kit itself needs."""
        return bool(self.needs or self.before)

    lane: Lane = "io"
    all_needs: tuple[NodeId, ...] = ()


Node = Step | ImageNode


def key(step: Step, digests: Mapping[NodeId, str], *, epoch: int, observed: str | None = None) -> str:
    """The step's key: hex sha256 over everything that decides its result.

    `digests` maps each needed step to the digest of its output; `observed` is what `Step.observes` says. Proxies,
    host paths, the number of cores and the names of steps never enter.
    """
    action = step.action
    told = {
        "action": f"{action.__module__}.{action.__qualname__}",
        "code": code(action),
        "scripts": {name: resources.sha256(name) for name in sorted(step.scripts)},
        "params": step.params,
        "inputs": [digests[need] for need in step.all_needs],
        "machine": platform.machine(),
        "epoch": epoch,
        "sandbox": 1,
        **({"observed": observed} if step.observes else {}),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


_RUNNING = (
    *(
        "base",
        "config",
        "engines",
        "errors",
        "formats.format",
        "images",
        "lock",
        "resources",
        "steps.closure",
    ),
    "store",
)
"""Modules that run a step, or fetch bytes whose digest is known before. They do not influence the result."""
_MAKING = {f"base.{name}" for name in ("file_modes", "placing", "shape", "tarball", "talk", "untar", "zips")}
"""The modules of these packages that do influence the result."""


def decides(module: str) -> bool:
    """Whether the code of this module can influence what a step makes."""
    name = module.partition(".")[2]
    return name in _MAKING or not any(name == room or name.startswith(f"{room}.") for room in _RUNNING)


def code(action: Action) -> str:
    """One digest over the code that the action imports and that decides what it makes."""
    if action.__module__.startswith(f"{__package__.partition('.')[0]}."):
        return closure.sha256(action.__module__, counts=decides)
    return _file_digest(inspect.getsourcefile(action) or "")


@cache
def _file_digest(source: str) -> str:
    return sha256_of(Path(source)) if source else ""


def ordered(steps: Mapping[NodeId, Node], wanted: Iterable[NodeId]) -> list[Node]:
    """The wanted nodes and everything that they need, each after the nodes that it needs, in a stable order."""
    done: dict[NodeId, Node] = {}

    def visit(name: NodeId) -> None:
        if name not in done:
            for need in steps[name].all_needs:
                visit(need)
            done[name] = steps[name]

    for name in wanted:
        visit(name)
    return list(done.values())
