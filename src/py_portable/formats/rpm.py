"""`rpm`: the folder that another artifact is, as a package for Fedora, RHEL, SUSE and their kin."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable import resources
from py_portable.config import Artifact
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
    option,
)
from py_portable.formats.system_packages import lint_tools, packing, rpm_header, rpm_manager
from py_portable.formats.system_packages.package_options import LintOptions, PackageOptions
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step

DNF = "/usr/bin/dnf"
_OFFLINE = ("--quiet", "--assumeyes", "--noautoremove", "--disablerepo=*")
_OLDER = "images/older_rpm.sh"
_ZSTD = {"zstd": "zstd:15", "xz": "xz", "gzip": "gzip:9"}


@dataclass(frozen=True)
class RpmOptions(LintOptions, PackageOptions):
    compression: str = option(
        "zstd",
        "How its files are compressed. RHEL 7, SUSE 12 and older cannot read `zstd`.",
        enum=list(_ZSTD),
    )


class RpmPackage(packing.SystemPackage):
    name = "rpm"
    summary = "The folder that another artifact is, as a package for rpm, dnf and zypper."
    options = RpmOptions
    kind = "RPM package"

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert parent is not None
        options: RpmOptions = artifact.options
        first = packing.before(artifact, house, parent)
        made = Step(
            name=artifact_node(artifact),
            action=make,
            params={**packing.params(artifact, house), "compression": options.compression},
            needs=packing.needs(house, parent, first),
        )
        return *first, made

    def start(self, made: Made, image: Image | None = None) -> Start:
        """The image's dnf installs it, or its rpm if it has no dnf. It is upgraded from the same package with a lower
        release."""
        package, _ = self.name_and_version(made)
        shown = f"{PACKAGES}/{made.path.name}"
        rpm = (rpm_manager.RPM, *rpm_manager.of_debian(image))
        with_dnf = image is not None and image.has(DNF)
        add = (DNF, *_OFFLINE, "install") if with_dnf else (*rpm, "--upgrade")
        drop = (DNF, *_OFFLINE, "remove") if with_dnf else (*rpm, "--erase")
        binds = (Bind(made.path, shown),)
        install = Install(
            argv=(*add, shown),
            binds=binds,
            speaks=rpm_manager.SPEAKS,
            fails=rpm_manager.FAILS,
            manager=rpm_manager.RPM,
            older=_older(made.path, shown, rpm),
            remove=Stage((*drop, package), speaks=rpm_manager.SPEAKS, fails=rpm_manager.FAILS),
            lint=lint_tools.stage(
                lint_tools.RPMLINT, made.path, shown, image, made.meta.get("lint_overrides", ())
            ),
            clean=True,
        )
        needs = (*install.argv, *lint_tools.needs(install.lint), resources.sha256(_OLDER))
        return Start(f"/usr/bin/{made.meta['script']}", (), install, needs=needs)


def _older(path: Path, shown: str, rpm: tuple[str, ...]) -> Stage | None:
    """Installs it with a lower release; None where there is none."""
    patches = rpm_header.older(path)
    if not patches:
        return None
    script = f"{PACKAGES}/older_rpm.sh"
    texts = (word for patch in patches for word in (str(patch.at), patch.text))
    # The digest of all its bytes is still that of the real one.
    add = (*rpm, "--upgrade", "--nodigest", "--nosignature")
    binds = (Bind(path, shown), Bind(resources.path(_OLDER), script))
    return Stage(("/bin/sh", script, shown, *texts, "--", *add), binds, rpm_manager.SPEAKS, rpm_manager.FAILS)


def make(ctx: Context) -> Mapping[str, Any]:
    plain = ctx.work / "package.rpm"
    own = {
        "compression": _ZSTD[ctx.params["compression"]],
        "buildhost": "localhost",
        "group": "Applications/System",
    }
    packed = packing.pack(ctx, plain, packager="rpm", libc="glibc >= %s", more={"rpm": own})
    version = packed.about.full_version.rpartition(":")[2]
    name = f"{packed.about.name}-{version}.{platform.machine()}.rpm"
    plain.rename(ctx.out / name)
    return packed.meta(name)
