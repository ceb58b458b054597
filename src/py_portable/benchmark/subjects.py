"""Decides what is compared: every artifact with the interpreter of its own baseline and Python."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from py_portable import resources
from py_portable.base import shape
from py_portable.base.regular import read_regular
from py_portable.benchmark.turns import Pairing, Place, Subject, keeper
from py_portable.engines.engine import Bind, Job
from py_portable.errors import ConfigError, UnmetError
from py_portable.formats import FORMATS, Install, Made, app_entry
from py_portable.images import Image
from py_portable.plan.assemble import beside_app
from py_portable.project.building import Built
from py_portable.project.session import Session
from py_portable.prove.frozen import Freezer

PREFIX = "/opt/python"
PYTHON = f"{PREFIX}/bin/python3"
SPARE = "/opt/installer"
"""A second copy of the same interpreter with its own site-packages, which has pip."""
ON_PATH = "/usr/local"
"""Where the interpreter is that an artifact looks for: its `bin` is on the PATH of a cell, and comes first."""
KIT = "/opt/kit"
WHEELS = "/opt/wheels"
MAX_TOLD = 1 << 16
INSTALL_SECONDS = 600.0
_SCRIPTS = ("build/bare.py", *app_entry.SCRIPTS)
_MODULE = re.compile(r"\w+(\.\w+)*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


@dataclass
class Workshop:
    """Where a run puts installations and kept folders. `room` is deleted afterwards."""

    session: Session
    place: Place
    image: Image
    room: Path
    freezer: Freezer
    bare: dict[tuple[str, str], Subject] = field(default_factory=dict)
    """References by the digests of interpreter and wheelhouse."""

    def folder(self) -> Path:
        path = self.room / str(len(list(self.room.iterdir())))
        path.mkdir(mode=0o755)
        return path

    def install(self, stage: Install, name: str) -> Bind:
        """Raises UnmetError where the stage fails, or is one of a whole root."""
        if stage.target is None:
            raise UnmetError("is a package of a whole system, whose start is not measured", where=name)
        bind = Bind(self.folder(), stage.target)
        log = self.session.dist / "logs" / f"benchmark-install-{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        outcome = self.place.engine.run(
            Job(
                profile="build",
                root=self.image.root,
                argv=stage.argv,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"},
                binds=(*stage.binds, replace(bind, writable=True)),
                root_access="throw-away",
            ),
            timeout=INSTALL_SECONDS,
            log=log,
        )
        if not outcome.ok:
            raise UnmetError("cannot be installed", where=name, tail=outcome.stderr.text, log=log)
        return bind


def pairings(shop: Workshop, built: Built, args: Collection[str], module: str | None = None) -> list[Pairing]:
    """First a thing with itself, then every artifact. One that keeps files between starts is also measured as a first
    start.

    What is compared are bytes that nobody else can write to. Raises ConfigError where no artifact brings an interpreter
    to compare with, UnmetError where one does not start or was changed meanwhile.
    """
    found: list[Pairing] = []
    for named in built.made.values():
        if named.interpreter is None or named.wheelhouse is None or _in_the_root(named):
            continue
        made = shop.freezer.freeze(named, whole=True)
        reference = _bare(shop, made, args, module)
        subject = _artifact(shop, made, args)
        kept = shop.folder()
        if keeper(shop.place, subject, kept):
            found.append(Pairing(replace(subject, start="first"), reference))
            subject = replace(subject, kept=kept)
        found.append(Pairing(subject, reference))
    if not found:
        raise ConfigError(
            "no artifact of this run was made with an interpreter, so there is nothing to compare with",
            where=shop.session.config.path.name,
        )
    same = list(dict.fromkeys(pairing.reference for pairing in found))
    return [*(Pairing(one, one) for one in same), *found]


def _in_the_root(made: Made) -> bool:
    """Whether it is installed into the root of a system. It takes the system's Python, so there is no other start of
    the same Python to compare with."""
    install = FORMATS[made.format].start(made).install
    return install is not None and install.target is None


def _artifact(shop: Workshop, made: Made, args: Collection[str]) -> Subject:
    """Started exactly as a cell starts it. One that takes an interpreter of the system finds that of its reference, so
    that two ways to start are compared and not two Pythons."""
    start = FORMATS[made.format].start(made)
    binds = start.binds
    if start.seeks and made.interpreter:
        binds = (*binds, Bind(made.interpreter, ON_PATH))
    if start.install:
        binds = (*binds, shop.install(start.install, made.name))
    return Subject(made.name, (start.program, *args), binds, made.format)


def _bare(shop: Workshop, made: Made, args: Collection[str], module: str | None) -> Subject:
    """`python3 -m MODULE`: the interpreter as it was compiled, and the wheelhouse in its own site-packages."""
    assert made.interpreter is not None and made.wheelhouse is not None
    key = (made.interpreter_digest or "", made.wheelhouse_digest or "")
    if key in shop.bare:
        return shop.bare[key]
    (site,) = (path for path in made.interpreter.glob("lib/python3.*/site-packages") if path.is_dir())
    python = Bind(made.interpreter, PREFIX)
    target = f"{PREFIX}/{site.relative_to(made.interpreter)}"
    stage = Install(
        argv=(
            f"{SPARE}/bin/python3",
            f"{KIT}/bare.py",
            WHEELS,
            target,
            PYTHON,
            made.meta.get("distribution") or _distribution(shop.session, made),
            shop.session.config.app.script or "",
            shop.session.config.app.entry_point or "",
            " ".join(app_entry.words(beside_app(shop.session.config))),
        ),
        binds=(
            python,
            Bind(made.interpreter, SPARE),
            Bind(made.wheelhouse, WHEELS),
            *(Bind(resources.path(name), f"{KIT}/{Path(name).name}") for name in _SCRIPTS),
        ),
        target=target,
    )
    name = f"python{site.parent.name.removeprefix('python')}"
    packages = shop.install(stage, name)
    argv = (PYTHON, "-m", module) if module else program_of(packages.source, target)
    title = [name if word == PYTHON else word.removeprefix(f"{target}/") for word in argv]
    subject = Subject(" ".join(title), (*argv, *args), (python, packages))
    shop.bare[key] = subject
    return subject


def _distribution(session: Session, made: Made) -> str:
    from py_portable.plan.assemble import app_name

    name = app_name(session.config)
    if not name:
        raise ConfigError("the name of the app's distribution is not known", where=made.name)
    return name


def program_of(folder: Path, target: str) -> tuple[str, ...]:
    """What starts the app in the packages of `folder`, which are shown at `target`. The installation says it; this is
    foreign text, so only the name of a module or of a file is accepted."""
    hint = "name it: --module"
    try:
        told = shape.parse(read_regular(folder / "bare.json", MAX_TOLD, follow=False))
        name = told["program"] if "program" in told else told["module"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UnmetError("the installation does not record which module is started", hint=hint) from None
    kind, pattern = ("program", _FILE) if "program" in told else ("module", _MODULE)
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise UnmetError(f"{name!r} is not a {kind}", hint=hint)
    if kind == "module":
        return PYTHON, "-m", name
    program = f"{target}/bin/{name}"
    return (PYTHON, program) if told.get("python") is True else (program,)
