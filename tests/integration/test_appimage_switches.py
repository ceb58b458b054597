"""The kit's runtime beside AppImage's old public one, with the same folder behind both: what the switches do is the
same, and where there is no FUSE one starts and the other fails for it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from py_portable.formats import appimage, runtime
from py_portable.formats.appdir import make
from py_portable.formats.runtime import squash_packer
from tests.integration.test_elf import needs
from tests.integration.test_prove import prove
from tests.unit.test_onefile_pack import shown, tree

pytestmark = [pytest.mark.integration, needs("cargo")]

CRATE = "appimage", "0.4.0"
SHA256 = "328e0d745c5c6817048c27bc3e8314871703f8f47ffa81a37cb06cd95a94b323"
"""Of the public runtime for x86_64 that the crate brings: it opens libfuse.so.2, and reads gzip."""
PROGRAM = """\
#!/bin/sh
echo started
echo "APPIMAGE=$APPIMAGE"
echo "ARGV0=$ARGV0"
echo "<$*>"
test "$(readlink -f "$APPDIR/AppRun")" = "$(readlink -f "$0")" && echo in APPDIR
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The old public runtime, as a package registry has it."""
    folder = tmp_path_factory.mktemp("crate")
    name, version = CRATE
    (folder / "src").mkdir()
    (folder / "src" / "lib.rs").touch()
    (folder / "Cargo.toml").write_text(
        f'[package]\nname = "none"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n{name} = "={version}"\n'
    )
    done = subprocess.run(["cargo", "vendor", "--quiet", "vendor"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = folder / "vendor" / name / "assets" / "runtime-x86_64"
    assert hashlib.sha256(found.read_bytes()).hexdigest() == SHA256
    return found


@pytest.fixture(scope="module")
def both(old: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of one folder: ours, and with the old runtime."""
    folder = tmp_path_factory.mktemp("both")
    source = tree(folder / "source", {"lib/a": b"a" * 300_000, "lib/deep/b": b"b"})
    (source / "start").write_text(PROGRAM)
    about = appimage._about(appimage._told(appimage.AppImageOptions()), "app")
    inside = make(source, "start", folder / "AppDir", about)
    for name in ("ours", "old"):
        (folder / name).mkdir()
    ours, other = folder / "ours" / "app.AppImage", folder / "old" / "app.AppImage"
    squash_packer.pack(folder / "AppDir", ours, name="app", program=inside, runtime=runtime.runtime())
    squash_packer.attach(folder / "AppDir", other, runtime=old.read_bytes())
    assert not squash_packer.reads_zstd(old.read_bytes())
    return ours, other


def said(file: Path, *words: str) -> str:
    environ = {
        "PATH": os.environ["PATH"],
        "XDG_CACHE_HOME": str(file.parent),
        "APPIMAGE_EXTRACT_AND_RUN": "1",
    }
    file.parent.chmod(0o700)
    shutil.rmtree(file.parent / "squashfs-root", ignore_errors=True)
    done = subprocess.run([file, *words], cwd=file.parent, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout.replace(str(file.parent), "HERE")


def test_the_app_is_told_the_same(both: tuple[Path, Path]) -> None:
    ours, old = (said(file, "--version", "--appimage-help") for file in both)
    assert ours == old
    assert ours.splitlines() == [
        "started",
        "APPIMAGE=HERE/app.AppImage",
        "ARGV0=HERE/app.AppImage",
        "<--version --appimage-help>",
        "in APPDIR",
    ]


@pytest.mark.parametrize("words", [(), ("usr/lib/app/lib/*",), ("*.desktop",)])
def test_extract_unpacks_the_same(both: tuple[Path, Path], words: tuple[str, ...]) -> None:
    told = [set(said(file, "--appimage-extract", *words).splitlines()) for file in both]
    trees = [shown(file.parent / "squashfs-root") for file in both]
    assert trees[0] == trees[1] and trees[0]
    assert told[1] <= told[0]


def test_the_offset_is_where_the_image_begins(both: tuple[Path, Path]) -> None:
    for file in both:
        assert file.read_bytes()[int(said(file, "--appimage-offset")) :].startswith(b"hsqs")


def test_without_fuse_ours_starts_and_the_other_fails_for_it(both: tuple[Path, Path]) -> None:
    """The control, and its twin, in the same cells."""
    ours, old = both
    _, cells = prove(ours, "--image", "debian:11", "--stdout", "started")
    assert [(cell["image"], cell["verdict"]) for cell in cells] == [
        ("debian:12", "PASS"),
        ("debian:11", "PASS"),
    ]
    _, cells = prove(old, "--image", "debian:11", "--stdout", "started")
    assert [(cell["verdict"], cell["reason"]) for cell in cells] == [("FAIL", "fuse")] * 2
    ran, (cell,) = prove(old, "--stdout", "started", "--expect", "fail:fuse")
    assert (cell["verdict"], cell["reason"]) == ("XFAIL", "fuse"), ran
    _, (cell,) = prove(ours, "--stdout", "started", "--expect", "fail:fuse")
    assert cell["verdict"] == "XPASS"
