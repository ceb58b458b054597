"""One command over one config: its store, its lock, its engine and its dist folder."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from py_portable import __version__, images, resources
from py_portable.base.atomic import write_whole
from py_portable.base.talk import Talk
from py_portable.config import Config
from py_portable.config.glibc import canonical_image
from py_portable.engines import builds
from py_portable.engines.lazy import LazyEngine
from py_portable.engines.static_helpers.stored import Helpers
from py_portable.errors import ConfigError, PortableError
from py_portable.evidence.typed import ConfigRow, Evidence, HostRow
from py_portable.formats import load_config
from py_portable.images import Image
from py_portable.lock import container_baselines, lockfile
from py_portable.lock.lockfile import Lock
from py_portable.lock.markers import ResolveTarget
from py_portable.lock.resolve import Resolver
from py_portable.lock.update import check_names
from py_portable.plan.assemble import Plan, assemble, houses
from py_portable.plan.ground import full_version, ground, interpreter_pins, one_root, target, usual
from py_portable.project.backends import Backends, Sandbox
from py_portable.project.circumstances import DEFAULT_EPOCH, cpu_flags, source_date_epoch
from py_portable.steps.context import Environment
from py_portable.steps.graph import ImageNode
from py_portable.steps.identity import NodeId
from py_portable.steps.runner import Report, Runner, cause_of
from py_portable.store import Store, default_root

LOCK_NAME = "portable.lock"


@dataclass(frozen=True)
class Session:
    config: Config
    store: Store
    dist: Path
    engine: LazyEngine
    helpers: Helpers
    talk: Talk
    locked: bool
    keep_on_failure: bool = False
    epoch: int = DEFAULT_EPOCH
    builder: LazyEngine | None = None
    """The engine that runs build steps, if it is not `engine`."""

    @property
    def in_container(self) -> bool:
        """Whether build steps run in the container of this process, whose image is the baseline."""
        return self.builder is not None and self.builder.on_host

    @property
    def lock_path(self) -> Path:
        return self.config.path.with_name(_lock_name(self.config.path))

    def lock(self, update: Collection[str] = (), force: bool = False) -> Lock:
        """The lock, with the resolutions that are missing or out of date made now.

        Raises ConfigError under --locked where something would have to be made.
        """
        lock = lockfile.load(self.lock_path)
        wanted = {f"{baseline}/{python}": (baseline, python) for baseline, python in houses(self.config)}
        check_names(update, lock, self._images())
        for name, (baseline, python) in wanted.items():
            resolver = self.resolver(lock, baseline, python)
            old = lock.houses.get(name)
            if old and not force and resolver.holds(old) and resolver.provide(old):
                continue
            if self.locked:
                raise ConfigError(
                    f"{'is out of date' if old else 'has nothing'} for {name}",
                    where=self.lock_path.name,
                    hint="run without --locked, or: py-portable lock",
                )
            self.talk.say(f"resolving {name}")
            lock = lock.with_house(name, resolver.resolve(old, update))
        lock = replace(lock, houses={name: lock.houses[name] for name in lock.houses if name in wanted})
        lock = self._pinned(lock)
        self.write_lock(lock)
        return lock

    def resolver(self, lock: Lock, baseline: str, python: str, *, may_run: bool = True) -> Resolver:
        """`may_run`: whether build backends of sources may be run, in the baseline's sandbox."""
        aim = target(self.config, baseline, python)
        backends = Backends(
            self.config,
            self.environment(),
            baseline,
            aim,
            self.talk.say,
            lambda: self.sandbox(lock, baseline, python),
            may_run,
        )
        full = full_version(self.config, python, usual(self.config, baseline, python))
        whole = ResolveTarget(**aim, full=full)
        return Resolver(self.config, self.store, whole, os.environ, backends)

    def sandbox(self, lock: Lock, baseline: str, python: str) -> Sandbox:
        """The baseline's image and interpreter, which are made if they are missing. Raises the error if that
        fails."""
        told = ground(self.config, lock, baseline, python)
        last = told.interpreter[-1].name
        report = self.run(Plan(told.nodes, {}, {}), [told.image.name, last], lock, learn=False)
        for problem in filter(None, map(report.failures.get, (told.image.name, last))):
            cause = cause_of(problem, report.failures)
            raise report.failures[cause] if cause else problem
        made = {node: one for node, one in report.results.items() if node.kind in ("interpreter", "library")}
        return Sandbox(report.images[told.image.name], made)

    def _images(self) -> set[str]:
        named = [spec.image for spec in self.config.portability.images]
        return {canonical_image(n) for n in (*named, *(b.image for b in self.config.baselines.values()))}

    def update_images(self, names: Collection[str], lock: Lock) -> Lock:
        """Ask the network again what these images are ("*": all), make them, and lock their identities."""
        wanted = self._images() if "*" in names else {canonical_image(n) for n in names} & self._images()
        found = {}
        plan = self.plan(lock)
        for node in plan.nodes.values() if wanted else ():
            if isinstance(node, ImageNode) and canonical_image(node.image) in wanted:
                self.talk.say(f"asking anew for {node.name}")
                found[node.name] = images.resolve(
                    node.image,
                    packages=node.packages,
                    needs=node.needs,
                    before=node.before,
                    store=self.store,
                    engine=self.engine,
                    fresh=True,
                )
        lock = _with_images(lock, plan, found)
        self.write_lock(lock)
        return lock

    def lock_images(
        self, lock: Lock, *, make_all: bool = False
    ) -> tuple[Lock, Mapping[NodeId, PortableError]]:
        """The lock, to which missing images are added after they were made, and the images that are not available
        here.

        `make_all`: locked images are made, too, if they are not in the store.
        """
        plan = self.plan(lock)
        known = () if make_all else lock.images
        image_nodes = [node.name for node in plan.nodes.values() if isinstance(node, ImageNode)]
        missing = [name for name in image_nodes if str(name) not in known]
        if not missing:
            return lock, {}
        report = self.run(plan, missing, lock)
        return lockfile.load(self.lock_path), report.failures

    def _pinned(self, lock: Lock) -> Lock:
        """The lock with the pins of this version of the kit; a newer kit may have other interpreters and tools."""
        pins = interpreter_pins(self.config)
        pins["build tools"] = f"sha256:{resources.sha256('tools.txt')}"
        for name, told in pins.items():
            old = lock.pins.get(name)
            if old is None or old == told:
                continue
            if self.locked:
                raise ConfigError(
                    f"{name} is {told} in this version of py-portable, but the lock says {old}",
                    where=self.lock_path.name,
                    hint="use the version of py-portable that made the lock, or run without --locked",
                )
            self.talk.say(f"{name}: {old} becomes {told}")
        return replace(lock, pins=pins)

    def write_lock(self, lock: Lock) -> None:
        text = lockfile.dumps(lock)
        path = self.lock_path
        if self.locked:
            return
        if path.exists() and path.read_text() == text:
            return
        write_whole(path, text)

    def plan(self, lock: Lock) -> Plan:
        """The plan of everything that the config names."""
        return assemble(self.config, lock)

    def environment(self) -> Environment:
        names = self.config.build.pass_env
        return Environment(
            store=self.store,
            engine=self.builder or self.engine,
            epoch=self.epoch,
            jobs=len(os.sched_getaffinity(0)),
            on_host=self.engine.on_host,
            in_container=self.in_container,
            keep=self.dist / "logs" / "kept" if self.keep_on_failure else None,
            pass_env={name: os.environ[name] for name in names if name in os.environ},
        )

    def run(
        self,
        plan: Plan,
        wanted: Iterable[NodeId],
        lock: Lock,
        *,
        learn: bool = True,
        reads: Iterable[NodeId] | None = None,
    ) -> Report:
        """Run the wanted nodes; the identities of images that were made are recorded in the lock, with `learn`.

        `reads`: see `Runner.run`.
        Raises ConfigError under --locked where an image is not locked, or not the locked one any more.
        """
        nodes = one_root(plan.nodes) if self.in_container else plan.nodes
        report = Runner(self.environment(), self.talk.step).run(
            nodes, wanted, reads=reads, beside=plan.beside
        )
        not_made = ("host", "container")
        seen = {name: image for name, image in report.images.items() if image.source not in not_made}
        found = {image.name: image.found.identity for image in report.images.values() if image.found}
        if found:
            locked_in = self.lock_path.name if self.locked else ""
            lock = container_baselines.learn(lock, found, self.talk.say, locked_in=locked_in)
            if learn:
                self.write_lock(lock)
        for name, image in seen.items():
            old, identity = lock.images.get(str(name)), image.identity
            if self.locked and old is None:
                raise ConfigError(
                    f"{name} is not in it yet",
                    where=self.lock_path.name,
                    hint="run: py-portable lock, and keep the file",
                )
            if old and old != identity:
                why = "its distribution has changed, or the config adds something else to it"
                if self.locked:
                    raise ConfigError(
                        f"{name} is {identity} now, but the lock says {old}: {why}",
                        where=self.lock_path.name,
                        hint="run without --locked to use the new one",
                    )
                self.talk.say(f"{name}: {why}; new identity {identity[:19]}…")
        if seen and learn:
            self.write_lock(_with_images(lock, plan, seen))
        return report

    def host(self) -> HostRow:
        """The facts about this machine and the engine that are written into the evidence."""
        engine, info, reason = self.engine.chosen
        return {
            "os": platform.platform(),
            "kernel": platform.release(),
            "cpu_flags": cpu_flags(),
            "engine": f"{engine.name} {info.version}",
            "engine_reason": reason,
            "isolation": info.isolation,
            "lacks": list(info.lacks),
            **({"builds": builds.told()} if builds.told() else {}),
        }

    def told(self) -> Evidence:
        """The beginning of every part of the evidence."""
        config: ConfigRow = {"file": self.config.path.name, "sha256": self.config.sha256}
        return {"kit": {"version": __version__}, "config": config}


