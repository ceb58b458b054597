"""`dh-virtualenv`: the app as Debian packages that take the Python and the libraries of their releases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from py_portable import resources
from py_portable.config import Artifact, ImageSpec
from py_portable.config.ends import release_of
from py_portable.config.glibc import canonical_image, debian_releases, version_key
from py_portable.config.problems import show
from py_portable.config.pythons import python_of
from py_portable.engines.engine import Bind
from py_portable.formats import app_entry, deb_install
from py_portable.formats.format import (
    Format,
    House,
    Made,
    OwnBaseline,
    Parent,
    Problem,
    Start,
    Written,
    artifact_node,
    option,
)
from py_portable.formats.system_packages import debian_source, packing
from py_portable.formats.system_packages.about import about
from py_portable.formats.system_packages.package_options import (
    DEPENDS,
    AboutOptions,
    LintOptions,
    problems,
    said,
)
from py_portable.formats.system_packages.package_rules import DEBIAN
from py_portable.formats.system_packages.wheel_metadata import metadata_of
from py_portable.images import Image
from py_portable.steps.context import Context
from py_portable.steps.graph import Step

RELEASES = ("debian:12", "debian:13")
"""Those that have the tool, and a Python that the tools for wheels support."""
_OLDEST_PYTHON = (3, 10)
"""That of auditwheel; the tools for wheels are the same in every baseline."""
_SETTLE = "build/settle_venv.py"


@dataclass(frozen=True, kw_only=True)
class DhVirtualenvOptions(LintOptions, AboutOptions):
    releases: tuple[str, ...] = option(
        ...,
        "The releases of Debian that it is built for, each as an artifact of its own, which is called `NAME-RELEASE`: "
        "`distro-debian-12`.",
        type="array",
        minItems=1,
        uniqueItems=True,
        items={
            "type": "string",
            "maxLength": 100,
            "pattern": "^[a-z]+:[a-z0-9.]+$",
            "errorMessage": "expected a release, such as debian:12",
        },
    )
    packages: tuple[str, ...] | None = option(
        None,
        "The packages of the release that compiling the wheels takes, such as `libpq-dev`. By default those of the "
        "baseline that an artifact has by default, if its image is a Debian, too.",
        type="array",
        uniqueItems=True,
        items={
            "type": "string",
            "maxLength": 100,
            "pattern": "^[a-z0-9][a-z0-9+.-]*[a-z0-9+.]$",
            "errorMessage": "expected the name of a Debian package, such as libpq-dev",
        },
    )
    depends: tuple[str, ...] = option(
        (),
        "More packages that have to be installed with it, as Debian writes them. The libraries that its files are "
        "linked with and the Python that it was built for are always among them.",
        **DEPENDS,
    )


class DhVirtualenv(Format):
    name = "dh-virtualenv"
    summary = "Debian packages that take the Python and the libraries of their releases, by dh-virtualenv."
    options = DhVirtualenvOptions
    interpreter = "release"
    needs = ("dh-virtualenv",)
    repaired = False

    def fan_out(self, name: str, mapping: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """One artifact for each release, in a baseline with its own name."""
        found = {}
        for release in map(canonical_image, mapping["releases"]):
            own = f"{name}-{release.replace(':', '-')}"
            found[own] = {**mapping, "releases": [release], "baseline": own, "python": python_of(release)}
        return found

    def own_baseline(self, mapping: Mapping[str, Any], usual: Mapping[str, Any]) -> OwnBaseline:
        (release,) = mapping["releases"]
        kin = canonical_image(usual.get("image", "")).startswith("debian:")
        packages = mapping.get("packages", usual.get("packages", ()) if kin else ())
        return OwnBaseline(release, tuple(packages))

    def problems(self, written: Written) -> Iterable[Problem]:
        yield from problems(written, "Debian package", DEBIAN)
        for release in written.mapping["releases"]:
            if release not in RELEASES:
                *others, last = RELEASES
                choose = (
                    f"choose {', '.join(others)} or {last}, or the format deb, which brings a Python with it"
                )
                yield written.wrong("releases", f"{_why_not(release)}; {choose}")

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert house is not None
        options: DhVirtualenvOptions = artifact.options
        packing.allowed(artifact, options.name, house.distribution)
        return (
            Step(
                name=artifact_node(artifact),
                action=make,
                params={
                    "spec": app_entry.asked(house),
                    "about": said(options),
                    "depends": list(options.depends),
                    "lint_overrides": list(options.lint_overrides),
                    "release": options.releases[0],
                },
                needs=(house.interpreter, house.wheelhouse),
                scripts=("build/dh_virtualenv.py", _SETTLE, *app_entry.SCRIPTS),
                image=house.image,
            ),
        )

    def expect(self, artifact: Artifact, image: ImageSpec) -> str | None:
        """Other releases refuse it, because they have another Python."""
        options: DhVirtualenvOptions = artifact.options
        named = release_of(image.image)
        # With the same Python it may be refused or not: nobody knows before.
        if named is None or python_of(named) == python_of(options.releases[0]):
            return None
        return "fail:release"

    def start(self, made: Made, image: Image | None = None) -> Start:
        package, version = packing.name_and_version(made, "Debian package")
        return deb_install.of_ours(made, image, package, version)


def _why_not(release: str) -> str:
    """Why no package can be built for it."""
    python = python_of(release)
    if release.startswith("debian:") and python and version_key(python) < _OLDEST_PYTHON:
        oldest = ".".join(map(str, _OLDEST_PYTHON))
        return f"{release} has Python {python}, but the tools that build wheels need {oldest}"
    return f"it is not known how to build for {show(release)}"


def make(ctx: Context) -> Mapping[str, Any]:
    wheels = ctx.need("wheelhouse")
    spec = app_entry.known(ctx.params["spec"], wheels)
    release = ctx.params["release"].partition(":")[2]
    told = ctx.params["about"]
    where = f"in a virtual environment, with the Python and the libraries of {ctx.params['release']}"
    own = {
        **told,
        "release": f"{told['release']}+deb{release}",
        "description": told["description"] or f"{spec['distribution']} {where}.",
    }
    its = about(own, metadata_of(ctx, spec["distribution"]), spec["distribution"])
    texts = debian_source.files(
        its,
        depends=ctx.params["depends"],
        epoch=ctx.env.epoch,
        suite=str(debian_releases()[release]["suite"]),
        lint_overrides=ctx.params["lint_overrides"],
    )
    texts = {**texts, "settle_venv.py": resources.path(_SETTLE).read_text()}
    debian = ctx.work / "debian"
    for name, text in texts.items():
        (debian / name).parent.mkdir(parents=True, exist_ok=True)
        (debian / name).write_text(text)
    ctx.sandbox(
        "build/dh_virtualenv.py",
        json.dumps({**spec, "package": its.name, "root": debian_source.ROOT}),
        binds=(
            Bind(ctx.need("interpreter").path, "/opt/python"),
            Bind(wheels.path, "/in/wheels"),
            Bind(debian, "/in/debian"),
            *app_entry.beside(),
        ),
        hint=app_entry.hint,
    )
    made = app_entry.read_entry(ctx.out)
    name = deb_install.file_name(its.name, its.full_version)
    (ctx.out / made["payload"]).rename(ctx.out / name)
    floors = (floor for floor in wheels.meta["floors"].values() if floor)
    return {
        **made,
        "payload": name,
        "package": its.name,
        "version": its.full_version,
        "measured_floor": max(floors, key=version_key, default=None),
    }
