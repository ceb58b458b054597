#define _GNU_SOURCE
#include "payload.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "seal.h"
#include "squashfs.h"
#include "zstd-decoder.h"

static const char ENDS_EARLY[] = "it ends early or cannot be read";
static const char OTHER_BYTES[] = "it is not as it was packed";

static int read_all(int fd, void *to, size_t bytes, uint64_t at)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t part = pread(fd, (char *)to + done, bytes - done, (off_t)(at + done));

        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            return 0;
        done += (size_t)part;
    }
    return 1;
}

/* The packed index, or the superblock and the tables. */
static int read_index(int fd, const struct seal *s, uint8_t *to)
{
    size_t front = s->format == APPIMAGE ? SUPERBLOCK : s->index_packed;

    return read_all(fd, to, front, s->program_bytes) &&
           read_all(fd, to + front, s->index_packed - front, s->file_bytes - (s->index_packed - front));
}

/* The digest that the key has to be. */
static void sealed(const struct seal *s, uint8_t *program, const uint8_t *index, uint8_t digest[DIGEST])
{
    struct blake2b sum;

    memset(program + s->key_at, 0, DIGEST);
    blake2b_begin(&sum);
    blake2b_add(&sum, program, s->program_bytes);
    blake2b_add(&sum, index, s->index_packed);
    blake2b_end(&sum, digest);
}

static const char *read_list(const struct seal *s, const uint8_t *program, const uint8_t *index, struct listing *out)
{
    uint8_t *raw;

    if (s->format == APPIMAGE)
        return squashfs_read(&(struct squashfs){.head = index,
                                                .tables = index + SUPERBLOCK,
                                                .table_bytes = s->index_packed - SUPERBLOCK,
                                                .tables_at = s->file_bytes - s->program_bytes - (s->index_packed - SUPERBLOCK),
                                                .digests = program + s->digests_at,
                                                .chunk_count = s->index_bytes / (4 + DIGEST)},
                             out);
    raw = malloc(s->index_bytes + 1);
    if (!raw)
        return "there is not enough memory for its index";
    if (ZSTD_decompress(raw, s->index_bytes, index, s->index_packed) != s->index_bytes)
        return OTHER_BYTES;
    return index_read(raw, s->index_bytes, out);
}

const char *payload_open(struct payload *out)
{
    const struct seal *s = seal();
    uint8_t digest[DIGEST], *packed, *program;
    const char *wrong = OTHER_BYTES;
    struct stat is;

    out->fd = seal_file();
    out->first = s->program_bytes + (s->format == APPIMAGE ? SUPERBLOCK : s->index_packed);
    if (s->program_bytes < sizeof *s || s->program_bytes > MOST_INDEX || s->key_at > s->program_bytes - DIGEST ||
        s->index_packed > MOST_INDEX || s->index_bytes > MOST_INDEX ||
        s->file_bytes < s->program_bytes + s->index_packed ||
        (s->format == APPIMAGE && (s->index_packed < SUPERBLOCK || s->digests_at > s->program_bytes ||
                                   s->index_bytes > s->program_bytes - s->digests_at)))
        return wrong;
    if (fstat(out->fd, &is) || (uint64_t)is.st_size < s->file_bytes)
        return ENDS_EARLY;
    if ((uint64_t)is.st_size > s->file_bytes)
        return "something was added to its end";
    packed = malloc(s->index_packed + 1);
    program = malloc(s->program_bytes);
    if (!packed || !program)
        return "there is not enough memory for its index";
    if (!read_index(out->fd, s, packed) || !read_all(out->fd, program, s->program_bytes, 0))
        return ENDS_EARLY;
    sealed(s, program, packed, digest);
    if (memcmp(digest, s->key, DIGEST) == 0)
        wrong = read_list(s, program, packed, &out->list);
    free(packed);
    if (!wrong && (out->list.packed != s->file_bytes - s->program_bytes - s->index_packed ||
                   out->list.bytes != s->tree_bytes))
        wrong = OTHER_BYTES;
    /* Digests of chunks stand in the program. */
    if (wrong || s->format != APPIMAGE)
        free(program);
    return wrong;
}

int scratch_make(const struct payload *from, struct scratch *out)
{
    size_t most = 0;

    for (size_t i = 0; i < from->list.chunk_count; i++)
        if (from->list.chunks[i].packed > most)
            most = from->list.chunks[i].packed;
    out->decoder = ZSTD_createDCtx();
    out->packed = malloc(most + 1);
    out->plain = malloc(from->list.chunk_bytes + 1);
    return out->decoder && out->packed && out->plain;
}

void scratch_free(struct scratch *one)
{
    ZSTD_freeDCtx(one->decoder);
    free(one->packed);
    free(one->plain);
}

static bool unpacked(const struct listing *list, const struct chunk *one, size_t bytes, struct scratch *to)
{
    const uint8_t *packed = to->packed, *end = packed + one->packed;
    uint8_t *plain = to->plain;

    if (!list->blocks)
        return ZSTD_decompressDCtx(to->decoder, plain, bytes, packed, one->packed) == bytes;
    for (const struct block *block = list->blocks + one->block; packed < end; block++) {
        if (block->raw && block->packed == block->plain)
            memcpy(plain, packed, block->plain);
        else if (block->raw ||
                 ZSTD_decompressDCtx(to->decoder, plain, block->plain, packed, block->packed) != block->plain)
            return false;
        packed += block->packed;
        plain += block->plain;
    }
    return true;
}

const char *payload_chunk(const struct payload *from, size_t chunk, struct scratch *to)
{
    const struct chunk *one = from->list.chunks + chunk;
    size_t bytes = index_chunk_bytes(&from->list, chunk);
    struct blake2b sum;
    uint8_t digest[DIGEST];

    if (!read_all(from->fd, to->packed, one->packed, from->first + one->at))
        return ENDS_EARLY;
    blake2b_begin(&sum);
    blake2b_add(&sum, to->packed, one->packed);
    blake2b_end(&sum, digest);
    return memcmp(digest, one->digest, DIGEST) == 0 && unpacked(&from->list, one, bytes, to) ? NULL : OTHER_BYTES;
}
