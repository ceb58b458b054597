"""The sample's folder as an AppImage: built in seconds from its parent, started in cells, and read by programs of others."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_portable.formats import appimage, runtime
from py_portable.formats.appdir import make
from py_portable.formats.onefile import program_of
from py_portable.formats.runtime import squash_packer
from tests.integration.conftest import Project, sample
from tests.integration.test_elf import needs

pytestmark = pytest.mark.integration

NAME = f"myapp-{platform.machine()}.AppImage"
ARTIFACTS = """\
artifacts:
  tree: {format: bundle}
  image: {format: appimage, from: tree, id: org.example.myapp, summary: Shows that C libraries work}

"""
IMAGES = ("debian:11", "debian:13")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Built beside its parent and proven. Where everything is read-only the folder is too large for what is left."""
    project = sample(tmp_path_factory.mktemp("appimage"))
    config = project.folder / "portable.yaml"
    text = re.sub(r"^artifacts:\n(?:[ #].*\n|\n)+", ARTIFACTS, config.read_text(), flags=re.MULTILINE)
    text = re.sub(r"images: \[.*\]", f"images: [{', '.join(map(repr, IMAGES))}]", text)
    text = re.sub(r"probes: \[.*\]", "probes: [no-home]", text)
    config.write_text(re.sub(r"controls: \[.*\]", "controls: []", text))
    ran = project.run("portability", "-v")
    assert ran.status == 0, ran.stdout + ran.stderr
    return project


@pytest.fixture(scope="module")
def image(built: Project) -> Path:
    return built.folder / "dist" / "image" / NAME


@pytest.fixture(scope="module")
def unpacked(image: Path) -> Iterator[Path]:
    """By squashfs-tools, at the offset that the file itself names."""
    with tempfile.TemporaryDirectory() as name:
        offset = subprocess.run([image, "--appimage-offset"], check=True, capture_output=True, text=True).stdout
        words = ["unsquashfs", "-no-progress", "-o", offset.strip(), "-d", f"{name}/out", image]
        subprocess.run(words, check=True, capture_output=True)
        yield Path(name) / "out"


def started(image: Path, cache: Path, *words: str) -> str:
    cache.mkdir(mode=0o700, exist_ok=True)
    environ = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache), "HOME": "/nonexistent"}
    return subprocess.run([image, *words], env=environ, check=True, capture_output=True, text=True).stdout


def test_it_starts_on_every_image_without_fuse(built: Project) -> None:
    """No cell has /dev/fuse, a program to mount with, or a privilege."""
    seen = {(cell["image"], cell["condition"]): cell["verdict"] for cell in built.cells(artifact="image")}
    assert seen == {(image, condition): "PASS" for image in IMAGES for condition in ("plain", "no-home")}
    made = {one["name"]: one for one in built.evidence["artifacts"]}
    assert made["image"]["measured_floor"] == made["tree"]["measured_floor"]


def test_it_is_no_larger_than_an_archive_of_the_folder(built: Project, image: Path) -> None:
    """At most 5 % above `tar | zstd -15`, the runtime and all."""
    words = f"tar --sort=name -C {built.folder}/dist/tree/myapp -cf - . | zstd -15 -q -c | wc -c"
    archive = int(subprocess.run(words, shell=True, check=True, capture_output=True, text=True).stdout)
    assert image.stat().st_size <= 1.05 * archive


def test_it_says_the_same_at_each_start_and_however_it_is_started(image: Path, tmp_path: Path) -> None:
    said = [started(image, tmp_path / "cache", "run") for _ in range(3)]
    said.append(started(image, tmp_path / "cache", "--appimage-extract-and-run", "run"))
    assert len(set(said)) == 1 and "psycopg2 works!" in said[0]


@needs("unsquashfs", "desktop-file-validate", "appstreamcli")
def test_programs_of_others_find_what_they_look_for(built: Project, image: Path, unpacked: Path) -> None:
    for words in (
        ("desktop-file-validate", unpacked / "org.example.myapp.desktop"),
        ("appstreamcli", "validate-tree", "--no-net", unpacked),
        ("diff", "--recursive", "--no-dereference", unpacked / "usr/lib/myapp", built.folder / "dist/tree/myapp"),
    ):
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    told = subprocess.run([unpacked / "AppRun", "run"], check=True, capture_output=True, text=True).stdout
    assert "psycopg2 works!" in told


