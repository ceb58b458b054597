"""Which artifact a control is a variant of, and where it must fail and where it must pass. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from py_portable.config import Config, ImageSpec
from py_portable.config.glibc import canonical_image, version_key
from py_portable.formats import FORMATS
from py_portable.plan.expected import expects, starts_on
from py_portable.plan.matrix import Control
from py_portable.steps.identity import NodeId

UNREPAIRED, NEEDS_FUSE = "unrepaired", "needs-fuse"


def choose_control(name: str, config: Config) -> Control | str:
    """Which of the artifacts is built wrongly, and its two images; or why none can be."""
    way = _WAYS[name]
    fit = [a for a in config.artifacts.values() if name in FORMATS[a.format].controls]
    for artifact in sorted(fit, key=lambda a: FORMATS[a.format].controls[name]):
        # An image that may be missing, or that must fail for a reason of its own, can't carry a control.
        starts = starts_on(config, artifact.name)
        firm = [spec for spec in starts if not spec.optional and expects(artifact, spec) == "pass"]
        if pair := way.pair(firm):
            node = NodeId("control", name, variant=artifact.name)
            fewer, more = (
                {p for spec in firm if spec.name == image for p in spec.packages} for image in pair
            )
            return Control(
                name,
                artifact.name,
                artifact.format,
                node,
                *pair,
                way.reason,
                tuple(sorted(more - fewer)),
                FORMATS[artifact.format].asked_to_pass,
            )
    return f"needs {way.images}" if fit else f"no artifact has a format that can be {way.built}"


def _of_two_ages(firm: Sequence[ImageSpec]) -> tuple[str, str] | None:
    """The oldest and the newest, as their distributions made them: the newest takes the place of the baseline."""
    known = sorted((version_key(s.glibc), s.name) for s in firm if s.glibc and not s.packages)
    if len(known) < 2 or known[0][0] == known[-1][0]:
        return None
    return known[0][1], known[-1][1]


def _with_more_packages(firm: Sequence[ImageSpec]) -> tuple[str, str] | None:
    """One that lacks packages, and the same with the most of them."""
    pairs = [
        (fewer, more)
        for fewer in firm
        for more in firm
        if canonical_image(fewer.image) == canonical_image(more.image)
        and set(fewer.packages) < set(more.packages)
    ]
    if not pairs:
        return None
    fewer, more = max(pairs, key=lambda pair: len(pair[1].packages) - len(pair[0].packages))
    return fewer.name, more.name


def _of_one(firm: Sequence[ImageSpec]) -> tuple[str, str] | None:
    """Twice the first: what it lacks is in no cell."""
    return (firm[0].name, firm[0].name) if firm else None


@dataclass(frozen=True)
class _Way:
    """How a kind of control is wrong: `pair` gives the image where it must fail and the one where it must pass."""

    pair: Callable[[Sequence[ImageSpec]], tuple[str, str] | None]
    reason: str
    images: str
    built: str


_WAYS = {
    "built-too-new": _Way(
        _of_two_ages,
        "glibc",
        "an older and a newer image in portability.images that are not optional",
        "built too new",
    ),
    UNREPAIRED: _Way(
        _with_more_packages,
        "library",
        "an image in portability.images, and the same image with more packages, that are not optional",
        "made of wheels that were not repaired",
    ),
    NEEDS_FUSE: _Way(
        _of_one,
        "fuse",
        "an image in portability.images that is not optional",
        "made with a runtime that needs FUSE",
    ),
}
