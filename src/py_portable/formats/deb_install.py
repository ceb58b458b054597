"""Installs a .deb: the image's apt or dpkg installs it offline, and the files that it writes are kept as a layer."""

from __future__ import annotations

import platform
from pathlib import Path

from py_portable import resources
from py_portable.engines.engine import Bind
from py_portable.errors import ConfigError
from py_portable.formats.deb_file import Deb, depends, look
from py_portable.formats.format import Install, Made, Stage, Start
from py_portable.images import Image

DPKG = "/usr/bin/dpkg"
APT = "/usr/bin/apt-get"
_OFFLINE = ("--quiet", "--yes", "--no-install-recommends", "-oAPT::Sandbox::User=root", "-oDpkg::Use-Pty=0")
_UNMET = ("The following packages have unmet dependencies:", "dpkg: dependency problems")
_SPEAKS = ("dpkg: ", *_UNMET[:1], "E: ")
_SHOWN = "/run/py-portable-packages"
_OLDER = "images/older_deb.sh"
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386"}


def file_name(package: str, version: str) -> str:
    """What the file of a package for this kind of machine is called."""
    machine = platform.machine()
    return f"{package}_{version.rpartition(':')[2]}_{_ARCHES.get(machine, machine)}.deb"


def of_ours(made: Made, image: Image | None, package: str, version: str) -> Start:
    """A package that was built here: the image's apt installs it, or its dpkg if it has no apt. It is upgraded from the
    same package with a lower version, removed and purged, and nothing may be left."""
    shown = f"{_SHOWN}/{made.path.name}"
    has_apt = image is None or (image.root / APT.lstrip("/")).exists()
    add = (APT, *_OFFLINE, "install") if has_apt else (DPKG, "--install")
    drop = (APT, *_OFFLINE, "remove") if has_apt else (DPKG, "--remove")
    binds = (Bind(made.path, shown),)
    script = f"{_SHOWN}/older_deb.sh"
    install = Install(
        argv=(*add, shown),
        binds=binds,
        speaks=_SPEAKS,
        manager=DPKG,
        depends=depends(made.path, made.sha256) if image else (),
        unmet=_UNMET,
        older=Stage(
            ("/bin/sh", script, shown, f"{version}~older", *add),
            (*binds, Bind(resources.path(_OLDER), script)),
            _SPEAKS,
        ),
        remove=Stage((*drop, package), speaks=_SPEAKS),
        purge=Stage((DPKG, "--purge", package)),
        clean=True,
    )
    needs = (*install.argv, resources.sha256(_OLDER))
    return Start(f"/usr/bin/{made.meta['script']}", (), install, needs=needs)


def installed(made: Made) -> Start:
    """The package is installed with the dependencies that the image has, started, and removed with its configuration
    files.

    `meta` may have `script`, the program, and `older`, the path of a package that it is an upgrade of, with its digest
    `older_sha256`. Raises ConfigError where the program is not to be told, or the older package is another one.
    """
    deb = look(made.path, made.sha256)
    program = _program(deb, made.meta.get("script"), made.name)
    older = _older(deb, made)
    install = Install(
        argv=(DPKG, "--install", f"{_SHOWN}/package.deb"),
        binds=(Bind(made.path, f"{_SHOWN}/package.deb"),),
        manager=DPKG,
        older=older,
        remove=Stage((DPKG, "--purge", deb.name)),
    )
    needs = (*install.argv, made.meta["older_sha256"] if older else "")
    return Start(program, (), install, is_elf=program in deb.elves, needs=needs)


def _older(deb: Deb, made: Made) -> Stage | None:
    if not made.meta.get("older"):
        return None
    path = Path(made.meta["older"])
    found = look(path, made.meta["older_sha256"])
    if found.name != deb.name:
        raise ConfigError(
            f"it is the package {found.name}, and {made.name} is the package {deb.name}, so this is not an upgrade",
            where=str(path),
        )
    return Stage(
        (DPKG, "--install", f"{_SHOWN}/older.deb"),
        (Bind(path, f"{_SHOWN}/older.deb"),),
    )


def _program(deb: Deb, asked: str | None, name: str) -> str:
    """The absolute path of the program: the one that was asked for, or the only one, or the one with the package's
    name."""
    if asked:
        path = asked if asked.startswith("/") else f"/usr/bin/{asked}"
        if path in deb.files:
            return path
        raise ConfigError(f"the package has no {path}", where=name, hint=_choices(deb))
    if len(deb.programs) == 1:
        return deb.programs[0]
    if f"/usr/bin/{deb.name}" in deb.programs:
        return f"/usr/bin/{deb.name}"
    what = "several programs" if deb.programs else "no program"
    raise ConfigError(f"the package has {what} in /usr/bin", where=name, hint=_choices(deb))


def _choices(deb: Deb) -> str:
    if not deb.programs:
        return "name the program: prove PACKAGE --program /an/absolute/path"
    names = ", ".join(path.removeprefix("/usr/bin/") for path in deb.programs)
    return f"name one of these with --program (app.script in the config): {names}"
