"""Debian packages made by hand, for tests."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
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


def raw_deb(path: Path, files: Mapping[str, bytes | str], name: str = "hand-made") -> Path:
    """A package that dpkg-deb would not make: `files` by the names that its archive has, each its bytes, or what it links
    to."""
    about = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    members = {
        "debian-binary": b"2.0\n",
        "control.tar": _tar({"./control": about.encode()}),
        "data.tar": _tar(files),
    }
    body = b"".join(
        f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        for member, data in members.items()
    )
    path.write_bytes(b"!<arch>\n" + body)
    return path


def _tar(files: Mapping[str, bytes | str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o4755 if isinstance(data, bytes) else 0o777
            if isinstance(data, bytes):
                info.size = len(data)
                made.addfile(info, io.BytesIO(data))
            else:
                info.type, info.linkname = tarfile.SYMTYPE, data
                made.addfile(info)
    return stream.getvalue()
