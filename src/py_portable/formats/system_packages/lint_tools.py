"""The tools by which distributions look at packages: where an image has one, it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from py_portable import resources
from py_portable.engines.engine import Bind
from py_portable.formats.format import PACKAGES, Stage
from py_portable.images import Image

_SCRIPT, _RPM_FILTERS = "images/lint.sh", "rpmlint.toml"


@dataclass(frozen=True)
class LintTool:
    """`status`: with which it ends where it found something; `settings`: a file of the kit, shown to it."""

    name: str
    program: str
    words: tuple[str, ...]
    status: int
    settings: str | None = None


# What is taken back, and why, stands in the package: /usr/share/lintian/overrides.
LINTIAN = LintTool("lintian", "/usr/bin/lintian", ("--allow-root", "--color", "never"), 2)
RPMLINT = LintTool("rpmlint", "/usr/bin/rpmlint", ("--config", f"{PACKAGES}/rpmlint.toml"), 64, _RPM_FILTERS)


def stage(
    tool: LintTool, package: Path, shown: str, image: Image | None, overrides: Sequence[str] = ()
) -> Stage | None:
    """Looks at the package, which is at `shown` in the image; None where the image has no such tool. `overrides`: tags
    that the package itself cannot name."""
    if image is None or not image.has(tool.program):
        return None
    script = f"{PACKAGES}/lint.sh"
    told = [(_SCRIPT, script)] + ([(tool.settings, tool.words[-1])] if tool.settings else [])
    binds = (Bind(package, shown), *(Bind(resources.path(name), place) for name, place in told))
    return Stage(
        (
            "/bin/sh",
            script,
            tool.name,
            str(tool.status),
            " ".join(overrides),
            tool.program,
            *tool.words,
            shown,
        ),
        binds,
    )


def needs(lint: Stage | None) -> tuple[str, ...]:
    """What decides the result, besides the package and the image."""
    return (*lint.argv, resources.sha256(_SCRIPT), resources.sha256(_RPM_FILTERS)) if lint else ()
