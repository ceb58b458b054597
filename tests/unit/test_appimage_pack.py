"""An AppImage: what programs of others find in it, what its switches do, and that no changed bit of it starts."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from py_portable.errors import StepError
from py_portable.formats import runtime
from py_portable.formats.runtime import packer, squash_packer
from tests.unit.test_onefile_pack import OWN_FAILURE, PROGRAM, SWITCH, all_are_refused, run, shown, tree
from tests.unit.test_onefile_runtime import needs

VARIABLES = ("APPDIR", "APPIMAGE", "ARGV0", "OWD")


@pytest.fixture(scope="session")
def program() -> bytes:
    return runtime.runtime()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that files stand in several blocks, and these in several chunks."""
    monkeypatch.setattr(squash_packer, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(squash_packer, "CHUNK_BYTES", 8192)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files = {f"lib/f{size}": random.Random(size).randbytes(size) for size in (0, 1, 5000, 20_000, 20_001)}
    files |= {"lib/deep/text": b"words " * 3000, "twin": files["lib/f20000"]}
    script = PROGRAM + "".join(f'echo {name}="${name}"\n' for name in VARIABLES) + 'echo "<$*>"; pwd\n'
    folder = tree(tmp_path / "source", files)
    (folder / "start").write_text(script)
    (folder / "link").symlink_to("lib/deep/../f1")
    return folder


@pytest.fixture
def file(tmp_path: Path, source: Path, program: bytes) -> Path:
    return packed(source, tmp_path / "file", program)


def packed(folder: Path, out: Path, program: bytes) -> Path:
    squash_packer.pack(folder, out, name="app", program="start", runtime=program)
    return out


def words(file: Path, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    cache = file.parent / "cache"
    cache.mkdir(mode=0o700, exist_ok=True)
    environ = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(cache), **variables}
    return subprocess.run(
        [file, *arguments], env=environ, capture_output=True, text=True, timeout=60, cwd=cwd or file.parent
    )


def said(file: Path, *arguments: str, cwd: Path | None = None, **variables: str) -> str:
    done = words(file, *arguments, cwd=cwd, **variables)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_the_app_gets_the_variables_of_an_appimage(file: Path, tmp_path: Path) -> None:
    """At the first start and at later ones; in a folder of its user's, which it does not leave."""
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "link").symlink_to("file")
    for called, arguments in ((file, ("a", "--appimage")), (tmp_path / "link", ("--appimage-extract-and-run", "a"))):
        told = said(called, *arguments, cwd=here, APPIMAGE="of another one")
        (tree_,) = (tmp_path / "cache").glob("**/tree")
        assert told.splitlines() == [
            "started",
            *(f"APPDIR={tree_}", f"APPIMAGE={file}", f"ARGV0={called}", f"OWD={here}"),
            f"<{' '.join(one for one in arguments if one != '--appimage-extract-and-run')}>",
            str(here),
        ]


def test_a_word_that_is_not_the_first_is_the_apps(file: Path) -> None:
    assert "<x --appimage-help>" in said(file, "x", "--appimage-help")


@needs("unsquashfs")
def test_what_stands_at_its_offset_is_the_folder(file: Path, source: Path, tmp_path: Path) -> None:
    """Found by readers of others too: it begins where the ELF file ends, with a page."""
    offset = said(file, "--appimage-offset").strip()
    assert int(offset) % 4096 == 0 and int(offset) == squash_packer._elf_bytes(file.read_bytes())
    assert file.read_bytes()[8:11] == b"AI\x02"
    out = tmp_path / "unpacked"
    done = subprocess.run(["unsquashfs", "-o", offset, "-d", out, file], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert shown(out) == shown(source)


@needs("file")
def test_it_is_an_elf_file_and_then_squashfs(file: Path, tmp_path: Path) -> None:
    def kind(path: Path) -> str:
        return subprocess.run(["file", "-b", path], check=True, capture_output=True, text=True).stdout

    assert kind(file).startswith("ELF 64-bit LSB executable") and "statically linked" in kind(file)
    body = file.read_bytes()
    (tmp_path / "image").write_bytes(body[squash_packer._elf_bytes(body) :])
    assert kind(tmp_path / "image").startswith("Squashfs filesystem, little endian, version 4.0, zstd compressed")


def test_extract_unpacks_to_the_folder_that_everybody_expects(file: Path, source: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    told = said(file, "--appimage-extract", cwd=here)
    assert shown(here / "squashfs-root") == shown(source)
    assert sorted(told.splitlines()) == sorted(f"squashfs-root/{name}" for name in shown(source))
    again = words(file, "--appimage-extract", cwd=here)
    assert again.returncode == OWN_FAILURE and "squashfs-root cannot be made: File exists" in again.stderr
    assert not (tmp_path / "cache" / "py-portable-onefile").exists()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("lib/f1", {"lib", "lib/f1"}),
        ("lib/f*", {"lib", "lib/f0", "lib/f1", "lib/f5000", "lib/f20000", "lib/f20001"}),
        ("lib/deep", {"lib", "lib/deep", "lib/deep/text"}),
        ("li?k", {"link"}),
        ("twin", {"twin"}),
        ("nothing", set[str]()),
    ],
)
def test_extract_takes_a_pattern(file: Path, source: Path, tmp_path: Path, pattern: str, names: set[str]) -> None:
    here = tmp_path / "here"
    here.mkdir()
    said(file, "--appimage-extract", pattern, cwd=here)
    every = shown(source)
    assert shown(here / "squashfs-root") == {name: every[name] for name in names}


