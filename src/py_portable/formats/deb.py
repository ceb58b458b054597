"""`deb`: the folder that another artifact is, as a package for Debian, Ubuntu and their kin."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from py_portable import resources
from py_portable.config import Artifact, ImageSpec
from py_portable.config.glibc import canonical_image, version_key
from py_portable.engines.engine import Bind
from py_portable.formats.format import (
    House,
    Install,
    Made,
    Parent,
    Stage,
    Start,
    artifact_node,
    option,
)
from py_portable.formats.system_packages import deb_archive, lint_tools, packing
from py_portable.formats.system_packages.package_options import PackageOptions
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step

DPKG = "/usr/bin/dpkg"
APT = "/usr/bin/apt-get"
_OFFLINE = ("--quiet", "--yes", "--no-install-recommends", "-oAPT::Sandbox::User=root", "-oDpkg::Use-Pty=0")
_SPEAKS = ("dpkg: ", "The following packages have unmet dependencies:", "E: ")
_SHOWN = "/run/py-portable-packages"
_OLDER = "images/older_deb.sh"
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386"}
_ZSTD_SINCE = {"debian": "12", "ubuntu": "18.04"}
"""The releases whose dpkg reads zstd."""


@dataclass(frozen=True)
class DebOptions(PackageOptions):
    compression: str | None = option(
        None,
        "How its files are compressed. By default by zstd where the dpkg of all images reads that, else by xz.",
        enum=["zstd", "xz", "none"],
    )


class DebPackage(packing.SystemPackage):
    name = "deb"
    summary = "The folder that another artifact is, as a package for dpkg and apt."
    options = DebOptions
    kind = "Debian package"

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert parent is not None
        options: DebOptions = artifact.options
        how = options.compression or compression_for(parent.images)
        first = packing.before(artifact, house, parent)
        made = Step(
            name=artifact_node(artifact),
            action=make,
            params={**packing.params(artifact, house), "compression": how, "zstd": deb_archive.ZSTD},
            needs=packing.needs(house, parent, first),
        )
        return *first, made

    def start(self, made: Made, image: Image | None = None) -> Start:
        """The image's apt installs it, or its dpkg if it has no apt. It is upgraded from the same package with a lower
        version."""
        package, version = self.name_and_version(made)
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


def compression_for(images: Iterable[ImageSpec]) -> deb_archive.Compression:
    """The best compression that the dpkg of every image reads."""
    specs = list(images)
    return "zstd" if specs and all(map(_reads_zstd, specs)) else "xz"


def _reads_zstd(spec: ImageSpec) -> bool:
    system, _, release = canonical_image(spec.image).partition(":")
    since = _ZSTD_SINCE.get(system)
    plain = all(part.isdigit() for part in release.split("."))
    return since is not None and plain and version_key(release) >= version_key(since)


def make(ctx: Context) -> Mapping[str, Any]:
    plain = ctx.work / "plain.deb"
    packed = packing.pack(
        ctx, plain, packager="deb", libc="libc6 (>= %s)", more={"deb": {"compression": "none"}}
    )
    version = packed.about.full_version.rpartition(":")[2]
    name = f"{packed.about.name}_{version}_{_ARCHES.get(platform.machine(), platform.machine())}.deb"
    deb_archive.compress(plain, ctx.out / name, ctx.params["compression"])
    return packed.meta(name)
