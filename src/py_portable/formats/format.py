"""Defines a format: its keys in the config, the steps that make an artifact, and how a cell starts it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py_portable.config import Artifact, Config, ImageSpec
from py_portable.config.kinds import FOLDER, Interpreter, OwnBaseline, Stands, Written
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
    "OwnBaseline",
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
"""The path at which a cell sees the artifact."""
PACKAGES = "/run/py-portable-packages"
"""The folder in which an installation sees packages, and the scripts that work on them."""


def artifact_node(artifact: Artifact) -> NodeId:
    """The node whose output is the artifact."""
    return NodeId("artifact", artifact.name)


@dataclass(frozen=True)
class House:
    """The nodes from which a format builds, for one (baseline, interpreter)."""

    place: HouseId
    image: NodeId
    interpreter: NodeId
    linkable: NodeId | None
    """The interpreter whose libpython is linked: a second one of the same Python if `interpreter` has no libpython.

    None if the format does not need one.
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
    """The extras of the app that were asked for."""
    with_: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The distributions that the config wants beside the app, with their extras."""
    unmet: tuple[str, ...] = ()
    """Projects that may be missing or have another version, whatever the metadata requires."""
    target: Mapping[str, str] = field(default_factory=dict)
    """The target for which its wheels are resolved: python, max_glibc, arch."""
    locked: LockedHouse | None = None
    use: Given | None = None
    """The app's wheel, if it was built elsewhere."""
    others: tuple[House, ...] = ()
    """The same for the further Pythons that the format asks for, in their order."""


@dataclass(frozen=True)
class Made:
    """An artifact in dist/, with what its last step recorded about it."""

    name: str
    format: str
    path: Path
    meta: Mapping[str, Any]
    interpreter: Path | None = None
    """The prefix of the interpreter it was made with, if a cell needs it."""
    interpreter_digest: str | None = None
    wheelhouse: Path | None = None
    """The wheelhouse of the same baseline and interpreter, if the run has one."""
    wheelhouse_digest: str | None = None
    stored: Path | None = None
    """The artifact in the store, if it was made here. It is started from there, since nobody else can write to it. If
    None, a private copy is started."""
    sha256: str = ""
    """`sha256:…` of it: of a file its bytes, of a folder its manifest with modes."""
    mode: int | None = None
    """The permission bits of a file, which are not part of its digest; None for a folder."""


@dataclass(frozen=True)
class Stage:
    """One command that runs as root in the image, offline; only this command sees `binds`."""

    argv: tuple[str, ...]
    binds: tuple[Bind, ...] = ()
    speaks: tuple[str, ...] = ()
    """How the lines begin with which it says why it failed, the best first; if (), as its program is called."""
    fails: tuple[str, ...] = ()
    """How the lines begin with which it says that it failed, even if its exit status is 0."""


@dataclass(frozen=True)
class Install(Stage):
    """The stage before the start. Its result is started under all conditions."""

    target: str | None = None
    """The writable folder that it fills; nothing else is kept. If None, it may write anywhere in the root, and all of
    this is kept as a layer above the image."""
    manager: str | None = None
    """The absolute path of the program in the image that it needs. An image without it belongs to another family of
    systems, and its cells are NOT-APPLICABLE."""
    depends: tuple[str, ...] = ()
    """For a whole root: the packages that it depends on, by name. They are added to the image before, as far as its own
    repositories have them, because it is installed offline."""
    unmet: tuple[str, ...] = ()
    """How the message begins with which the package manager refuses it, because the image has not what it depends on:
    then the reason is `release`."""
    older: Stage | None = None
    """For a whole root: the command that installs an older version. The stage `upgrade` runs it, then `argv`, then
    the start."""
    remove: Stage | None = None
    """For a whole root: the stage `remove`. The files that are left after the last stage are listed."""
    lint: Stage | None = None
    """The stage `lint`, for a whole root, where the image has a tool that looks at such packages: it prints the tool's
    name and version in a line, and then what it finds."""
    purge: Stage | None = None
    """For a whole root: the stage `purge`, after `remove`: what removes the configuration files, too."""
    clean: bool = False
    """Whether it is a FAIL if something is left after the last stage, or if a file of the image is changed, except the
    package manager's own files."""
    own: frozenset[str] = frozenset()
    """The files of a package that is not `clean`: it is a FAIL if one of them is changed after the last stage, because
    then it took the place of a file of the image."""
    unknown: tuple[str, str] | None = None
    """How a line of the installation begins that says nothing about the package on this image, and why: with it, the
    installation is unproven and has not failed."""


