"""`deb`: the folder that another artifact is, as a package for Debian, Ubuntu and their kin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from py_portable.config import Artifact, ImageSpec
from py_portable.config.glibc import canonical_image, version_key
from py_portable.formats import deb_install
from py_portable.formats.format import (
    House,
    Made,
    Parent,
    Start,
    artifact_node,
    option,
)
from py_portable.formats.system_packages import deb_archive, packing
from py_portable.formats.system_packages.package_options import LintOptions, PackageOptions
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step

_ZSTD_SINCE = {"debian": "12", "ubuntu": "18.04"}
"""The releases whose dpkg reads zstd."""


@dataclass(frozen=True)
class DebOptions(LintOptions, PackageOptions):
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
        package, version = self.name_and_version(made)
        return deb_install.of_ours(made, image, package, version)


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
    name = deb_install.file_name(packed.about.name, packed.about.full_version)
    deb_archive.compress(plain, ctx.out / name, ctx.params["compression"])
    return packed.meta(name)