def test_switches_that_say_something(file: Path) -> None:
    told = said(file, "--appimage-help")
    for name in ("extract", "extract-and-run", "offset", "version", "signature", "updateinformation"):
        assert f"--appimage-{name}" in told
        if not name.startswith("extract"):
            assert said(file, f"--appimage-{name}").endswith("\n")
    assert said(file, "--appimage-version").startswith("AppImage runtime version: ")
    unknown = words(file, "--appimage-fly")
    assert unknown.returncode == 1 and "there is no argument --appimage-fly" in unknown.stderr
    assert not list((file.parent / "cache").iterdir())


def test_who_asks_for_a_mount_gets_the_folder_until_he_ends_it(file: Path, source: Path, tmp_path: Path) -> None:
    """As tools use it: they read a line, look into the folder, and send a signal. Meanwhile no other version prunes it."""
    environ = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(tmp_path / "cache")}
    (tmp_path / "cache").mkdir(mode=0o700)
    (source / "more").write_text("of another version")
    other = packed(source, tmp_path / "other", runtime.runtime())
    (source / "more").unlink()
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen([file, "--appimage-mount"], env=environ, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            folder = Path(child.stdout.readline().rstrip("\n"))
            assert shown(folder) == shown(source) and child.poll() is None
            assert "kept, it is in use" in said(other, **{SWITCH: "prune"})
            child.send_signal(number)
            assert child.wait(10) == -number
    assert "removed: " in said(other, **{SWITCH: "prune"})


def test_a_folder_beside_it_is_the_home_of_the_app(source: Path, tmp_path: Path, program: bytes) -> None:
    (source / "start").write_text('#!/bin/sh\necho "$HOME $XDG_CONFIG_HOME"\n')
    file = packed(source, tmp_path / "other", program)
    assert said(file, HOME="/h", XDG_CONFIG_HOME="/c") == "/h /c\n"
    assert said(file, "--appimage-portable-home") == f"{file}.home\n"
    assert said(file, "--appimage-portable-config") == f"{file}.config\n"
    assert said(file, HOME="/h", XDG_CONFIG_HOME="/c") == f"{file}.home {file}.config\n"
    # What it is unpacked to stays where its user's cache is.
    assert not list(Path(f"{file}.home").iterdir())


def test_what_a_onefile_is_asked_it_answers_too(file: Path) -> None:
    said(file)
    assert said(file, **{SWITCH: "verify"}).count("as it was") == 2
    assert "starts: start\n" in said(file, **{SWITCH: "info"})


def test_the_same_folder_gives_the_same_file(file: Path, source: Path, tmp_path: Path, program: bytes) -> None:
    other = tmp_path / "other"
    shutil.copytree(source, other, symlinks=True, copy_function=shutil.copy)
    assert packed(other, tmp_path / "again", program).read_bytes() == file.read_bytes()


def test_one_that_was_cut_or_changed_anywhere_is_refused(file: Path, tmp_path: Path, program: bytes) -> None:
    body, dice = file.read_bytes(), random.Random(15)
    image = squash_packer._elf_bytes(body)
    # Of the digests behind the runtime, of the superblock, of blocks, of tables.
    places = [len(program), len(program) + 40, image, image + 40, len(body) - 1, len(body) - 3000]
    places += dice.sample(range(image, len(body)), 25)
    cut = [len(body) - 1, image, image + 96, *dice.sample(range(image, len(body)), 6)]
    all_are_refused(body, tmp_path, dice, places, cut)


def test_a_onefile_and_an_appimage_of_one_folder_share_nothing(
    file: Path, source: Path, tmp_path: Path, program: bytes
) -> None:
    packer.pack(source, tmp_path / "single", name="app", program="start", runtime=program)
    assert said(file) and run(tmp_path / "single", tmp_path / "cache").returncode == 0
    assert len(list((tmp_path / "cache").glob("*/app/*/tree"))) == 2


def test_a_folder_without_any_bytes_but_the_programs(tmp_path: Path, program: bytes) -> None:
    folder = tree(tmp_path / "small")
    (folder / "empty").mkdir()
    assert said(packed(folder, tmp_path / "file", program)) == "started\n"


def test_a_runtime_of_others_is_held_to_be_one(tmp_path: Path, source: Path, program: bytes) -> None:
    """Ours with the mark of type 2 stands in for it: it has zstd's decoder, and ends with its section headers."""
    marked = program[:8] + b"AI\x02" + program[11:]
    end = squash_packer._elf_bytes(marked)
    squash_packer.attach(source, tmp_path / "out", runtime=marked[:end])
    assert (tmp_path / "out").read_bytes().startswith(marked[:end] + b"hsqs")
    assert squash_packer.reads_zstd(program)
    for bad in (program, marked + b"more", b"AI" * 100, b""):
        with pytest.raises(StepError, match="no ELF file of an AppImage"):
            squash_packer.attach(source, tmp_path / "bad", runtime=bad)
