"""Installs a Debian package that was built here: by the image's apt or dpkg, offline."""

from __future__ import annotations

import platform

from py_portable import resources
from py_portable.engines.engine import Bind
from py_portable.formats.deb_file import DPKG, depends
from py_portable.formats.format import PACKAGES, Install, Made, Stage, Start
from py_portable.formats.system_packages import lint_tools
from py_portable.images import Image

APT = "/usr/bin/apt-get"
_OFFLINE = ("--quiet", "--yes", "--no-install-recommends", "-oAPT::Sandbox::User=root", "-oDpkg::Use-Pty=0")
_UNMET = ("The following packages have unmet dependencies:", "dpkg: dependency problems")
_SPEAKS = ("dpkg: ", *_UNMET[:1], "E: ")
_OLDER = "images/older_deb.sh"
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386"}


def file_name(package: str, version: str) -> str:
    """What the file of a package for this kind of machine is called."""
    machine = platform.machine()
    return f"{package}_{version.rpartition(':')[2]}_{_ARCHES.get(machine, machine)}.deb"


def of_ours(made: Made, image: Image | None, package: str, version: str) -> Start:
    """A package that was built here: the image's apt installs it, or its dpkg if it has no apt. It is upgraded from the
    same package with a lower version, removed and purged, and nothing may be left."""
    shown = f"{PACKAGES}/{made.path.name}"
    has_apt = image is None or image.has(APT)
    add = (APT, *_OFFLINE, "install") if has_apt else (DPKG, "--install")
    drop = (APT, *_OFFLINE, "remove") if has_apt else (DPKG, "--remove")
    binds = (Bind(made.path, shown),)
    script = f"{PACKAGES}/older_deb.sh"
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
        lint=lint_tools.stage(lint_tools.LINTIAN, made.path, shown, image),
        clean=True,
    )
    needs = (*install.argv, *lint_tools.needs(install.lint), resources.sha256(_OLDER))
    return Start(f"/usr/bin/{made.meta['script']}", (), install, needs=needs)
