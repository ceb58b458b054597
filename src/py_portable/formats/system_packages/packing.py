"""What all packages and their steps have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from py_portable.config import Artifact
from py_portable.errors import ConfigError
from py_portable.formats.format import FOLDER, Format, House, Made, Parent, Problem, Written
from py_portable.formats.onefile import program_of
from py_portable.formats.system_packages import asking, documents, nfpm, pages
from py_portable.formats.system_packages.about import PackageAbout, about
from py_portable.formats.system_packages.package_options import PackageOptions, problems, told
from py_portable.formats.system_packages.package_rules import DEBIAN, NAME, Grammar, mended_name
from py_portable.formats.system_packages.wheel_metadata import licences_of, metadata_of
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId


@dataclass(frozen=True)
class Packed:
    """`program`: what it is called in /usr/bin; `floor`: the measured floor of the folder."""

    about: PackageAbout
    program: str
    floor: str | None
    lint_overrides: tuple[str, ...] = ()

    def meta(self, payload: str) -> Mapping[str, Any]:
        """What the step of the artifact records."""
        return {
            "payload": payload,
            "script": self.program,
            "package": self.about.name,
            "version": self.about.full_version,
            "measured_floor": self.floor,
            "lint_overrides": list(self.lint_overrides),
        }


class SystemPackage(Format):
    """A folder as a package of the system's own package manager."""

    made_from = (FOLDER,)
    interpreter = "none"
    kind: str
    """What messages call it."""
    grammar: Grammar = DEBIAN

    def pins(self) -> Mapping[str, str]:
        return nfpm.pins()

    def problems(self, written: Written) -> Iterable[Problem]:
        return problems(written, self.kind, self.grammar)

    def name_and_version(self, made: Made) -> tuple[str, str]:
        return name_and_version(made, self.kind, self.grammar)


def name_and_version(made: Made, kind: str, grammar: Grammar = DEBIAN) -> tuple[str, str]:
    """By which its package manager knows it: they may come from another machine, and are words of command lines.
    Raises ConfigError."""
    package, version = made.meta["package"], made.meta["version"]
    if not (NAME.allows(package) and grammar.allows(version)):
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


def before(artifact: Artifact, house: House | None, parent: Parent) -> tuple[Step, ...]:
    """The steps before that of a package, all of which it needs: nfpm, and what the program says of itself, where a
    page or a script may be made of that."""
    options: PackageOptions = artifact.options
    asks = house is not None and (options.man is None or options.completions is None)
    return (nfpm.tool_step(), *((asking.step(house, parent),) if house and asks else ()))


def needs(house: House | None, parent: Parent, steps: Iterable[Step]) -> tuple[NodeId, ...]:
    """The nodes that the step of a package needs, with those of `before`."""
    own = (house.wheelhouse,) if house else ()
    return (parent.node, *(step.name for step in steps), *own)


def pack(
    ctx: Context,
    out: Path,
    *,
    packager: str,
    libc: str,
    more: Mapping[str, Any],
    grammar: Grammar = DEBIAN,
    without_glibc: Callable[[Path], list[str]] = lambda _program: [],
) -> Packed:
    """Write the package `out` of the folder among the inputs. `libc`: how this package manager asks for glibc, with a
    `%s` for the version; `without_glibc`: what a program needs that takes none. Raises StepError."""
    parent = next(result for node, result in ctx.inputs.items() if node.kind in ("artifact", "folder"))
    folder, program = program_of(parent.path / parent.meta["payload"], parent.meta["script"])
    said = ctx.params["about"]
    name = asking.called(program)
    of = about(said, metadata_of(ctx, ctx.params["distribution"]), name, grammar)
    floor = parent.meta["measured_floor"]
    needed = [libc.replace("%s", floor)] if floor else without_glibc(folder / program)
    licences = documents.Licences(*licences_of(ctx, ctx.params["distribution"]))
    if packager == "deb":
        papers = documents.of_deb(of, licences, ctx.env.epoch, said["lint_overrides"])
    elif packager == "rpm":
        papers = documents.of_rpm(of, licences)
        more = {**more, "changelog": documents.rpm_changelog(of, ctx.env.epoch, ctx.work)}
    else:
        papers = documents.of_apk(of, licences)
    nfpm.run(
        *(ctx, folder, program, of),
        pages.gathered(ctx, folder, program, of, packager),
        packager=packager,
        depends=needed if said["depends"] is None else said["depends"],
        documents=papers,
        out=out,
        more=more,
    )
    return Packed(of, name, floor, tuple(said["lint_overrides"]))
