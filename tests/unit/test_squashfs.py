"""What the kit writes as SquashFS is SquashFS: real programs of others unpack it to the folder it was made of."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_portable.errors import StepError
from py_portable.formats.runtime import packer, squashfs
from tests.unit.test_onefile_pack import NAMES, fill, shown, tree
from tests.unit.test_onefile_runtime import needs

BLOCK = 4096


def made(folder: Path, out: Path, compressor: str = "zstd", block: int = BLOCK) -> squashfs.ImageLayout:
    with out.open("w+b") as stream:
        return squashfs.write(packer.listed(folder), stream, compressor=compressor, block_bytes=block)


def unpacked(image: Path, out: Path) -> dict[str, tuple[int, bytes]]:
    done = subprocess.run(["unsquashfs", "-no-progress", "-d", out, image], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done
    return shown(out)


@pytest.mark.parametrize("compressor", squashfs.COMPRESSORS)
@needs("unsquashfs")
def test_another_program_unpacks_it_to_the_same_folder(tmp_path: Path, compressor: str) -> None:
    """Files of every size around a block, of noise and of text; links; a folder with more names than a short list
    holds; names beyond ASCII and a deep path."""
    dice = random.Random(3)
    sizes = (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 5, 50_000)
    files = {f"noise/{size}": dice.randbytes(size) for size in sizes}
    files |= {f"text/{size}": b"words and " * (size // 10) for size in sizes}
    files |= {f"many/{'n' * 40}{number}": b"%d" % number for number in range(3000)}
    files |= {"odd/ü \N{SNOWMAN} ' \"": b"x", "/".join(["deep"] * 60): b"y"}
    source = tree(tmp_path / "source", files)
    (source / "empty").mkdir()
    (source / "link").symlink_to("odd/../start")
    (source / "text" / "1").chmod(0o400)
    made(source, tmp_path / "image", compressor)
    assert unpacked(tmp_path / "image", tmp_path / "out") == shown(source)
    assert {int(path.lstat().st_mtime) for path in (tmp_path / "out").rglob("*")} == {packer.COMMON_TIME}


@needs("unsquashfs")
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=4).map(tuple), st.binary(max_size=6000), max_size=12))
def test_whatever_is_written_comes_out(
    tmp_path_factory: pytest.TempPathFactory, files: Mapping[Sequence[str], bytes]
) -> None:
    folder = tmp_path_factory.mktemp("squashfs")
    source = tree(folder / "source")
    fill(source, files)
    made(source, folder / "image")
    assert unpacked(folder / "image", folder / "out") == shown(source)
    shutil.rmtree(folder)


def test_the_same_folder_gives_the_same_image(tmp_path: Path) -> None:
    files = {f"lib/{name}": name.encode() * 9000 for name in "abcdefgh"}
    one, other = tree(tmp_path / "one", files), tree(tmp_path / "other", dict(reversed(files.items())))
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    layouts = [made(folder, folder.with_suffix(".image")) for folder in (one, other)]
    assert layouts[0] == layouts[1]
    body = one.with_suffix(".image").read_bytes()
    assert body == other.with_suffix(".image").read_bytes()
    assert len(body) == layouts[0].bytes and len(body) % squashfs.PADDED_TO == 0
    (one / "lib" / "a").chmod(0o755)
    made(one, tmp_path / "third")
    assert (tmp_path / "third").read_bytes() != body


def test_the_layout_says_where_the_data_is(tmp_path: Path) -> None:
    """Blocks follow each other behind the superblock, up to the tables."""
    source = tree(tmp_path / "source", {f"f{number}": random.Random(number).randbytes(3000) for number in range(9)})
    layout = made(source, tmp_path / "image")
    head = squashfs.SUPERBLOCK.unpack_from((tmp_path / "image").read_bytes())
    assert head[0] == squashfs.MAGIC and head[1] == 11
    assert squashfs.SUPERBLOCK.size + sum(block.packed for block in layout.blocks) == head[15]
    sizes = [path.stat().st_size for path in source.iterdir() if stat.S_ISREG(path.stat().st_mode)]
    assert sum(block.plain for block in layout.blocks) == sum(sizes)


@needs("unsquashfs")
def test_the_same_bytes_are_there_once(tmp_path: Path) -> None:
    twins = {name: random.Random(1).randbytes(3 * BLOCK) for name in ("a.so", "lib/a.so.1", "other")}
    source = tree(tmp_path / "source", {**twins, "lib/b": b"small", "c": b"small", "d": b"SMALL"})
    layout = made(source, tmp_path / "image")
    assert sum(block.plain for block in layout.blocks) == 3 * BLOCK + 10 + (source / "start").stat().st_size
    assert unpacked(tmp_path / "image", tmp_path / "out") == shown(source)


def test_a_file_that_changes_meanwhile_ends_it(tmp_path: Path) -> None:
    source = tree(tmp_path / "source", {"a": b"x" * 100, "b": b"y" * 10_000})
    items = packer.listed(source)
    for name in ("a", "b"):
        with (source / name).open("ab") as stream:
            stream.write(b"more")
        with pytest.raises(StepError, match="it was changed while it was packed"), (tmp_path / name).open("wb") as out:
            squashfs.write(items, out, compressor="zstd", block_bytes=BLOCK)
        (source / name).write_bytes((source / name).read_bytes()[:-4])
