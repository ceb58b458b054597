"""RPM packages built by rpmbuild in an image of Debian, for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from py_portable.images import resolve
from py_portable.store import Store, default_root
from tests.integration.conftest import bubblewrap

PACKAGES = ("dnf", "rpm")
_BUILD = 'mkdir -p /tmp/files && cp -a "$1/files/." /tmp/files && rpmbuild -bb --quiet --target "$2" "$1/spec"'


@dataclass(frozen=True)
class Rpm:
    """`files`: with their paths; all below bin/ can be started. `modes`: others than these. `sections`: of the spec
    file, such as `pre`; `fields`: more lines of its head."""

    files: Mapping[str, str | bytes]
    name: str = "hand-made"
    version: str = "1.0"
    arch: str = "noarch"
    fields: tuple[str, ...] = ()
    modes: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, str] = field(default_factory=dict)


def rpms(folder: Path, wanted: Mapping[str, Rpm]) -> dict[str, Path]:
    """The packages by the names of `wanted`."""
    if not shutil.which("bwrap"):
        pytest.skip("needs bwrap")
    root = resolve("debian:12", packages=PACKAGES, store=Store(default_root(os.environ)), engine=bubblewrap()).root
    return {name: _built(folder / name, root, one) for name, one in wanted.items()}


def _built(room: Path, root: Path, one: Rpm) -> Path:
    for place, body in one.files.items():
        path = room / "files" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        path.chmod(0o755 if "bin" in path.parent.name else 0o644)
    (room / "spec").write_text(_spec(one))
    words = ["bwrap", "--ro-bind", root, "/", "--bind", room, "/mnt"]
    words += ["--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--dev", "/dev", "--proc"]
    words += ["/proc", "--unshare-all", "--setenv", "HOME", "/tmp", "sh", "-c", _BUILD, "sh", "/mnt", one.arch]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (room / "out").glob("*/*.rpm")
    return built


def _spec(one: Rpm) -> str:
    modes = {place: f"%attr({mode},root,root) " for place, mode in one.modes.items()}
    lines = [
        "%define _rpmdir /mnt/out",
        # What is packed is packed as it is.
        "%define __os_install_post %{nil}",
        "%define debug_package %{nil}",
        "%define _binary_payload w3.gzdio",
        f"Name: {one.name}\nVersion: {one.version}\nRelease: 1\nSummary: made by hand\nLicense: MIT",
        *one.fields,
        "%description\nmade by hand",
        "%install\nmkdir -p %{buildroot} && cp -a /tmp/files/. %{buildroot}",
        *(f"%{name}\n{text}" for name, text in one.sections.items()),
        "%files",
        *(f"{modes.get(place, '')}/{place}" for place in one.files),
    ]
    return "\n".join(lines) + "\n"