def open_session(
    config: Path,
    *,
    dist: Path | None = None,
    engine: str = "auto",
    talk: Talk | None = None,
    locked: bool = False,
    keep_on_failure: bool = False,
    build_engine: str = "",
) -> Session:
    """`build_engine`: the engine that runs build steps; if empty, `engine` runs them.

    Raises ConfigError for a config or a SOURCE_DATE_EPOCH that is wrong.
    """
    epoch = source_date_epoch(os.environ)
    loaded = load_config(config)
    store = Store(default_root(os.environ))
    own = Helpers(store)
    return Session(
        config=loaded,
        store=store,
        dist=(dist or loaded.base / "dist").absolute(),
        engine=LazyEngine(engine, own),
        helpers=own,
        talk=talk or Talk(),
        locked=locked,
        keep_on_failure=keep_on_failure,
        epoch=epoch,
        builder=LazyEngine(build_engine, own, builds_only=True) if build_engine else None,
    )


def _with_images(lock: Lock, plan: Plan, seen: Mapping[NodeId, Image]) -> Lock:
    """The lock with what the names of these images stand for, and which images were made of them."""
    names = {name: node.image for name, node in plan.nodes.items() if isinstance(node, ImageNode)}
    return lock.with_images(
        {str(name): image.identity for name, image in seen.items()},
        {names[name]: image.origin for name, image in seen.items() if image.origin},
        {names[name]: image.archive for name, image in seen.items() if image.source == "bootstrap"},
    )


def _lock_name(config: Path) -> str:
    return LOCK_NAME if config.name in ("portable.yaml", "portable.yml") else f"{config.stem}.lock"