def test_the_same_folder_gives_the_same_file(built: Project, image: Path, tmp_path: Path) -> None:
    """Built again, without the store's copy of it."""
    folder, program = program_of(built.folder / "dist" / "tree", "myapp")
    options = appimage.AppImageOptions(id="org.example.myapp", summary="Shows that C libraries work")
    inside = make(folder, program, tmp_path / "AppDir", appimage._about(appimage._told(options), "myapp"))
    again = tmp_path / "again"
    squash_packer.pack(tmp_path / "AppDir", again, name="myapp", program=inside, runtime=runtime.runtime())
    assert again.read_bytes() == image.read_bytes()


@needs("unsquashfs")
def test_a_runtime_of_others_is_taken_as_it_is(built: Project, unpacked: Path, tmp_path: Path) -> None:
    """The kit's own one with the mark of AppImages stands in for it."""
    marked = bytearray(runtime.runtime())
    marked[8:11] = b"AI\x02"
    (built.folder / "mine").write_bytes(marked)
    text = (built.folder / "portable.yaml").read_text()
    other = "  other: {format: appimage, from: tree, id: org.example.myapp, runtime: {path: mine}}\n"
    other = other.replace("id:", "summary: Shows that C libraries work, id:")
    (built.folder / "other.yaml").write_text(text.replace("\nportability:\n", f"{other}\nportability:\n"))
    shutil.copy(built.folder / "portable.lock", built.folder / "other.lock")
    ran = built.run("build", "other", "--config", "other.yaml")
    assert ran.status == 0, ran.stdout + ran.stderr
    file = built.folder / "dist" / "other" / NAME
    assert file.read_bytes().startswith(bytes(marked) + b"hsqs")
    words = ["unsquashfs", "-no-progress", "-o", str(len(marked)), "-d", tmp_path / "out", file]
    subprocess.run(words, check=True, capture_output=True)
    words = ["diff", "--recursive", "--no-dereference", tmp_path / "out", unpacked]
    assert subprocess.run(words, capture_output=True, text=True).stdout == ""


SMALL = """version: 1
app: {requirement: "tool==1.0", script: tool, smoke: [{args: [it], stdout: ["tool says it"]}]}
python: "3.13"
artifacts:
  theirs: {format: file, path: tool-1.0}
  image: {format: appimage, from: theirs, expect: {read-only: "EXPECTED"}}
portability: {images: ["debian:12"], probes: [read-only], controls: [needs-fuse]}
"""


def small(folder: Path, megabytes: int, expected: str) -> Project:
    """A tool that somebody else made, with so many megabytes beside it, as an AppImage."""
    tool = folder / "tool-1.0" / "tool"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nread word < "$(dirname "$(readlink -f "$0")")/word.txt"\necho "tool $word $1"\n')
    tool.chmod(0o755)
    (folder / "tool-1.0" / "word.txt").write_text("says\n")
    with (folder / "tool-1.0" / "data").open("wb") as stream:
        stream.truncate(megabytes << 20)
    (folder / "portable.yaml").write_text(SMALL.replace("EXPECTED", expected))
    return Project(folder)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the old public runtime is for x86_64")
def test_the_control_with_the_public_runtime_fails_for_fuse_and_ours_passes_there(tmp_path: Path) -> None:
    """The control's twin is the same file, which unpacks itself if it is asked to; too large a one says so."""
    project = small(tmp_path, 70, "fail:room")
    ran = project.run("portability", "-v")
    assert ran.status == 0, ran.stdout + ran.stderr
    seen = {
        (cell["artifact"], cell["condition"], tuple(cell["argv"])): (cell["verdict"], cell["reason"])
        for cell in project.cells()
    }
    assert seen == {
        **{("theirs", condition, ("it",)): ("PASS", None) for condition in ("plain", "read-only")},
        ("image", "plain", ("it",)): ("PASS", None),
        ("image", "read-only", ("it",)): ("XFAIL", "room"),
        ("image", "control:needs-fuse", ("it",)): ("XFAIL", "fuse"),
        ("image", "control:needs-fuse", ("--appimage-extract-and-run", "it")): ("PASS", None),
    }
    (told,) = project.evidence["conclusions"]["controls"]
    assert told["verdict"] == "XFAIL" and "passes on debian:12 with --appimage-extract-and-run" in told["detail"]
    assert not list((tmp_path / "dist").glob("*needs-fuse*"))
