"""What the runtime of a onefile, and of an AppImage, adds to a later start does not depend on how much is packed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from py_portable.formats import runtime
from py_portable.formats.runtime import packer, squash_packer, squashfs
from tests.integration.test_elf import needs

pytestmark = [pytest.mark.integration, needs("musl-gcc")]

PACKERS = {"onefile": packer.pack, "appimage": squash_packer.pack}
MOST_ADDED = 1.5e-3
"""Seconds."""
STARTS = 60
FILES = 1000
"""More than a start ever looks at."""
MIB = 1 << 20


def packed(folder: Path, payload: str, large: int) -> tuple[Path, Path]:
    """A program that ends at once, by itself and packed with many files and one of so many MiB, which is sparse."""
    source = folder / "source"
    (source / "lib" / "package").mkdir(parents=True)
    (folder / "app.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["musl-gcc", "-static", "-Os", "-s", "-o", source / "app", folder / "app.c"], check=True)
    for number in range(FILES):
        (source / "lib" / "package" / f"module_{number}.py").write_text(f"number = {number}\n")
    with (source / "data.bin").open("wb") as stream:
        # Not all of it is one block again and again: each MiB begins with its number.
        for number in range(large):
            stream.seek(number * MIB)
            stream.write(number.to_bytes(8, "big"))
        stream.truncate(large * MIB)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packer, "LEVEL", 1)
        patch.setattr(squashfs, "ZSTD_LEVEL", 1)
        PACKERS[payload](source, folder / "file", name="app", program="app", runtime=runtime.runtime())
    return source / "app", folder / "file"


def took(program: Path, cache: Path) -> float:
    """The least CPU time, in seconds: what other processes of the machine do is not in it."""
    environ = {"XDG_CACHE_HOME": str(cache)}
    least = 1.0
    for _ in range(STARTS):
        _, status, used = os.wait4(os.posix_spawn(program, [program.name], environ), 0)
        assert status == 0
        least = min(least, used.ru_utime + used.ru_stime)
    return least


def adds_little(folder: Path, payload: str, large: int) -> None:
    own, file = packed(folder, payload, large)
    cache = folder / "cache"
    cache.mkdir(mode=0o700)
    took(file, cache)
    (data,) = cache.glob("*/app/*/tree/data.bin")
    assert data.stat().st_size == large * MIB and file.stat().st_size < large * MIB / 20
    added = took(file, cache) - took(own, cache)
    assert added <= MOST_ADDED, f"{added * 1e3:.2f} ms"


@pytest.mark.parametrize("payload", PACKERS)
def test_a_later_start_looks_at_no_more_of_a_larger_folder(tmp_path: Path, payload: str) -> None:
    adds_little(tmp_path, payload, 64)


@pytest.mark.nightly
@pytest.mark.parametrize("payload", PACKERS)
def test_nor_of_one_of_a_gigabyte(tmp_path: Path, payload: str) -> None:
    adds_little(tmp_path, payload, 1024)
