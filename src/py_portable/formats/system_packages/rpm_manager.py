"""How rpm is called, and how rpm and dnf say what went wrong."""

from __future__ import annotations

from py_portable.images import Image

RPM = "/usr/bin/rpm"
SPEAKS = ("error: ", "\tfile ", "\tpackage ", "warning: %", "Error in ", "Error: ")
"""How they say why they failed, the best first."""
FAILS = (
    "warning: %",
    *(f"Error in {when}" for when in ("PRE", "POST", "TRIGGER", "<unknown>")),
    *(">>> Error in ", ">>> Non-critical error in "),
)
"""How they say that a script of a package failed, where they go on and end with 0."""
UNMET = "error: Failed dependencies:"
_DPKG = "/usr/bin/dpkg"


def of_debian(image: Image | None) -> tuple[str, ...]:
    """Debian's rpm installs nothing unless it is told that this is meant."""
    return ("--force-debian",) if is_debian(image) else ()


def is_debian(image: Image | None) -> bool:
    return image is not None and image.has(_DPKG)
