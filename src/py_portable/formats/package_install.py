"""Installs a foreign package: the image's dpkg or rpm installs it offline, and the files that it writes are kept as a
layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from py_portable.engines.engine import Bind
from py_portable.errors import ConfigError
from py_portable.formats import deb_file, rpm_file
from py_portable.formats.foreign_package import ForeignPackage, program, same
from py_portable.formats.format import PACKAGES, Install, Made, Stage, Start
from py_portable.formats.system_packages import rpm_manager
from py_portable.images import Image


@dataclass(frozen=True)
class PackageKind:
    """One kind of packages: `suffix` of their names, `title` for messages, and how a file is recognised and read."""

    suffix: str
    title: str
    manager: str
    recognises: Callable[[Path], bool]
    look: Callable[[Path, str], ForeignPackage]
    elves: Callable[[Path], Iterator[bytes]]
    add: tuple[str, ...]
    drop: tuple[str, ...]
    speaks: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()


_DEB = PackageKind(
    *(".deb", "Debian package", deb_file.DPKG, deb_file.is_deb, deb_file.look, deb_file.elves),
    add=("--install",),
    drop=("--purge",),
)
_RPM = PackageKind(
    *(".rpm", "RPM package", rpm_manager.RPM, rpm_file.is_rpm, rpm_file.look, rpm_file.elves),
    add=("--upgrade",),
    drop=("--erase",),
    speaks=rpm_manager.SPEAKS,
    fails=rpm_manager.FAILS,
)
KINDS = (_DEB, _RPM)


def kind_of(path: Path) -> PackageKind | None:
    """What kind of package the file at `path` is, by its first bytes; None for another file."""
    return next((kind for kind in KINDS if kind.recognises(path)), None)


def installed(kind: PackageKind, made: Made, image: Image | None) -> Start:
    """The package is installed with the dependencies that the image has, started, and removed with its configuration
    files.

    `meta` may have `script`, the program, and `older`, the path of a package that it is an upgrade of, with its digest
    `older_sha256`. Raises ConfigError where the program is not to be told, or the older package is another one.
    """
    package = kind.look(made.path, made.sha256)
    started = program(package, made.meta.get("script"), made.name)
    manager = (kind.manager, *(rpm_manager.of_debian(image) if kind is _RPM else ()))
    older = _older(kind, package, made, (*manager, *kind.add))
    shown = f"{PACKAGES}/package{kind.suffix}"
    install = Install(
        argv=(*manager, *kind.add, shown),
        binds=(Bind(made.path, shown),),
        speaks=kind.speaks,
        fails=kind.fails,
        manager=kind.manager,
        older=older,
        remove=Stage((*manager, *kind.drop, package.name), speaks=kind.speaks, fails=kind.fails),
        own=package.files,
        unknown=unknown_packages(image) if kind is _RPM else None,
    )
    needs = (*install.argv, made.meta["older_sha256"] if older else "")
    return Start(started, (), install, is_elf=started in package.elves, needs=needs)


def unknown_packages(image: Image | None) -> tuple[str, str] | None:
    """The line by which rpm refuses for what is not installed, and why this proves nothing on an image where another
    package manager installed everything."""
    if not rpm_manager.is_debian(image):
        return None
    why = "the rpm of this image does not know what dpkg installed, so it cannot say whether this is there"
    return rpm_manager.UNMET, f"{why}; prove it on an image whose own package manager is rpm"


def _older(kind: PackageKind, package: ForeignPackage, made: Made, add: tuple[str, ...]) -> Stage | None:
    if not made.meta.get("older"):
        return None
    path = Path(made.meta["older"])
    if not kind.recognises(path):
        raise ConfigError(f"is not a package of the same kind: {kind.title}", where=str(path))
    same(package, kind.look(path, made.meta["older_sha256"]), made.name, path)
    shown = f"{PACKAGES}/older{kind.suffix}"
    return Stage((*add, shown), (Bind(path, shown),), kind.speaks, kind.fails)
