"""What everything for a (baseline, Python) is built on: the image of the baseline, its libraries, its interpreter."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

from py_portable.config import Artifact, Config, InterpreterChoice
from py_portable.errors import ConfigError
from py_portable.formats import FORMATS
from py_portable.images.packages import of_interpreter
from py_portable.interpreters import PROVIDERS, SOURCE, InterpreterRequest, libraries
from py_portable.interpreters.source import pin
from py_portable.lock.container_baselines import node
from py_portable.lock.lockfile import Lock
from py_portable.steps.graph import ImageNode, Node, Step
from py_portable.steps.identity import HouseId, NodeId
from py_portable.wheels import tools


def target(config: Config, baseline: str, python: str) -> dict[str, str]:
    """The target for which wheels are resolved. Raises ConfigError if the glibc of the baseline is not known."""
    glibc = config.max_glibc(baseline)
    if glibc is None:
        raise ConfigError(
            f"it is not known which glibc is in {config.baselines[baseline].image}",
            where=config.where(("baselines", baseline)),
            hint='name it: wheels: {max-glibc: "2.28"}',
        )
    return {"python": python, "max_glibc": glibc, "arch": platform.machine()}


@dataclass(frozen=True)
class Ground:
    """The image of a baseline and its interpreter. Everything else for this (baseline, Python) is built on them."""

    image: ImageNode
    bare: ImageNode
    """The image without the app's own packages, so that apps share the interpreter and libraries compiled in it."""
    fetched: Step
    libraries: tuple[NodeId, ...]
    interpreter: tuple[Step, ...]
    wanted: InterpreterRequest
    fresh: tuple[Step, ...]

    @property
    def nodes(self) -> dict[NodeId, Node]:
        made: list[Node] = [self.image, self.bare, self.fetched, *self.fresh, *self.interpreter]
        return {node.name: node for node in made}


def usual(config: Config, baseline: str, python: str) -> InterpreterChoice:
    """The interpreter with which a (baseline, Python) is locked: the config's, unless no artifact there uses it."""
    made = (a for a in config.artifacts.values() if a.baseline == baseline)
    own = [a.interpreter for a in made if python in pythons_of(a)]
    return config.interpreter if config.interpreter in own or not own else own[0]


def pythons_of(artifact: Artifact) -> tuple[str, ...]:
    """All Pythons that it is built for, its own first; () where it is built for none."""
    return (artifact.python, *FORMATS[artifact.format].pythons(artifact)) if artifact.python else ()


def place_of(config: Config, artifact: Artifact) -> HouseId | None:
    """A text that distinguishes the nodes of this interpreter from those of others; None for an artifact without
    one."""
    if not (artifact.baseline and artifact.python):
        return None
    return _house(config, artifact.baseline, artifact.python, artifact.interpreter)


def _house(config: Config, baseline: str, python: str, choice: InterpreterChoice) -> HouseId:
    if choice == usual(config, baseline, python):
        return HouseId(python, baseline)
    return HouseId(python, baseline, f"{choice.provider}{' optimized' if choice.optimize else ''}")


def baseline_node(name: str) -> NodeId:
    """The node of a baseline's image, by its name in the config."""
    return NodeId("baseline", name)


def ground(
    config: Config, lock: Lock, baseline_name: str, python: str, choice: InterpreterChoice | None = None
) -> Ground:
    """`choice`: the interpreter of an artifact, if it is not the usual one for this baseline and Python."""
    choice = choice or usual(config, baseline_name, python)
    baseline = config.baselines[baseline_name]
    name = baseline_node(baseline.name)
    image = ImageNode(
        name,
        baseline.image,
        tuple(sorted(baseline.packages)),
        baseline.before,
        locked=lock.images.get(str(name)),
        origin=lock.origins.get(baseline.image),
        archive=lock.archives.get(baseline.image),
        needs=_needs(config, baseline.name),
        container=lock.images.get(node(baseline.image)),
    )
    provider = PROVIDERS[choice.provider]
    bare = image if provider.of_packages else _without_packages(image, lock)
    fetched = tools.fetch_step(
        NodeId("tools", house=HouseId(python, baseline.name)), target(config, baseline.name, python)
    )
    own = libraries.nodes(baseline.libraries, baseline.name)
    house = _house(config, baseline.name, python, choice)
    wanted = InterpreterRequest(choice, house, bare.name, fetched.name, own)
    fresh = libraries.steps(baseline.libraries, baseline=baseline.name, image=bare.name)
    return Ground(image, bare, fetched, own, tuple(provider.steps(wanted)), wanted, tuple(fresh))


