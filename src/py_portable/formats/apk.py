"""`apk`: the folder that another artifact is, as a package for Alpine and others with apk."""

from __future__ import annotations

import base64
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from py_portable import resources
from py_portable.config import Artifact, ImageSpec
from py_portable.config.glibc import canonical_image
from py_portable.engines.engine import Bind
from py_portable.formats.format import (
    PACKAGES,
    House,
    Install,
    Made,
    Parent,
    Stage,
    Start,
    artifact_node,
)
from py_portable.formats.system_packages import apk_archive, apk_rules, packing
from py_portable.formats.system_packages.package_options import PackageOptions
from py_portable.images import Image
from py_portable.inspect.elf import is_elf, read
from py_portable.steps.context import Context
from py_portable.steps.graph import Step

APK = "/sbin/apk"
_OFFLINE = ("--no-network", "--no-progress")
_SPEAKS = ("ERROR: ",)
_OLDER = "images/older_apk.sh"
_LIBC = "so:libc.so.6"
"""What packages of glibc provide where apk is the package manager of a system with glibc. Alpine has none."""
_MOST_CHARACTERS = 100_000
"""Linux takes 131,072 bytes in one argument: execve(2)."""
_AT_UPGRADE = {"before_install": "preupgrade", "after_install": "postupgrade"}
"""apk has other scripts for upgrades; other package managers run the same ones."""


class ApkPackage(packing.SystemPackage):
    name = "apk"
    summary = "The folder that another artifact is, as a package for apk."
    options = PackageOptions
    kind = "package of Alpine"
    grammar = apk_rules.GRAMMAR

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert parent is not None
        first = packing.before(artifact, house, parent)
        made = Step(
            name=artifact_node(artifact),
            action=make,
            params=packing.params(artifact, house),
            needs=packing.needs(house, parent, first),
        )
        return *first, made

    def expect(self, artifact: Artifact, image: ImageSpec) -> str | None:
        """What is built in a baseline needs a glibc, which Alpine has not: apk refuses to install it there, unless the
        config says that it needs something else."""
        options: PackageOptions = artifact.options
        of_alpine = canonical_image(image.image).partition(":")[0] == "alpine"
        return "fail:install" if artifact.baseline and options.depends is None and of_alpine else None

    def start(self, made: Made, image: Image | None = None) -> Start:
        """The image's apk installs it. It is upgraded from the same package with a lower release."""
        package, _ = self.name_and_version(made)
        shown = f"{PACKAGES}/{made.path.name}"
        # Nobody has signed it.
        add = (APK, "add", *_OFFLINE, "--allow-untrusted")
        install = Install(
            argv=(*add, shown),
            binds=(Bind(made.path, shown),),
            speaks=_SPEAKS,
            manager=APK,
            older=_older(made.path, shown, add),
            remove=Stage((APK, "del", *_OFFLINE, package), speaks=_SPEAKS),
            clean=True,
        )
        needs = (*install.argv, resources.sha256(_OLDER))
        return Start(f"/usr/bin/{made.meta['script']}", (), install, needs=needs)


def _older(path: Path, shown: str, add: tuple[str, ...]) -> Stage | None:
    """Installs it with a lower release; None where there is none, or where what it says of itself is too long for a
    word of a command."""
    found = apk_archive.older(path)
    control = base64.b64encode(found.control).decode() if found else ""
    if found is None or len(control) > _MOST_CHARACTERS:
        return None
    script = f"{PACKAGES}/older_apk.sh"
    words = (shown, control, str(found.at + 1))
    binds = (Bind(path, shown), Bind(resources.path(_OLDER), script))
    return Stage(("/bin/sh", script, *words, *add), binds, _SPEAKS)


def musl_of(program: Path) -> list[str]:
    """What a program asks for that was linked against musl. Raises ElfError."""
    found = is_elf(program) and read(program).musl
    return [f"so:libc.musl-{platform.machine()}.so.1"] if found else []


def make(ctx: Context) -> Mapping[str, Any]:
    plain = ctx.work / "package.apk"
    scripts = {
        _AT_UPGRADE[name]: str(ctx.work / "scripts" / name)
        for name in ctx.params["about"]["scripts"]
        if name in _AT_UPGRADE
    }
    packed = packing.pack(
        ctx,
        plain,
        packager="apk",
        libc=_LIBC,
        more={"apk": {"scripts": scripts}},
        grammar=apk_rules.GRAMMAR,
        without_glibc=musl_of,
    )
    name = f"{packed.about.name}-{packed.about.full_version}.{platform.machine()}.apk"
    apk_archive.finish(plain, ctx.out / name, ctx.env.epoch)
    return packed.meta(name)
