"""Runs nodes of a plan in the order of their needs, independent ones side by side."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from py_portable import images
from py_portable.base import process
from py_portable.engines import builds
from py_portable.errors import Blocked, ConfigError, PortableError
from py_portable.images.container import baseline
from py_portable.steps import output
from py_portable.steps.context import Context, Environment, Result
from py_portable.steps.graph import ImageNode, Node, Step, key, ordered
from py_portable.steps.identity import NodeId
from py_portable.store import DamagedError

_log = logging.getLogger(__name__)
LANES = {"cores": 2, "io": 3}


@dataclass(frozen=True)
class Report:
    """The results of all nodes: each node is in exactly one of the three."""

    results: Mapping[NodeId, Result] = field(default_factory=dict)
    images: Mapping[NodeId, images.Image] = field(default_factory=dict)
    failures: Mapping[NodeId, PortableError] = field(default_factory=dict)
    keys: Mapping[NodeId, str] = field(default_factory=dict)


def cause_of(problem: PortableError, failures: Mapping[NodeId, PortableError]) -> NodeId | None:
    """The node whose failure is the cause, if it is one of these."""
    found = problem.cause if isinstance(problem, Blocked) else None
    return cast(NodeId, found) if found in failures else None


Tell = Callable[[str, str, float], None]
"""(name, "started" | "cached" | "done" | "failed", seconds)"""


class Runner:
    """One run over one store. `tell` is called from worker threads, one call at a time."""

    def __init__(self, env: Environment, tell: Tell) -> None:
        self.env = env
        self._tell = tell
        self._results: dict[NodeId, Result] = {}
        self._images: dict[NodeId, images.Image] = {}
        self._failures: dict[NodeId, PortableError] = {}
        self._keys: dict[NodeId, str] = {}
        self._nodes: Mapping[NodeId, Node] = {}
        self._beside: Container[NodeId] = ()
        self._checked: set[NodeId] = set()
        """The images whose files are checked, and not only known by their records."""
        self._checking = threading.Lock()
        self._talk = threading.Lock()

    def run(
        self,
        nodes: Mapping[NodeId, Node],
        wanted: Iterable[NodeId],
        *,
        reads: Iterable[NodeId] | None = None,
        beside: Container[NodeId] = (),
    ) -> Report:
        """Make the wanted nodes and everything they need. A failure stops only the nodes that need the failed one.

        `reads`: the images whose files the caller will read; None: all wanted ones. The files of another image that the
        store has are checked for damage only if a step has to run in it. `beside`: nodes that take what processor time
        the others leave.
        Raises ConfigError at the end for an image whose name is malformed, or for which a setting is malformed.
        """
        self._nodes = nodes
        wanted = list(wanted)
        self._checked = set(wanted if reads is None else reads)
        self._beside = beside
        waiting = ordered(nodes, wanted)
        running: dict[Future[None], NodeId] = {}
        lanes = {name: ThreadPoolExecutor(width) for name, width in LANES.items()}
        if self.env.in_container:
            # One root for all: what runs beside a step would be taken for what the step left.
            lanes = dict.fromkeys(LANES, ThreadPoolExecutor(1))
        try:
            while waiting or running:
                ready = [node for node in waiting if all(map(self._ended, node.all_needs))]
                waiting = [n for n in waiting if n not in ready]
                for node in ready:
                    failed = next((need for need in node.all_needs if need in self._failures), None)
                    if failed:
                        problem = self._failures[failed]
                        cause = cause_of(problem, self._failures) or failed
                        self._failures[node.name] = Blocked(node.name, cause)
                    elif not self._ended(node.name):
                        running[lanes[node.lane].submit(self._one, node)] = node.name
                if running:
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        del running[future]
                        future.result()
        except BaseException:
            for lane in lanes.values():
                lane.shutdown(wait=False, cancel_futures=True)
            raise
        for lane in lanes.values():
            lane.shutdown()
        for name, problem in self._failures.items():
            # No image that is not available: it would be UNPROVEN on every machine, and optional ones in silence.
            if isinstance(nodes[name], ImageNode) and isinstance(problem, ConfigError):
                raise problem
        return Report(dict(self._results), dict(self._images), dict(self._failures), dict(self._keys))

    def _ended(self, name: NodeId) -> bool:
        return name in self._results or name in self._images or name in self._failures

    def _one(self, node: Node) -> None:
        try:
            with process.behind_others() if node.name in self._beside else nullcontext():
                if isinstance(node, ImageNode):
                    self._image(node, tree=node.name in self._checked)
                else:
                    self._step(node)
        except PortableError as problem:
            self._failures[node.name] = problem
            self._say(node.name, "failed", 0.0)

    def _image(self, node: ImageNode, *, tree: bool) -> None:
        started, when = time.monotonic(), time.time()
        if self.env.on_host and not node.built_in:
            self._images[node.name] = images.host(node.image, node.packages)
            return
        try:
            self._images[node.name] = self._resolved(node, tree=tree)
        except DamagedError as problem:
            _log.warning("%s; it is made again now", problem.what)
            self._images[node.name] = self._resolved(node, tree=tree)
        made = self._is_since(self._images[node.name], when)
        self._say(node.name, "done" if made else "cached", time.monotonic() - started)

    def _is_since(self, image: images.Image, when: float) -> bool:
        """Whether it was made after `when`. To check one that the store has may take long, too."""
        entry = self.env.store.get(image.key, tree=False) if image.key else None
        return entry is not None and entry.log.stat().st_mtime >= when

    def _resolved(self, node: ImageNode, *, tree: bool) -> images.Image:
        if self.env.in_container and node.built_in:
            request = images.Request(
                node.image,
                node.packages,
                node.before,
                needs=node.needs,
                locked_origin=node.origin,
                locked_container=node.container,
            )
            return baseline(request, self.env.store, self.env.engine)
        return images.resolve(
            node.image,
            packages=node.packages,
            needs=node.needs,
            before=node.before,
            store=self.env.store,
            engine=self.env.engine,
            locked_identity=node.locked,
            locked_origin=node.origin,
            locked_archive=node.archive,
            tree=tree,
        )

    def _is_unchecked(self, name: NodeId) -> bool:
        # What has no key is not in the store: the container of this process, or this machine.
        return name not in self._checked and self._images[name].key is not None

    def _check(self, name: NodeId) -> None:
        """Check the files of an image of which only the identity was needed so far. A damaged one is made again."""
        with self._checking:
            if name in self._checked:
                return
            node, known = self._nodes[name], self._images[name]
            assert isinstance(node, ImageNode)
            self._image(node, tree=True)
            if self._images[name] == known:
                # The same object says that nothing was made again.
                self._images[name] = known
            self._checked.add(name)

    def _step(self, step: Step) -> None:
        given = {name: self._given(name) for name in step.all_needs}
        try:
            self._make(step)
        except Exception:
            # Damage shows itself as anything, and blames whoever meets it.
            if not self._made_again(given):
                raise
            self._make(step)

    def _given(self, name: NodeId) -> images.Image | Result:
        return self._images[name] if name in self._images else self._results[name]

    def _made_again(self, given: Mapping[NodeId, images.Image | Result]) -> bool:
        """Hash the inputs of a step. Returns whether one of them was damaged and has been made again, by any
        thread."""
        again = False
        for name, thing in given.items():
            key = thing.key if isinstance(thing, images.Image) else self._keys[name]
            found = self.env.store.examine(key) if key else None
            if found and found.state in ("damaged", "gone"):
                if found.state == "damaged":
                    _log.warning("%s; it is made again now", found.told())
                node = self._nodes[name]
                if isinstance(node, ImageNode):
                    self._image(node, tree=True)
                else:
                    self._step(node)
            again = again or self._given(name) is not thing
        return again

    def _make(self, step: Step) -> None:
        unchecked = step.image if step.image and self._is_unchecked(step.image) else None
        digests = {name: self._digest(name) for name in step.all_needs}
        observed = step.observes(self.env) if step.observes else None
        step_key = key(step, digests, epoch=self.env.epoch, observed=observed)
        self._keys[step.name] = step_key
        entry = self.env.store.get(step_key)
        if entry is not None:
            self._results[step.name] = Result(entry.path, entry.digest, entry.meta, entry.log)
            self._say(step.name, "cached", 0.0)
            return
        if unchecked:
            self._check(unchecked)
            # An image that was made again may have another identity.
            self._make(step)
            return
        ran = False

        def build(work: Path) -> Mapping[str, object]:
            nonlocal ran
            ran = True
            context = Context(
                env=self.env,
                name=str(step.name),
                params=step.params,
                inputs={name: self._results[name] for name in step.needs},
                image=self._images[step.image] if step.image else None,
                work=work,
                log=work / "log",
                locals=step.locals,
            )
            try:
                meta = step.action(context) or {}
                # Every engine has ended what the step started before it returned: nothing writes here any more.
                output.settle(context.out, str(step.name))
                return {**meta, "sandbox": builds.told()} if step.image and builds.told() else meta
            except BaseException:
                if self.env.keep:
                    output.keep(work, self.env.keep / re.sub(r"[^A-Za-z0-9._-]+", "-", str(step.name)))
                raise

        self._say(step.name, "started", 0.0)
        started = time.monotonic()
        entry = self.env.store.make(step_key, build, title=str(step.name))
        seconds = time.monotonic() - started
        result = Result(entry.path, entry.digest, entry.meta, entry.log)
        self._results[step.name] = replace(result, cached=not ran, seconds=seconds)
        self._say(step.name, "done", seconds)

    def _digest(self, name: NodeId) -> str:
        return self._images[name].identity if name in self._images else self._results[name].digest

    def _say(self, name: NodeId, what: str, seconds: float) -> None:
        with self._talk:
            self._tell(str(name), what, seconds)