WITHOUT_PACKAGES = "without packages"
"""The variant of an image without the app's own packages."""


def _without_packages(image: ImageNode, lock: Lock) -> ImageNode:
    name, kept = replace(image.name, variant=WITHOUT_PACKAGES), of_interpreter(image.packages)
    if kept == image.packages:
        return image
    return replace(image, name=name, packages=kept, locked=lock.images.get(str(name)))


def one_root(nodes: Mapping[NodeId, Node]) -> dict[NodeId, Node]:
    """The nodes of a run whose steps share one container: what is installed there is visible to all of them."""
    made = dict(nodes)
    for name, one in nodes.items():
        whole = nodes.get(replace(name, variant="")) if name.variant == WITHOUT_PACKAGES else None
        if isinstance(one, ImageNode) and isinstance(whole, ImageNode):
            made[name] = replace(whole, name=name)
    return made


def full_version(config: Config, python: str, choice: InterpreterChoice | None = None) -> str | None:
    """The full version of the interpreter, if it is known before the interpreter is made."""
    choice = choice or config.interpreter
    if choice.provider == SOURCE.name:
        try:
            return pin(python).version
        except ConfigError as problem:
            hint = "choose one of these, or interpreter: {provider: manylinux} with a manylinux image that has it"
            raise ConfigError(problem.what, where=_where_python(config, python), hint=hint) from None
    archive = choice.archives.get(python) if choice.provider == "standalone" else None
    if archive is None:
        return None
    named = _IN_NAME.search(archive.url or str(archive.path))
    return named[1] if named and named[1].startswith(f"{python}.") else None


def _where_python(config: Config, python: str) -> str:
    """The place in the config that names this Python: in the artifact, if it has its own."""
    made = config.artifacts.items()
    own = next((name for name, a in made if python in pythons_of(a) and python != config.python), None)
    return config.where(("artifacts", own, "python") if own else ("python",))


_IN_NAME = re.compile(r"cpython-([0-9]+\.[0-9]+\.[0-9]+)(?:\+|%2B)[0-9]")


def to_link(artifact: Artifact) -> bool:
    """Whether it needs a second interpreter, from source, to link, besides the one for which its wheels are
    compiled."""
    linked = FORMATS[artifact.format].interpreter == "linkable"
    return linked and not PROVIDERS[artifact.interpreter.provider].libpython


def _needs(config: Config, baseline: str) -> tuple[str, ...]:
    """The packages that the kit needs in a baseline. They do not depend on the selected artifacts: there is one
    image."""
    made = [a for a in config.artifacts.values() if a.baseline == baseline]
    needs = ["compilers"]
    for choice in [a.interpreter for a in made] or [config.interpreter]:
        needs += PROVIDERS[choice.provider].needs
    needs += [need for artifact in made for need in FORMATS[artifact.format].needs]
    if any(map(to_link, made)):
        needs += SOURCE.needs
    needs += libraries.needs(config.baselines[baseline].libraries)
    return tuple(dict.fromkeys(needs))


def interpreter_pins(config: Config) -> dict[str, str]:
    """The lock's entries for interpreters, libraries and the tools of one format: name -> version and digest.

    Raises ConfigError where no such interpreter is pinned.
    """
    found: dict[str, str] = {}
    for artifact in config.artifacts.values():
        found |= FORMATS[artifact.format].pins()
        if not (artifact.baseline and artifact.python):
            continue
        providers = [
            PROVIDERS[artifact.interpreter.provider],
            *([SOURCE] if to_link(artifact) else []),
        ]
        for provider, python in product(providers, pythons_of(artifact)):
            pin = provider.pin(artifact.interpreter, python)
            found |= [pin] if pin else []
        found |= libraries.locked(config.baselines[artifact.baseline].libraries)
    return found
