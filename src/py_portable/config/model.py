"""The config as frozen data: what every later stage reads instead of YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py_portable.config.document import DataPath, Marks
from py_portable.config.glibc import known_glibc, with_packages


@dataclass(frozen=True)
class Smoke:
    """One start of the app and what it must show. `timeout` is in seconds; stdin is /dev/null."""

    args: tuple[str, ...] = ("--help",)
    stdout: tuple[str, ...] = ()
    """Lines that must appear, whole and in this order; others may stand around them."""
    stderr: tuple[str, ...] = ()
    exit: int = 0
    timeout: float = 20.0


@dataclass(frozen=True)
class App:
    """The application. Exactly one of `source` (an absolute path that exists) and `requirement` is set."""

    source: Path | None
    requirement: str | None
    script: str | None
    entry_point: str | None
    extras: tuple[str, ...]
    smoke: tuple[Smoke, ...]
    """Never empty, and no two have the same `args`."""
    with_: tuple[str, ...] = ()
    """More requirements beside the app."""


@dataclass(frozen=True)
class Archive:
    """An archive with an interpreter in it. Exactly one of `url` and `path` (absolute) is set."""

    url: str | None = field(default=None, repr=False)
    path: Path | None = None
    sha256: str | None = None
    """64 hex digits; None only with `path`."""


@dataclass(frozen=True)
class InterpreterChoice:
    """Where interpreters come from; `optimize` means PGO and LTO; `archives` are by Python, such as "3.13"."""

    provider: str = "source"
    optimize: bool = False
    archives: Mapping[str, Archive] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """An old-glibc environment. `before` is shell text to run in it as root, after `packages`."""

    name: str
    image: str
    packages: tuple[str, ...] = ()
    before: str | None = None
    libraries: tuple[str, ...] = ()
    """What is compiled for it from its release, see `py_portable.interpreters.libraries`; sorted."""
    own: bool = False
    """Whether it belongs to one artifact, which has the same name, and is made for its own release alone."""

    @property
    def glibc(self) -> str | None:
        """Its glibc where the image's name tells it, else None."""
        return known_glibc(self.image)


@dataclass(frozen=True)
class Build:
    """The environment of build steps. Values of `pass_env` must enter no key, log, lock or evidence."""

    env: Mapping[str, str]
    pass_env: tuple[str, ...]


@dataclass(frozen=True)
class Publish:
    """The app's own wheels for a package index."""

    pythons: tuple[str, ...]
    baseline: str
    sdist: bool = True


@dataclass(frozen=True)
class Wheels:
    """How wheels are resolved and built. Project names are in their canonical form."""

    max_glibc: str | None
    """As written; `Config.max_glibc` is what holds for a baseline."""
    no_binary: tuple[str, ...]
    metadata: Mapping[str, tuple[str, ...]]
    build_requires: Mapping[str, tuple[str, ...]]
    use: Path | None = None
    """A folder of the app's wheels that somebody else built, absolute."""
    publish: Publish | None = None
    unmet: tuple[str, ...] = ()
    """Projects that may be missing or of another version than metadata asks for."""
    constraints: tuple[str, ...] = ()
    """Requirements that bound versions and ask for nothing themselves."""


@dataclass(frozen=True)
class Artifact:
    """A named result of a format. `baseline` and `python` are None for things made elsewhere."""

    name: str
    format: str
    baseline: str | None
    python: str | None
    from_: str | None
    smoke: tuple[Smoke, ...]
    """Its own, else the app's: never empty, and no two have the same `args`."""
    options: Any
    """The format's own keys: an instance of its dataclass, which its own module alone looks into."""
    interpreter: InterpreterChoice = InterpreterChoice()
    """Its own, else that of what it is made from, else the config's."""
    expect: Mapping[str, str] = field(default_factory=dict)
    """What its cells expect on some images, by the names of `Portability.images`, and under some probes, by theirs."""
    images: tuple[str, ...] | None = None
    """The images it is started on, by the names of `Portability.images`; None: all."""

    @property
    def path(self) -> Path | None:
        """Where it lies, of one that was made elsewhere: the option `path`. It need not exist yet."""
        path: Path | None = getattr(self.options, "path", None)
        return path


@dataclass(frozen=True)
class ImageSpec:
    """An image to start on. `expect` is "pass" or "fail:REASON"; `packages` are sorted, and installed in it."""

    image: str
    optional: bool = False
    expect: str = "pass"
    packages: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What cells, evidence and other keys call it, such as `debian:12+python3`."""
        return with_packages(self.image, self.packages)

    @property
    def glibc(self) -> str | None:
        """Its glibc where the image's name tells it, else None."""
        return known_glibc(self.image)


@dataclass(frozen=True)
class Portability:
    images: tuple[ImageSpec, ...]
    probes: tuple[str, ...]
    controls: tuple[str, ...]


@dataclass(frozen=True)
class Config:
    """One portable.yaml, checked."""

    path: Path
    """The file, absolute."""
    base: Path
    """The folder that relative paths start at, absolute."""
    version: int
    app: App
    python: str
    interpreter: InterpreterChoice
    baselines: Mapping[str, Baseline]
    build: Build
    wheels: Wheels
    artifacts: Mapping[str, Artifact]
    """In an order in which each comes after the one it is made from."""
    portability: Portability
    sha256: str
    """Of the file's bytes, 64 hex digits."""
    marks: Marks = field(repr=False, compare=False)

    def where(self, path: DataPath, *, key: bool = False) -> str:
        """`portable.yaml:12:5` of the value (or its key) at `path`, e.g. ("artifacts", "binary", "from").

        What is not written in the file is placed at the nearest thing above it that is.
        """
        return self.marks.where(path, key=key)

    def max_glibc(self, baseline: str) -> str | None:
        """The newest glibc that a wheel built in this baseline may need; None where nothing says."""
        own = self.baselines[baseline]
        return own.glibc if own.own else self.wheels.max_glibc or own.glibc
