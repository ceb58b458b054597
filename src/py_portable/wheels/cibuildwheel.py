"""The settings for cibuildwheel, and whether it can work in an image."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from py_portable.errors import ConfigError

REQUIRES = ".py-portable-build"
"""The path, below the project, at which a container sees the packages that the build system requires."""
ALIASES = "manylinux2014, manylinux_2_28, manylinux_2_34"
HINT = (
    "the container has no network: name system packages in baselines.NAME.packages, and build requirements in\n"
    "pyproject.toml; a before-all or before-build of [tool.cibuildwheel] that downloads cannot work here"
)


def identifiers(pythons: Sequence[str], arch: str) -> list[str]:
    """The names that cibuildwheel uses: `cp313-manylinux_x86_64`."""
    return [f"cp{python.replace('.', '')}-manylinux_{arch}" for python in pythons]


def options(pythons: Sequence[str], arch: str) -> dict[str, str]:
    """The settings that the kit decides; everything else comes from the user's [tool.cibuildwheel].

    Its tests and audits are left out: they download, and the wheels are proven in cells.
    """
    return {
        "CIBW_BUILD": " ".join(identifiers(pythons, arch)),
        "CIBW_SKIP": "",
        "CIBW_ARCHS": arch,
        "CIBW_TEST_SKIP": "*",
        "CIBW_AUDIT_COMMAND": "",
    }


def variables(target: Mapping[str, str], told: Mapping[str, str], passed: Collection[str]) -> list[str]:
    """Arguments of `docker create` for the environment of the build. Passed variables are named without their
    values.
    """
    requires = f"/project/{REQUIRES}"
    env = {
        "AUDITWHEEL_PLAT": f"manylinux_{target['max_glibc'].replace('.', '_')}_{target['arch']}",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": requires,
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": requires,
        **told,
    }
    return [*(f"--env={n}={v}" for n, v in env.items()), *(f"--env={name}" for name in passed)]


def laid_out(root: Path, name: str, pythons: Sequence[str]) -> None:
    """Raises ConfigError if cibuildwheel cannot work in the image."""
    where = f"wheels.publish on {name}"
    if not (root / "opt/python").is_dir():
        raise ConfigError(
            "this is not a manylinux image: it has no /opt/python, which cibuildwheel needs",
            where=where,
            hint=f"name a baseline for it, wheels.publish.baseline, whose image is one of: {ALIASES}",
        )
    for python in pythons:
        short = python.replace(".", "")
        # It is a link into /opt/_internal of the image, not of this machine.
        if not os.path.lexists(root / f"opt/python/cp{short}-cp{short}"):
            there = sorted(one.name for one in (root / "opt/python").glob("cp*"))
            raise ConfigError(
                f"this image has no /opt/python/cp{short}-cp{short}",
                where=where,
                hint=f"it has {', '.join(there)}; take it out of wheels.publish.pythons, or choose another image",
            )
