"""What all packages and their steps have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from py_portable.config import Artifact
from py_portable.errors import ConfigError
from py_portable.formats.format import FOLDER, Format, House, Made, Parent, Problem, Written
from py_portable.formats.onefile import program_of
from py_portable.formats.system_packages import nfpm
from py_portable.formats.system_packages.about import PackageAbout, about
from py_portable.formats.system_packages.package_options import PackageOptions, problems, told
from py_portable.formats.system_packages.package_rules import NAME, RELEASE, mended_name
from py_portable.formats.system_packages.wheel_metadata import metadata_of
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId


@dataclass(frozen=True)
class Packed:
    """`program`: what it is called in /usr/bin; `floor`: the measured floor of the folder."""

    about: PackageAbout
    program: str
    floor: str | None

    def meta(self, payload: str) -> Mapping[str, Any]:
        """What the step of the artifact records."""
        return {
            "payload": payload,
            "script": self.program,
            "package": self.about.name,
            "version": self.about.full_version,
            "measured_floor": self.floor,
        }


class SystemPackage(Format):
    """A folder as a package of the system's own package manager."""

    made_from = (FOLDER,)
    interpreter = "none"
    kind: str
    """What messages call it."""

    def pins(self) -> Mapping[str, str]:
        return nfpm.pins()

    def problems(self, written: Written) -> Iterable[Problem]:
        return problems(written, self.kind)

    def name_and_version(self, made: Made) -> tuple[str, str]:
        return name_and_version(made, self.kind)


def name_and_version(made: Made, kind: str) -> tuple[str, str]:
    """By which its package manager knows it: they may come from another machine, and are words of command lines.
    Raises ConfigError."""
    package, version = made.meta["package"], made.meta["version"]
    if not (NAME.allows(package) and all(map(RELEASE.allows, re.split("[-:]", version)))):
        raise ConfigError(f"{package} {version} cannot be a {kind}", where=made.name)
    return package, version


def params(artifact: Artifact, house: House | None) -> Mapping[str, Any]:
    """What the step of a package is told. Raises ConfigError if the name of the app's project cannot be a package's."""
    options: PackageOptions = artifact.options
    distribution = house.distribution if house else None
    allowed(artifact, options.name, distribution)
    return {"about": told(options), "distribution": distribution}


def allowed(artifact: Artifact, name: str | None, distribution: str | None) -> None:
    """Raises ConfigError if the config says no `name`, and the name of the app's project cannot be a package's."""
    if name is None and distribution and not NAME.allows(canonicalize_name(distribution)):
        raise ConfigError(
            f"{distribution!r}, the name of its project, cannot be the name of a package: {NAME.says}",
            where=f"artifacts.{artifact.name}",
            hint=f"write there: name: {mended_name(distribution)}",
        )


def needs(house: House | None, parent: Parent, tool: Step) -> tuple[NodeId, ...]:
    """The nodes that the step of a package needs."""
    return (parent.node, tool.name, *((house.wheelhouse,) if house else ()))


def pack(ctx: Context, out: Path, *, packager: str, libc: str, more: Mapping[str, Any]) -> Packed:
    """Write the package `out` of the folder among the inputs. `libc`: how this package manager asks for glibc, with a
    `%s` for the version. Raises StepError."""
    parent = next(result for node, result in ctx.inputs.items() if node.kind in ("artifact", "folder"))
    folder, program = program_of(parent.path / parent.meta["payload"], parent.meta["script"])
    said = ctx.params["about"]
    of = about(said, metadata_of(ctx, ctx.params["distribution"]), program)
    floor = parent.meta["measured_floor"]
    depends = said["depends"] if said["depends"] is not None else [libc % floor] if floor else []
    link = nfpm.run(ctx, folder, program, of, said, packager=packager, depends=depends, out=out, more=more)
    return Packed(of, link.rpartition("/")[2], floor)
