"""What a format is: its keys in the config, the steps that make an artifact, and how a cell starts it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py_portable.config import Artifact, Config, ImageSpec
from py_portable.config.kinds import FOLDER, Interpreter, Stands, Written
from py_portable.config.options import NoOptions, option, ref, several
from py_portable.config.problems import Problem
from py_portable.engines.engine import Bind
from py_portable.images import Image
from py_portable.lock.lockfile import LockedHouse
from py_portable.steps.graph import Step
from py_portable.steps.identity import HouseId, NodeId
from py_portable.wheels.given import Given

__all__ = [
    "APP",
    "FOLDER",
    "Format",
    "House",
    "Install",
    "Made",
    "Parent",
    "Problem",
    "Program",
    "SharedFolder",
    "Stage",
    "Stands",
    "Start",
    "Written",
    "option",
    "ref",
    "several",
]

APP = "/opt/app"
"""Where a cell shows the artifact."""


def artifact_node(artifact: Artifact) -> NodeId:
    """The node whose output the artifact is."""
    return NodeId("artifact", artifact.name)


@dataclass(frozen=True)
class House:
    """Names of the nodes that give what a format builds from, for one (baseline, interpreter)."""

    place: HouseId
    image: NodeId
    interpreter: NodeId
    linkable: NodeId | None
    """The interpreter whose libpython is linked: another one of the same Python where `interpreter` has none.

    None where the format does not say that it needs one.
    """
    toolbox: NodeId
    wheelhouse: NodeId
    distribution: str | None
    script: str | None
    entry_point: str | None
    environment: Mapping[str, str]
    bare: NodeId
    """The baseline's image without the app's packages, for what all apps share. No control changes it."""
    extras: tuple[str, ...] = ()
    """Of the app: what was asked for."""
    unmet: tuple[str, ...] = ()
    """Projects that may be missing or of another version, whatever metadata asks for."""
    target: Mapping[str, str] = field(default_factory=dict)
    """What its wheels are resolved for: python, max_glibc, arch."""
    locked: LockedHouse | None = None
    use: Given | None = None
    """The app's wheel, where somebody else built it."""
    others: tuple[House, ...] = ()
    """The same for the further Pythons that the format asks for, in their order."""


@dataclass(frozen=True)
class Made:
    """An artifact as it lies in dist/, with what its last step said of it."""

    name: str
    format: str
    path: Path
    meta: Mapping[str, Any]
    interpreter: Path | None = None
    """The prefix of the interpreter it was made with, where a cell has to bring it along."""
    interpreter_digest: str | None = None
    wheelhouse: Path | None = None
    """The wheelhouse of the same baseline and interpreter, where the run has one."""
    wheelhouse_digest: str | None = None
    stored: Path | None = None
    """The artifact as it lies in the store, where it was made here: what is started, since nobody else can write to
    it. None: a private copy is started."""
    sha256: str = ""
    """`sha256:…` of it: of a file its bytes, of a folder its manifest with modes."""
    mode: int | None = None
    """The permission bits of a file, which its digest does not hold; None for a folder."""


@dataclass(frozen=True)
class Stage:
    """One command that runs as root in the image, offline; `binds` are shown to it alone."""

    argv: tuple[str, ...]
    binds: tuple[Bind, ...] = ()


@dataclass(frozen=True)
class Install(Stage):
    """The stage before the start. All conditions start what it made."""

    target: str | None = None
    """The writable folder that it fills: nothing else is kept. None: it writes anywhere in the root, and all of it is
    kept as a layer between the image and what a start writes."""
    manager: str | None = None
    """The image's own program that it takes, an absolute path: an image without it is of another family of systems, and
    its cells are NOT-APPLICABLE."""
    older: Stage | None = None
    """Of a whole root: installs an older version. The stage `upgrade` runs it first, then `argv`, then the start."""
    remove: Stage | None = None
    """Of a whole root: the stage `remove`, which comes last. What it leaves is listed."""


