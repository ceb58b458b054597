"""Makes the nodes of the plan from a config and its lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from py_portable.config import Artifact, Config
from py_portable.formats import FORMATS, House, Parent
from py_portable.interpreters import SOURCE
from py_portable.lock.declared import distribution_name
from py_portable.lock.lockfile import Lock
from py_portable.plan.built_wrongly import built_wrongly
from py_portable.plan.cell import PlannedCell
from py_portable.plan.controls import choose_control
from py_portable.plan.expected import starts_on
from py_portable.plan.ground import ground, place_of, pythons_of, target, to_link
from py_portable.plan.matrix import Control, matrix
from py_portable.plan.partition import Shard
from py_portable.steps.graph import ImageNode, Node, Step, ordered
from py_portable.steps.identity import NodeId
from py_portable.wheels import given, making, tools


@dataclass(frozen=True)
class LeftOut:
    """An artifact or a control that the config names but that a run leaves out."""

    name: str
    why: str
    control: bool = False

    def __str__(self) -> str:
        return f"control {self.name}" if self.control else self.name


@dataclass(frozen=True)
class OfShard:
    """`plan` is the digest of the plan that the shard belongs to."""

    shard: Shard
    plan: str


@dataclass(frozen=True)
class Plan:
    """What a run does: everything that the config names, or the part of it that `plan.selection` selects.

    `artifacts` and `images` name the node of each; a format that builds nothing has the node None.
    """

    nodes: Mapping[NodeId, Node]
    artifacts: Mapping[str, NodeId | None]
    images: Mapping[str, NodeId]
    controls: tuple[Control, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    cells: tuple[PlannedCell, ...] = ()
    """In the order in which they are started."""
    scope: tuple[str, ...] = ()
    """The scope that is written into the evidence of this run."""
    whole: bool = True
    """Whether the plan is complete, because nobody asked for only a part of it."""
    shard: OfShard | None = None

    @property
    def made(self) -> tuple[NodeId, ...]:
        """The nodes of all artifacts and controls."""
        artifacts = (node for node in self.artifacts.values() if node)
        return (*artifacts, *(control.node for control in self.controls))

    @property
    def targets(self) -> tuple[NodeId, ...]:
        """The nodes of everything that is made, and of the images that it is started on."""
        return (*self.made, *self.images.values())

    @property
    def beside(self) -> frozenset[NodeId]:
        """The nodes that no artifact needs: the images that cells start on, and the controls."""
        taken = ordered(self.nodes, (node for node in self.artifacts.values() if node))
        return frozenset(self.nodes) - {node.name for node in taken}

    @property
    def lost(self) -> tuple[LeftOut, ...]:
        """Controls that the config asks for but that cannot be started. A part of the matrix may leave them out."""
        return tuple(one for one in self.left_out if one.control and self.whole)

    def without(self, lost: Mapping[Control, str]) -> Plan:
        """The plan without controls that turn out to be impossible, each with the reason."""
        gone = {(control.name, control.artifact) for control in lost}
        # A shard's cells are all told of, whatever becomes of them.
        cells = self.cells if self.shard else [c for c in self.cells if (c.control, c.artifact) not in gone]
        return replace(
            self,
            controls=tuple(control for control in self.controls if control not in lost),
            cells=tuple(cells),
            left_out=(*self.left_out, *(LeftOut(one.name, why, control=True) for one, why in lost.items())),
        )


def houses(config: Config) -> list[tuple[str, str]]:
    """The pairs (baseline, python) that artifacts need."""
    made = config.artifacts.values()
    pairs = [(a.baseline, python) for a in made if a.baseline for python in pythons_of(a)]
    return list(dict.fromkeys(pairs))


def assemble(config: Config, lock: Lock) -> Plan:
    """The plan of everything that the config names: artifacts, their controls, the images and all cells."""
    nodes: dict[NodeId, Node] = {}
    made = {name: _artifact(config, lock, artifact, nodes) for name, artifact in config.artifacts.items()}
    for name in dict.fromkeys(artifact.format for artifact in config.artifacts.values()):
        nodes |= {step.name: step for step in _together(config, lock, name)}
    plan = _started(config, lock, made)
    for control in plan.controls:
        artifact = config.artifacts[control.artifact]
        house, parent = _given_to(config, lock, artifact, nodes)
        built = built_wrongly(control, artifact, house, parent, lock, nodes)
        nodes |= {node.name: node for node in built}
    return replace(plan, nodes={**nodes, **plan.nodes})


def made_elsewhere(config: Config, lock: Lock) -> Plan:
    """The same plan if nothing is built: only images have nodes."""
    return _started(config, lock, dict.fromkeys(config.artifacts))


def _started(config: Config, lock: Lock, made: Mapping[str, NodeId | None]) -> Plan:
    chosen = {name: choose_control(name, config) for name in config.portability.controls}
    controls = tuple(one for one in chosen.values() if isinstance(one, Control))
    images = _image_nodes(config, lock)
    return Plan(
        {node.name: node for node in images.values()},
        made,
        {name: node.name for name, node in images.items()},
        controls,
        tuple(LeftOut(name, why, control=True) for name, why in chosen.items() if isinstance(why, str)),
        matrix(config, controls),
    )


def image_node(name: str) -> NodeId:
    """The node of an image that cells start on, by its name in the config."""
    return NodeId("image", name)


def _image_nodes(config: Config, lock: Lock) -> dict[str, ImageNode]:
    """The nodes of the images that cells start on, by their names in portability.images."""
    return {
        spec.name: ImageNode(
            image_node(spec.name),
            spec.image,
            spec.packages,
            locked=lock.images.get(str(image_node(spec.name))),
            origin=lock.origins.get(spec.image),
            archive=lock.archives.get(spec.image),
        )
        for spec in config.portability.images
    }


def _artifact(config: Config, lock: Lock, artifact: Artifact, nodes: dict[NodeId, Node]) -> NodeId | None:
    """The node of an artifact, None if nothing is built. Everything that the artifact is made from is added to
    `nodes`."""
    house, parent = _given_to(config, lock, artifact, nodes)
    steps = FORMATS[artifact.format].steps(artifact, house, parent)
    nodes |= {step.name: step for step in steps}
    return steps[-1].name if steps else None


def _given_to(
    config: Config, lock: Lock, artifact: Artifact, nodes: dict[NodeId, Node]
) -> tuple[House | None, Parent | None]:
    """The inputs from which an artifact is made."""
    parent = None
    if artifact.from_ and FORMATS[artifact.format].made_from:
        origin = config.artifacts[artifact.from_]
        node = _artifact(config, lock, origin, nodes)
        if node is None:
            taken = FORMATS[origin.format].taken(origin, config.app.script)
            nodes |= {step.name: step for step in taken}
            node = taken[-1].name
        parent = Parent(origin, node, tuple(starts_on(config, artifact.name)))
    return _house(config, lock, artifact, nodes), parent


def _together(config: Config, lock: Lock, format: str) -> tuple[Step, ...]:
    """What a format makes of all artifacts that the config has of it."""
    if FORMATS[format].published is None:
        return ()
    own = {name: artifact for name, artifact in config.artifacts.items() if artifact.format == format}
    houses = {name: _house(config, lock, artifact, {}) for name, artifact in own.items()}
    return FORMATS[format].together(config, {name: house for name, house in houses.items() if house})


def _house(config: Config, lock: Lock, artifact: Artifact, nodes: dict[NodeId, Node]) -> House | None:
    """None for an artifact that was made elsewhere."""
    each = [_house_of(config, lock, replace(artifact, python=one), nodes) for one in pythons_of(artifact)]
    found = [house for house in each if house]
    return replace(found[0], others=tuple(found[1:])) if found else None


def _house_of(config: Config, lock: Lock, artifact: Artifact, nodes: dict[NodeId, Node]) -> House | None:
    """The house of the artifact's own Python."""
    place = place_of(config, artifact)
    if not (artifact.baseline and artifact.python and place):
        return None
    baseline = config.baselines[artifact.baseline]
    aim = target(config, baseline.name, artifact.python)
    base = ground(config, lock, baseline.name, artifact.python, artifact.interpreter)
    image, fetched, own, interpreter = base.image, base.fetched, base.libraries, base.interpreter
    linkable = to_link(artifact)
    compiled = SOURCE.steps(base.wanted) if linkable else interpreter
    toolbox = tools.install_step(
        place, fetched=fetched.name, interpreter=interpreter[-1].name, image=base.bare.name
    )
    locked = lock.houses[f"{baseline.name}/{artifact.python}"]
    use = _given(config, baseline.name, artifact.python)
    wheels = making.house_steps(
        locked,
        place=place,
        image=image.name,
        interpreter=interpreter[-1].name,
        tools=toolbox.name,
        target=aim,
        source=config.app.source,
        environment=config.build.env,
        use=use,
        libraries=own,
        repaired=FORMATS[artifact.format].repaired,
    )
    made: list[Node] = [*compiled, toolbox, *wheels]
    nodes |= {**base.nodes, **{node.name: node for node in made}}
    return House(
        place=place,
        image=image.name,
        interpreter=interpreter[-1].name,
        linkable=compiled[-1].name if FORMATS[artifact.format].interpreter == "linkable" else None,
        toolbox=toolbox.name,
        wheelhouse=wheels[-1].name,
        distribution=app_name(config),
        script=config.app.script,
        entry_point=config.app.entry_point,
        environment=config.build.env,
        bare=base.bare.name,
        extras=_extras(config),
        with_=beside_app(config),
        unmet=config.wheels.unmet,
        target=aim,
        locked=locked,
        use=use,
    )


def _extras(config: Config) -> tuple[str, ...]:
    """The extras of the app: those that the config lists, and those in its requirement."""
    own = Requirement(config.app.requirement).extras if config.app.requirement else set()
    return tuple(sorted({*config.app.extras, *own}))


def beside_app(config: Config) -> dict[str, tuple[str, ...]]:
    """What the config wants beside the app: distribution -> its extras."""
    found: dict[str, set[str]] = {}
    for line in config.app.with_:
        wanted = Requirement(line)
        found.setdefault(canonicalize_name(wanted.name), set()).update(wanted.extras)
    return {name: tuple(sorted(extras)) for name, extras in found.items()}


def _given(config: Config, baseline: str, python: str) -> given.Given | None:
    """The wheel in `wheels.use` for this wheelhouse. Raises ConfigError if none fits, or several do."""
    if config.wheels.use is None:
        return None
    where = config.where(("wheels", "use"))
    return given.choose(config.wheels.use, app_name(config), where=where, **target(config, baseline, python))


def app_name(config: Config) -> str | None:
    """The name of the app's distribution; None if only its wheel will give it."""
    if config.app.requirement:
        return canonicalize_name(Requirement(config.app.requirement).name)
    assert config.app.source is not None
    return distribution_name(config.app.source)
