"""What a format is: the steps that make an artifact, and how a cell starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from py_portable.config import Artifact
from py_portable.engines.engine import Bind
from py_portable.steps.graph import Step

APP = "/opt/app"
"""Where a cell shows the artifact."""


@dataclass(frozen=True)
class House:
    """Names of the nodes that give what a format builds from, for one (baseline, interpreter)."""

    place: str
    image: str
    interpreter: str
    linkable: str | None
    """The interpreter whose libpython is linked: another one of the same Python where `interpreter` has none.

    None where the format does not say that it needs one.
    """
    toolbox: str
    wheelhouse: str
    distribution: str | None
    script: str | None
    entry_point: str | None
    environment: Mapping[str, str]
    bare: str
    """The baseline's image without the app's packages, for what all apps share. No control changes it."""
    extras: tuple[str, ...] = ()
    """Of the app: what was asked for."""
    unmet: tuple[str, ...] = ()
    """Projects that may be missing or of another version, whatever metadata asks for."""


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

    @property
    def sources(self) -> tuple[Path, ...]:
        """The paths of this machine that it shows, in all its stages."""
        stages = (self.install, self.install.older, self.install.remove) if self.install else ()
        return tuple(bind.source for one in (self, *stages) if one for bind in one.binds)


class Format(Protocol):
    name: str
    needs_libpython: bool
    """Whether its artifacts link a libpython: they are then made with `House.linkable`."""
    controls: frozenset[str]
    """The controls that can be built for it."""

    def steps(self, artifact: Artifact, house: House | None) -> tuple[Step, ...]:
        """The last step gives the artifact; its meta has `payload`, a name in its out folder ("." for all)."""
        ...

    def start(self, made: Made) -> Start: ...