@dataclass(frozen=True)
class Start:
    """How a cell starts an artifact. `program` is an absolute path inside."""

    program: str
    binds: tuple[Bind, ...]
    install: Install | None = None
    is_elf: bool = False
    """Whether the program is an ELF file."""
    needs: tuple[str, ...] = ()
    """What besides the artifact decides what a start shows: digests and words."""
    seeks: tuple[str, ...] = ()
    """Of an artifact that takes an interpreter of the image: how the line begins that it writes to stderr where there
    is none for it."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """The paths of this machine that it shows, in all its stages."""
        stages = (self.install, self.install.older, self.install.remove) if self.install else ()
        return tuple(bind.source for one in (self, *stages) if one for bind in one.binds)


@dataclass(frozen=True)
class Program:
    """A program of this machine that a format works with."""

    name: str
    purpose: str
    look: Callable[[Mapping[str, str]], str]
    """Its version, for this environment. Raises MachineError with cause and cure."""


@dataclass(frozen=True)
class Parent:
    """What an artifact is made from: the node that makes it, so that nothing is built twice."""

    artifact: Artifact
    node: NodeId


@dataclass(frozen=True)
class SharedFolder:
    """A folder of dist/ that artifacts of a format share, and the node whose whole output it is."""

    name: str
    node: NodeId


class Format(ABC):
    """A way to ship. What a format says of itself is all that the kit knows of it; this is what most of them say."""

    name: str
    summary: str | None = None
    """What it makes, for the schema and the docs; None where it can't be written into `artifacts`."""
    options: type = NoOptions
    """A frozen dataclass of its own keys, see `config.options`."""
    made_from: tuple[str, ...] = ()
    """The formats, or FOLDER, one of whose artifacts `from` has to name. (): it is built from the app."""
    shares: tuple[str, ...] = ()
    """Built from the app: the formats whose artifacts `from` may name to have the same baseline and Python."""
    folder: bool = False
    """Whether its artifacts are folders with a program, named in `meta["script"]`, that starts where they are put."""
    interpreter: Interpreter = "any"
    programs: tuple[Program, ...] = ()
    """What it needs of this machine: the doctor asks for it where a config has the format."""
    controls: Mapping[str, int] = {}
    """The controls that can be built for it, each with a rank: of two formats the one with the lower is built."""
    published: SharedFolder | None = None
    """Where its artifacts lie together, to be uploaded to a package index."""

    def pins(self) -> Mapping[str, str]:
        """What the lock says of tools that only this format takes: name -> version and digest."""
        return {}

    def fan_out(self, name: str, mapping: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """The artifacts that one of the config stands for, by name, each as it would be written by itself."""
        return {name: mapping}

    def implied(self, data: Mapping[str, Any]) -> Iterable[Stands]:
        """Artifacts that other keys of the config ask for."""
        return ()

    def pythons(self, artifact: Artifact) -> tuple[str, ...]:
        """The Pythons that it is built for besides the artifact's own."""
        return ()

    def problems(self, written: Written) -> Iterable[Problem]:
        """What is wrong across the keys of an artifact that the schema accepts."""
        return ()

    def together(self, config: Config, houses: Mapping[str, House]) -> tuple[Step, ...]:
        """Steps that make something of all its artifacts at once; `houses` are by their names."""
        return ()

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        """The last step gives the artifact; its meta has `payload`, a name in its out folder ("." for all).

        None where it is taken as it lies.
        """
        return ()

    def taken(self, artifact: Artifact, script: str | None) -> tuple[Step, ...]:
        """The steps that give an artifact without `steps` to what is made from it, the last one as in `steps`.

        `script` is the name of its program in the config.
        """
        return ()

    def expect(self, artifact: Artifact, image: ImageSpec) -> str | None:
        """What cells expect on the image: `pass` or `fail:REASON`. None: the config decides."""
        return None

    @abstractmethod
    def start(self, made: Made, image: Image | None = None) -> Start:
        """How it is started on the image; without one, what that takes on any."""
