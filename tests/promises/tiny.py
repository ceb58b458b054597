"""Tiny things to start: an image of a few files, and static programs that start on it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from py_portable.engines import static_helpers
from py_portable.engines.static_helpers.stored import helpers
from py_portable.images.registry.image_manifest import here
from py_portable.store import Store

LIBRARY = "usr/lib/libm.so.6"
READER = f"""
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {{
    char head[4] = {{0}};
    int file = open("/{LIBRARY}", O_RDONLY);
    if (file < 0 || read(file, head, 4) != 4 || head[0] != 127) raise(SIGSEGV);
    puts("WORD");
    return 0;
}}
"""
"""What a program does that is linked with a library: it dies where that is not what it was."""


def image(path: Path, files: Mapping[str, bytes]) -> str:
    """Write an archive as `docker save` does; the name that the kit knows the image by."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("etc", "usr", "usr/lib", "tmp", "home"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    told = {
        "os": "linux",
        "architecture": here().architecture,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    listed = [{"Config": "config.json", "RepoTags": [], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        for name, data in (
            ("config.json", json.dumps(told).encode()),
            ("layer.tar", layer.getvalue()),
            ("manifest.json", json.dumps(listed).encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return f"docker-archive:{path}"


def with_library(path: Path) -> str:
    """An image that has the library which `reader` wants."""
    return image(path, {LIBRARY: b"\x7fELF" + bytes(range(256)) * 64, "etc/passwd": b"root:x:0:0::/:/none\n"})


def program(path: Path, source: str) -> Path:
    """A static program that starts on any image of this architecture."""
    code = path.with_name(f"{path.name}.c")
    code.write_text(source)
    subprocess.run([*static_helpers.compiler(), "-O1", "-static", "-o", path, code], check=True)
    code.unlink()
    return path


def reader(path: Path, word: str) -> Path:
    """A program that wants the library, and says `word`."""
    return program(path, READER.replace("WORD", word))


def sayer(path: Path, word: str) -> Path:
    """A program that says `word`."""
    return program(path, f'#include <stdio.h>\nint main(void) {{ puts("{word}"); return 0; }}\n')


def store(factory: pytest.TempPathFactory, place: Path) -> Store:
    """A new store of a test's own, which has the helpers already: they are compiled once."""
    shutil.copytree(_with_helpers(factory), place, symlinks=True)
    return Store(place)


def _with_helpers(factory: pytest.TempPathFactory) -> Path:
    place = factory.getbasetemp() / "with-helpers"
    helpers(Store(place))
    return place
