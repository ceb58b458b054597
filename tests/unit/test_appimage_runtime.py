"""The runtime reads SquashFS as an AppImage has it, and nothing else: not one byte beyond its end, and no image that
contradicts itself."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from py_portable.formats import runtime
from py_portable.formats.runtime import packer, squash_packer, squashfs
from tests.unit.test_onefile_pack import tree
from tests.unit.test_onefile_runtime import needs, watched

BLOCK = 4096
COUNT = 20_000
FUZZED = r"""
#include "squashfs.h"
#include "zstd-decoder.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Metadata here is never packed: so every change of it is one that is read. */
size_t ZSTD_decompress(void *to, size_t room, const void *packed, size_t bytes)
{
    if (bytes > room)
        return (size_t)-1;
    memcpy(to, packed, bytes);
    return bytes;
}

static uint8_t *part(unsigned bytes)
{
    uint8_t *to = malloc(bytes);

    if (fread(to, 1, bytes, stdin) != bytes)
        exit(3);
    return to;
}

/* Each image: the sizes of its tables and of its digests, where its tables are; then superblock, tables, digests. */
int main(void)
{
    unsigned head[3], count = 0, good = 0;

    while (fread(head, 4, 3, stdin) == 3) {
        uint8_t *superblock = part(SUPERBLOCK), *tables = part(head[0]), *digests = part(head[1]);
        struct squashfs image = {superblock, tables, head[0], head[2], digests, head[1] / (4 + DIGEST)};
        struct listing list;
        volatile uint64_t sum = 0;

        if (!squashfs_read(&image, &list)) {
            good++;
            for (size_t i = 0; i < list.entry_count; i++)
                sum += strlen(list.entries[i].path) + list.entries[i].at + index_spans(&list, list.entries + i);
            for (size_t i = 0; i < list.chunk_count; i++) {
                uint64_t plain = 0, packed = 0;

                for (size_t block = list.chunks[i].block; packed < list.chunks[i].packed; block++) {
                    packed += list.blocks[block].packed;
                    plain += list.blocks[block].plain;
                }
                if (packed != list.chunks[i].packed || plain != index_chunk_bytes(&list, i) || plain > list.chunk_bytes)
                    abort();
                sum += list.chunks[i].digest[DIGEST - 1];
            }
            for (size_t i = 1; i < list.entry_count; i++)
                if (list.entries[i].at < list.entries[i - 1].at ||
                    list.entries[i].at + list.entries[i].bytes > list.stream)
                    abort();
        }
        for (size_t i = 0; list.entries && i < list.entry_count; i++) {
            free((char *)list.entries[i].path);
            free((char *)list.entries[i].target);
        }
        free(list.entries);
        free(list.chunks);
        free(list.blocks);
        free(superblock);
        free(tables);
        free(digests);
        count++;
    }
    printf("%u %u\n", count, good);
    return 0;
}
"""
Image = tuple[bytes, bytes, bytes, int]
"""Superblock, tables, digests, and where the tables are in the image."""


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """Of a folder with all that there can be, its metadata not packed."""
    same = squashfs.Compressor(squashfs.COMPRESSORS["zstd"].number, lambda data: data)
    monkeypatch.setitem(squashfs.COMPRESSORS, "zstd", same)
    monkeypatch.setattr(squash_packer, "CHUNK_BYTES", BLOCK)
    dice = random.Random(1)
    files = {f"lib/{size}": dice.randbytes(size) for size in (0, 10, BLOCK - 1, BLOCK, 3 * BLOCK + 7)}
    files |= {"lib/deep/er/x": b"x", "twin": files["lib/10"], "lib/twin": files[f"lib/{3 * BLOCK + 7}"]}
    source = tree(tmp_path / "source", files)
    (source / "link").symlink_to("lib/10")
    with (tmp_path / "image").open("w+b") as stream:
        layout = squashfs.write(packer.listed(source), stream, compressor="zstd", block_bytes=BLOCK)
        sizes = tuple(squash_packer._cut(layout.blocks))
        digests, described = squash_packer._digests(stream, sizes)
    front = squashfs.SUPERBLOCK.size
    return described[:front], described[front:], digests, front + sum(sizes)


def changed(good: Image, dice: random.Random) -> Image:
    parts = [bytearray(part) for part in good[:3]]
    for _ in range(dice.randint(1, 3)):
        part = dice.choice((parts[0], parts[1], parts[1], parts[1], parts[2]))
        at = dice.randrange(len(part) or 1)
        match dice.randrange(5):
            case 0:
                part[at : at + 1] = dice.randbytes(1)
            case 1:
                part[at : at + 4] = dice.choice((b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f", b"\1\0\0\0"))
            case 2:
                part[at : at + 2] = struct.pack("<H", dice.choice((1, 2, 3, 8, 9, 0xFFFF, dice.randrange(4096))))
            case 3:
                part[at : at + 8] = part[dice.randrange(len(part) or 1) :][:8]
            case 4:
                if part is not parts[0]:
                    del part[at:]
    parts[0] = (parts[0] + bytes(96))[:96]
    return bytes(parts[0]), bytes(parts[1]), bytes(parts[2]), good[3]


@needs("gcc")
def test_no_image_is_read_beyond_its_end(tmp_path: Path, image: Image) -> None:
    """20,000 changed ones, with a compiler that watches every byte and every sum."""
    program = watched(tmp_path, FUZZED, "squashfs.c", "laying.c", "metadata.c", "index.c")
    dice = random.Random(7)
    assert read(program, [image]) == (1, 1)
    count, taken = read(program, [changed(image, dice) for _ in range(COUNT)])
    assert count == COUNT and taken < COUNT


def read(fuzz: Path, images: Sequence[Image]) -> tuple[int, int]:
    """How many it read, and how many of them it took."""
    data = b"".join(
        struct.pack("<III", len(tables), len(digests), at) + head + tables + digests
        for head, tables, digests, at in images
    )
    # What is read once is never given back; only what is read beyond its end counts here.
    done = subprocess.run([fuzz], input=data, capture_output=True, env={"ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    count, taken = map(int, done.stdout.split())
    return count, taken


def test_the_place_of_the_table_is_where_readers_look(tmp_path: Path) -> None:
    """Tools take what follows the ELF file for the image: it begins with a page, whatever the table's size."""
    for digests in (b"", bytes(36), bytes(5000)):
        body = squash_packer._carrying(runtime.runtime(), digests)
        assert len(body) % squashfs.PADDED_TO == 0 and body[8:11] == b"AI\x02"
        assert squash_packer._elf_bytes(body) == len(body)
        assert body[len(runtime.runtime()) :].startswith(digests)
