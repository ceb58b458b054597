#define _GNU_SOURCE
#include "laying.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "number.h"

enum { RAW_BLOCK = 1 << 24 };
static const char NO_MEMORY[] = "there is not enough memory for it";
static const char CONTRADICTS[] = "its tables contradict themselves";

static int by_disk(const void *left, const void *right)
{
    const struct piece *a = *(struct piece *const *)left, *b = *(struct piece *const *)right;

    return a->disk < b->disk ? -1 : a->disk > b->disk;
}

static int rank(const struct entry *one)
{
    return S_ISDIR(one->mode) ? 0 : S_ISLNK(one->mode) ? 3 : one->bytes == 0 ? 1 : 2;
}

/* Folders, each before what lies in it; empty files; files as their bytes lie in the stream; links. */
static int by_stream(const void *left, const void *right)
{
    const struct laid_entry *a = left, *b = right;

    if (rank(&a->entry) != rank(&b->entry))
        return rank(&a->entry) - rank(&b->entry);
    if (rank(&a->entry) == 2 && a->entry.at != b->entry.at)
        return a->entry.at < b->entry.at ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* Of all pieces in their order, which fill the image from the superblock to the tables. */
const char *lay_blocks(struct reading *r, uint64_t end, struct listing *out)
{
    struct piece **sorted = malloc((r->piece_count + 1) * sizeof *sorted), *before = NULL;
    uint64_t disk = SUPERBLOCK;
    const char *wrong = NULL;

    out->blocks = calloc(r->block_count + 1, sizeof *out->blocks);
    if (!sorted || !out->blocks)
        wrong = NO_MEMORY;
    for (size_t i = 0; !wrong && i < r->piece_count; i++)
        sorted[i] = r->pieces + i;
    if (!wrong)
        qsort(sorted, r->piece_count, sizeof *sorted, by_disk);
    for (size_t i = 0; !wrong && i < r->piece_count; i++) {
        struct piece *one = sorted[i];
        uint64_t left = one->bytes;

        if (before && before->disk == one->disk) {
            one->stream = before->stream;
            if (one->fragment || before->fragment || one->bytes != before->bytes)
                wrong = CONTRADICTS;
            continue;
        }
        if (one->disk != disk || left == 0)
            wrong = CONTRADICTS;
        one->stream = out->stream;
        for (size_t block = 0; !wrong && block < one->blocks; block++) {
            uint32_t size = (uint32_t)number(one->sizes + 4 * block, 4), packed = size & (RAW_BLOCK - 1);
            uint32_t plain = left < r->block_bytes ? (uint32_t)left : r->block_bytes;

            if (packed == 0 || packed > plain || size >> 25)
                wrong = "a block has an impossible size";
            out->blocks[out->block_count++] =
                (struct block){.packed = packed, .plain = plain, .raw = (size & RAW_BLOCK) != 0};
            disk += packed;
            left -= plain;
            out->stream += plain;
        }
        before = one;
    }
    free(sorted);
    return wrong ? wrong : disk == end ? NULL : CONTRADICTS;
}

const char *lay_files(struct reading *r, struct listing *out)
{
    uint64_t at = 0;

    out->entries = calloc(r->place_count, sizeof *out->entries);
    if (!out->entries)
        return NO_MEMORY;
    for (size_t i = 0; i < r->place_count; i++)
        if (r->places[i].entry.bytes > 0)
            r->places[i].entry.at += r->pieces[r->places[i].piece].stream;
    /* The first one is the folder itself. */
    qsort(r->places + 1, r->place_count - 1, sizeof *r->places, by_stream);
    for (size_t i = 1; i < r->place_count; i++) {
        struct entry *one = out->entries + i - 1;

        *one = r->places[i].entry;
        if (one->bytes == 0)
            one->at = at;
        else if (one->at == at)
            at += one->bytes;
        else if (i == 1 || one[-1].at != one->at || one[-1].bytes != one->bytes)
            return "its blocks do not hold its files";
        if (one->bytes >> 62 || (out->bytes += one->bytes) >> 62)
            return "its blocks do not hold its files";
        out->entry_count++;
    }
    return at == out->stream ? NULL : "its blocks do not hold its files";
}

const char *lay_chunks(const struct squashfs *image, struct listing *out)
{
    const uint8_t *at = image->digests;
    size_t block = 0;
    uint64_t stream = 0;

    out->chunks = calloc(image->chunk_count + 1, sizeof *out->chunks);
    if (!out->chunks)
        return NO_MEMORY;
    for (size_t i = 0; i < image->chunk_count; i++, at += 4 + DIGEST) {
        uint64_t packed = 0, begin = stream;
        struct chunk *one = out->chunks + i;

        *one = (struct chunk){.at = out->packed, .begin = begin, .packed = (uint32_t)number(at, 4), .digest = at + 4, .block = block};
        for (; packed < one->packed && block < out->block_count; block++) {
            packed += out->blocks[block].packed;
            stream += out->blocks[block].plain;
        }
        if (packed == 0 || packed != one->packed || stream - begin > MOST_CHUNK)
            return "a chunk has an impossible size";
        if (stream - begin > out->chunk_bytes)
            out->chunk_bytes = (size_t)(stream - begin);
        out->packed += packed;
        out->chunk_count++;
    }
    return block == out->block_count ? NULL : "its chunks do not hold its files";
}
