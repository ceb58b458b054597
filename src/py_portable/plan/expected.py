"""Where an artifact is started, and what is expected there. Pure."""

from __future__ import annotations

from py_portable.config import Artifact, Config, ImageSpec
from py_portable.formats import FORMATS
from py_portable.plan.cell import PLAIN


def starts_on(config: Config, artifact: str) -> list[ImageSpec]:
    own = config.artifacts[artifact].images
    return [spec for spec in config.portability.images if own is None or spec.name in own]


def expects(artifact: Artifact, spec: ImageSpec, condition: str = PLAIN.name) -> str:
    """The result that its cells expect on an image: from the artifact's `expect`, else its format, else the image.

    What `expect` says of a probe counts where the artifact starts without it.
    """
    own = artifact.expect.get(spec.name) or FORMATS[artifact.format].expect(artifact, spec)
    usual = own or spec.expect
    return artifact.expect.get(condition, usual) if usual == "pass" else usual
