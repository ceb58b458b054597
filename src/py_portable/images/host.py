"""The machine itself as an image, for the engine `native`: a CI job that already runs inside the image."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path

from py_portable.images.debian.releases import find_release
from py_portable.images.failures import ImageUnavailable
from py_portable.images.image import Image

DPKG_STATUS = Path("/var/lib/dpkg/status")
NOTE = Path("/.py-portable-baseline")
"""What builds leave in the container that they run in (images/container.py)."""


def host(name: str, packages: tuple[str, ...] = ()) -> Image:
    """This machine under the name `name`.

    Raises ImageUnavailable where it is another system than the name says, and for an image with `packages`: nothing
    is installed on the machine itself.
    """
    if packages:
        raise ImageUnavailable(
            f"{name}: the engine native installs no packages, but {', '.join(packages)} belong to this image",
            hint="use an engine that starts images: --engine bubblewrap",
        )
    try:
        told = platform.freedesktop_os_release()
    except OSError:
        told = {}
    here = f"{told.get('ID', 'unknown')}:{told.get('VERSION_ID', 'unknown')}"
    release = find_release(name)
    wanted = f"debian:{release.number}" if release else name
    if wanted != here:
        raise ImageUnavailable(
            f"{name}: the engine native starts apps only on this machine itself, which is {here}",
            hint="run inside that image, or use --engine bubblewrap",
        )
    if os.path.lexists(NOTE):
        raise ImageUnavailable(
            f"{name}: a build has installed packages in this container, and an app would find them",
            hint="start cells in another job",
        )
    status = DPKG_STATUS.read_bytes() if DPKG_STATUS.exists() else b""
    seen = [told, platform.machine(), hashlib.sha256(status).hexdigest()]
    identity = hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()
    glibc = platform.libc_ver()[1] or None
    return Image(name, Path("/"), f"sha256:{identity}", "host", glibc, release.suite if release else None)