@dataclass(frozen=True)
class Start:
    """How a cell starts an artifact. `program` is an absolute path inside."""

    program: str
    binds: tuple[Bind, ...]
    install: Install | None = None
    is_elf: bool = False
    """Whether the program is an ELF file."""
    needs: tuple[str, ...] = ()
    """What else decides the result of a start, besides the artifact: digests and words."""
    seeks: tuple[str, ...] = ()
    """Of an artifact that takes an interpreter of the image: the beginning of the line that it writes to stderr where
    there is no interpreter for it."""

    fills: tuple[str, ...] = ()
    """Of an artifact that unpacks itself: the beginning of the line on stderr that says that no folder has room."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """The paths of this machine that it mounts, in all its stages."""
        own = self.install
        stages = (own, own.lint, own.older, own.remove, own.purge) if own else ()
        return tuple(bind.source for one in (self, *stages) if one for bind in one.binds)


@dataclass(frozen=True)
class Program:
    """A program on this machine that a format needs."""

    name: str
    purpose: str
    look: Callable[[Mapping[str, str]], str]
    """Its version in this environment. Raises MachineError with the cause and what to do."""


@dataclass(frozen=True)
class Parent:
    """The artifact that another one is made from, by its node, so that nothing is built twice."""

    artifact: Artifact
    node: NodeId
    images: tuple[ImageSpec, ...] = ()
    """The images on which the other one is started."""


@dataclass(frozen=True)
class SharedFolder:
    """A folder in dist/ that artifacts of a format share, and the node whose complete output it is."""

    name: str
    node: NodeId


class Format(ABC):
    """A way to ship an app. The kit knows of a format only what its class defines; this class has the usual
    values."""

    name: str
    summary: str | None = None
    """What it makes, for the schema and the docs; None if it can't be written into `artifacts`."""
    options: type = NoOptions
    """A frozen dataclass of its own keys, see `config.options`."""
    made_from: tuple[str, ...] = ()
    """`from` has to name an artifact of one of these formats, or of FOLDER. If (), it is built from the app."""
    shares: tuple[str, ...] = ()
    """For a format that is built from the app: `from` may name an artifact of these formats, whose baseline and
    Python it then has."""
    folder: bool = False
    """Whether its artifacts are folders with a program, named in `meta["script"]`, that starts where they are put."""
    interpreter: Interpreter = "any"
    needs: tuple[str, ...] = ()
    """What it needs in the image of its baseline, see `images.packages`."""
    repaired: bool = True
    """Whether its wheels bring the libraries that they are linked with. If not, they take those of the system."""
    programs: tuple[Program, ...] = ()
    """The programs that it needs on this machine. The doctor asks for them if a config has the format."""
    controls: Mapping[str, int] = {}
    """The controls that can be built for it, each with a rank: of two formats the one with the lower is built."""
    asked_to_pass: tuple[str, ...] = ()
    """What stands before the arguments of a control's twin, if the same file passes with it on the same image."""
    published: SharedFolder | None = None
    """The folder in which its artifacts are put together, to be uploaded to a package index."""

    def pins(self) -> Mapping[str, str]:
        """The entries of the lock for tools that only this format uses: name -> version and digest."""
        return {}

    def fan_out(self, name: str, mapping: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """The artifacts, by name, for which one entry of the config stands, each as if it were written separately."""
        return {name: mapping}

    def implied(self, data: Mapping[str, Any]) -> Iterable[Stands]:
        """Artifacts that other keys of the config ask for."""
        return ()

    def own_baseline(self, mapping: Mapping[str, Any], usual: Mapping[str, Any]) -> OwnBaseline | None:
        """The baseline that an artifact of `fan_out` has for itself; its key `baseline` is the artifact's own name.

        `usual`: the baseline of artifacts that name none, as the config has it.
        """
        return None

    def pythons(self, artifact: Artifact) -> tuple[str, ...]:
        """The Pythons that it is built for besides the artifact's own."""
        return ()

    def problems(self, written: Written) -> Iterable[Problem]:
        """The problems across the keys of an artifact that the schema accepts."""
        return ()

    def together(self, config: Config, houses: Mapping[str, House]) -> tuple[Step, ...]:
        """Steps that make something from all its artifacts together; `houses` are by their names."""
        return ()

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        """The last step gives the artifact; its meta has `payload`, a name in its out folder ("." for all).

        None if nothing is made.
        """
        return ()

    def wrong_steps(self, control: str, artifact: Artifact, parent: Parent | None = None) -> tuple[Step, ...]:
        """The steps of a control that is wrong by what the format itself does; () for one whose inputs are wrong."""
        return ()

    def taken(self, artifact: Artifact, script: str | None) -> tuple[Step, ...]:
        """The steps that give an artifact without `steps` to what is made from it, the last one as in `steps`.

        `script` is the name of its program in the config.
        """
        return ()

    def expect(self, artifact: Artifact, image: ImageSpec) -> str | None:
        """The result that cells expect on this image: `pass` or `fail:REASON`; if None, the one in the config."""
        return None

    @abstractmethod
    def start(self, made: Made, image: Image | None = None) -> Start:
        """How it is started on the image; without an image, how it is started on any image."""
