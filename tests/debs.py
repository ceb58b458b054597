"""Debian packages made by hand, for tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest


def deb(
    folder: Path,
    files: Mapping[str, str | bytes],
    *,
    name: str = "hand-made",
    version: str = "1.0",
    compression: str = "gzip",
    fields: Mapping[str, str] | None = None,
    scripts: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> Path:
    """A package of these files (with their paths; all below bin/ can be started) and maintainer scripts."""
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    root = folder / f"{name}-{version}"
    control = root / "DEBIAN"
    control.mkdir(parents=True)
    told = {
        "Package": name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": "Nobody <nobody@example.org>",
        "Description": "made by hand",
        **(fields or {}),
    }
    (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in told.items()))
    for script, text in (scripts or {}).items():
        path = control / script
        path.write_text(text if script == "conffiles" else f"#!/bin/sh\nset -e\n{text}\n")
        path.chmod(0o644 if script == "conffiles" else 0o755)
    for place, body in files.items():
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        path.chmod(0o755 if "bin" in path.parent.name else 0o644)
    for place, target in (links or {}).items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).symlink_to(target)
    package = folder / f"{name}_{version}_all.deb"
    words = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", str(root), str(package)]
    subprocess.run(words, check=True, capture_output=True)
    shutil.rmtree(root)
    return package
